// SPDX-License-Identifier: Apache-2.0
//
// Hostile GetResponse messages: whatever arrives, nothing outside the targets is written, and OK is
// said only of bytes that have the stated checksum.
#include <grpcpp/support/byte_buffer.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "client/grpc/payload.h"
#include "proto/wire/checksum.h"

namespace kc = kvgate::client;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  // The first byte says how the rest is cut into slices.
  const size_t step = 1 + data[0] % 64;
  std::vector<grpc::Slice> slices;
  for (size_t at = 1; at < size; at += step) {
    slices.emplace_back(data + at, std::min(step, size - at));
  }
  const grpc::ByteBuffer message(slices.data(), slices.size());

  constexpr size_t kSizes[] = {5, 4, 64};
  std::vector<std::vector<std::byte>> values;
  std::vector<std::span<std::byte>> pieces;
  for (size_t bytes : kSizes) values.emplace_back(bytes);
  for (auto& value : values) pieces.emplace_back(value);
  std::vector<kc::Pieces> targets;
  for (const auto& piece : pieces) targets.emplace_back(&piece, 1);
  const std::vector<uint8_t> verify(values.size(), 1);
  std::vector<kc::GetResult> results(values.size());
  const kc::Outcome outcome =
      kc::ReadGetMessage(message, kc::DeadlineIn(10'000), targets, verify, results);
  if (!outcome.ok()) return 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (results[i].reason != kc::Reason::kOk) continue;
    if (kvgate::wire::Crc32c(0, values[i].data(), values[i].size()) != results[i].crc32c) {
      std::abort();
    }
  }
  return 0;
}
