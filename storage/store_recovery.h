// SPDX-License-Identifier: Apache-2.0
//
// RecoveryMerge: puts the records of a log, which come in no order, into an empty index so that the
// highest (version, batch_seq) of a block wins and a tombstone ends everything of its version and
// below, whichever came first. Tombstones are remembered only while it lives.
// Thread-compatible. Errors: a full index drops values (misses later), counted in dropped().
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
  uint64_t version_max() const { return version_max_; }
  uint64_t dropped() const { return dropped_; }

 private:
  void AddValue(const RecoveredRecord& record);
  void AddTombstone(const RecordMeta& meta);
  bool Killed(const BlockId& id, uint64_t version) const;

  Index* const index_;
  absl::flat_hash_map<BlockId, uint64_t> tombstones_;      // highest version
  absl::flat_hash_map<BlockId, uint64_t> key_tombstones_;  // all siblings: group = shard = 0
  // Reinsertion leaves pairs of one version: the younger place is the one that stays.
  absl::flat_hash_map<BlockId, uint64_t> batch_seqs_;
  uint64_t version_max_ = 0, dropped_ = 0;
};

}  // namespace kvgate::storage
