// SPDX-License-Identifier: Apache-2.0
//
// RecoveryMerge: puts the records of a log, which come in nearly any order, into the index, while
// the store may already serve. The highest version of a block wins; of two records of one version,
// copies of each other, the later one; a tombstone ends everything of its version and below,
// whichever came first. Tombstones are remembered only while it lives, those of live Deletes and
// OVERWRITEs too: what they end may be handed over later.
// Thread-compatible (the store's lock). Errors: a full index drops values (misses later), counted
// in dropped().
#pragma once

#include <cstdint>
#include <span>

#include "absl/container/flat_hash_map.h"
#include "storage/index/index.h"
#include "storage/log/log.h"

namespace kvgate::storage {

inline BlockId BlockIdOf(const RecordMeta& meta) {
  return {meta.ns, meta.hash, meta.group, meta.shard};
}

class RecoveryMerge {
 public:
  explicit RecoveryMerge(Index* index) : index_(index) {}

  void Add(std::span<const RecoveredRecord> records);
  // A tombstone, of the log or of a live call.
  void AddTombstone(const RecordMeta& meta);
  uint64_t version_max() const { return version_max_; }
  uint64_t dropped() const { return dropped_; }

 private:
  void AddValue(const RecoveredRecord& record);
  bool Killed(const BlockId& id, uint64_t version) const;

  Index* const index_;
  absl::flat_hash_map<BlockId, uint64_t> tombstones_;      // highest version
  absl::flat_hash_map<BlockId, uint64_t> key_tombstones_;  // all siblings: group = shard = 0
  uint64_t version_max_ = 0, dropped_ = 0;
};

}  // namespace kvgate::storage
