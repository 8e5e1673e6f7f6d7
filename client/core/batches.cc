// SPDX-License-Identifier: Apache-2.0
#include "client/core/batches.h"

#include <algorithm>

#include "proto/wire/key.h"

namespace kvgate::client {

uint64_t ValueBytes(const SetEntry& entry) {
  uint64_t bytes = 0;
  for (const auto& piece : entry.value) bytes += piece.size();
  return bytes;
}

size_t EntriesOfMessage(std::span<const SetEntry> entries, uint64_t payload_bytes_max) {
  if (payload_bytes_max == 0) payload_bytes_max = wire::kPayloadBytesMax;
  uint64_t payload = 0;
  size_t count = 0;
  while (count < entries.size() && count < wire::kKeysMax) {
    const uint64_t bytes = ValueBytes(entries[count]);
    if (count > 0 && bytes > payload_bytes_max - payload) break;
    payload += bytes;
    ++count;
    if (payload >= payload_bytes_max) break;
  }
  return count;
}

size_t NextUnsent(std::span<const GetResult> results, bool prefix_only) {
  const auto unsent = std::find_if(results.begin(), results.end(), [](const GetResult& result) {
    return result.reason == Reason::kNotSent;
  });
  const auto next = static_cast<size_t>(unsent - results.begin());
  if (next == 0) return results.size();  // no progress: asking again would not end
  if (prefix_only && results[next - 1].reason != Reason::kOk) return results.size();
  return next;
}

}  // namespace kvgate::client
