// SPDX-License-Identifier: Apache-2.0
//
// BlockId: the name of a stored block: namespace, keyed hash of its key, group, shard. Plain data.
// Siblings of a key are its blocks of other groups and shards: they share `ns` and `hash`.
#pragma once

#include <cstdint>
#include <tuple>
#include <utility>

#include "proto/wire/key.h"

namespace kvgate::storage {

struct BlockId {
  uint32_t ns = 0;
  wire::Hash128 hash;
  uint8_t group = 0, shard = 0;

  friend bool operator==(const BlockId&, const BlockId&) = default;
  friend bool operator<(const BlockId& a, const BlockId& b) { return a.AsTuple() < b.AsTuple(); }
  template <typename H>
  friend H AbslHashValue(H h, const BlockId& id) {
    return H::combine(std::move(h), id.ns, id.hash.lo, id.hash.hi, id.group, id.shard);
  }

 private:
  std::tuple<uint32_t, uint64_t, uint64_t, uint8_t, uint8_t> AsTuple() const {
    return {ns, hash.lo, hash.hi, group, shard};
  }
};

}  // namespace kvgate::storage
