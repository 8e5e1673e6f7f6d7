// SPDX-License-Identifier: Apache-2.0
//
// DecodedSet on hostile bytes: the first byte is the size of the slices.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gateway/service/wire_decode.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t slice_bytes = data[0] + 1;
  std::vector<kvgate::gateway::Piece> slices;
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  for (size_t at = 1; at < size; at += slice_bytes) {
    slices.emplace_back(bytes + at, std::min(slice_bytes, size - at));
  }
  kvgate::gateway::DecodedSet set;
  if (!set.Decode(slices).ok()) return 0;
  size_t touched = set.root.size() + set.parent.size();
  for (const auto& item : set.items) {
    for (const auto& piece : item.value) {
      for (std::byte byte : piece) touched += std::to_integer<size_t>(byte);
    }
  }
  // Pieces must be readable; the sum is of no interest but must not be optimised away.
  volatile size_t sink = touched;
  (void)sink;
  return 0;
}
