// SPDX-License-Identifier: Apache-2.0
//
// Every decoder over hostile bytes: the first half of the input is a message, the rest staging.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gateway/local/codec.h"

namespace {

using namespace kvgate::gateway;  // NOLINT: one fuzz target

template <typename T>
void TryDecode(std::string_view message, Staging staging) {
  T call;
  (void)Decode(message, staging, &call).ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const size_t message_bytes = size <= 256 ? size : size - size / 4;
  const std::string_view message(reinterpret_cast<const char*>(data), message_bytes);
  std::vector<std::byte> memory(size - message_bytes);
  std::transform(data + message_bytes, data + size, memory.begin(),
                 [](uint8_t b) { return std::byte{b}; });
  const Staging staging(memory);

  kvgate::local::MsgHeader header;
  for (uint16_t v = kvgate::local::kVersionMin; v <= kvgate::local::kVersionMax; ++v) {
    (void)DecodeHeader(message, v, &header).ok();
  }
  TryDecode<HelloCall>(message, staging);
  TryDecode<OpenCall>(message, staging);
  TryDecode<LookupCall>(message, staging);
  TryDecode<ReserveCall>(message, staging);
  TryDecode<CommitCall>(message, staging);
  TryDecode<GetCall>(message, staging);
  TryDecode<ReleaseCall>(message, staging);
  TryDecode<DeleteCall>(message, staging);
  TryDecode<TouchCall>(message, staging);
  TryDecode<PinCall>(message, staging);
  TryDecode<UnpinCall>(message, staging);
  TryDecode<ExtentCall>(message, staging);
  TryDecode<GrowStagingCall>(message, staging);
  (void)DecodeEmpty(message).ok();
  return 0;
}
