// SPDX-License-Identifier: Apache-2.0
//
// How one call of a caller becomes several messages: a Set by payload, a Get by what was not sent.
// Pure functions over a chain's keys, depth and root (`root` is the first key of the root
// group in which the first key lies, empty exactly when the key begins a group).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "client/client.h"

namespace kvgate::client {

// What a message must carry when it starts at a later key.
struct ChainPlace {
  uint32_t depth = 0;
  std::string_view root;
};

// The place of key `index`, for a chain whose key 0 is at `start`. `key(i)` gives key i;
// `group_keys` = g of the KV group, 0 = unknown (then the root is kept).
template <typename KeyAt>
ChainPlace PlaceOf(const ChainPlace& start, uint32_t index, uint32_t group_keys, KeyAt key) {
  const uint32_t depth = start.depth + index;
  if (group_keys == 0) return {depth, start.root};
  const uint32_t in_group = depth % group_keys;
  if (in_group == 0) return {depth, {}};
  if (in_group <= index) return {depth, key(index - in_group)};
  return {depth, start.root};
}

// How many leading entries one message takes: at least one, at most payload_bytes_max of values and
// the 1,024 keys of the contract. payload_bytes_max 0 = the contract's limit.
size_t EntriesOfMessage(std::span<const SetEntry> entries, uint64_t payload_bytes_max);

uint64_t ValueBytes(const SetEntry& entry);

// The index from which a Get must be asked again because its answer was full: the first key that
// was not sent, whatever later ones answered. results.size() = none: all was answered, nothing at
// all was, or a miss ended a Get of prefix_only.
size_t NextUnsent(std::span<const GetResult> results, bool prefix_only);

}  // namespace kvgate::client
