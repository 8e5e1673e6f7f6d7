// SPDX-License-Identifier: Apache-2.0
//
// What a Lookup asks and what was found, key by key, and the arithmetic on it.
// Plain data and pure functions; thread-compatible.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "storage/store.h"
#include "storage/store_impl.h"

namespace kvgate::storage {

struct KeyFound {
  Tier tier = Tier::kNone;   // of the slowest shard; kNone: some shard is missing
  uint64_t value_bytes = 0;  // all shards
};

struct QueryPlan {
  uint32_t group = 0, block_tokens = 0, window_blocks = 0;
  uint32_t first_wanted = 0;  // keys before it count as held
  Match match = Match::kPrefix;
  std::vector<KeyRef> keys;
  std::vector<KeyFound> found;  // PREFIX: up to the first key that is not held

  bool Held(size_t i) const {
    return i < first_wanted || (i < found.size() && found[i].tier != Tier::kNone);
  }
  uint32_t LeadingHeld() const;
  // Keys [first, end) that a boundary after `blocks` blocks needs.
  struct Range {
    uint32_t first = 0, end = 0;
  };
  Range Needed(uint32_t blocks) const;
};

// The largest multiple of the least common multiple of the block sizes at which every PREFIX and
// WINDOW query is satisfied; 0 when there is none.
uint32_t BoundaryTokens(const std::vector<QueryPlan>& queries);

// A query's part of the answer.
GroupHeld HeldOf(const QueryPlan& query, uint32_t boundary_tokens);

}  // namespace kvgate::storage
