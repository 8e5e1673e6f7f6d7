// SPDX-License-Identifier: Apache-2.0
//
// KillRing: the latest tombstones and overwrites, so that no older record of their keys is written
// after them.
//
// Why: a tombstone may be forgotten once every live segment is younger than its
// birth_seq. That is sound only if nothing that it ends can land in a segment opened later. A value
// can come late: its Set was overtaken by a Delete, or reclaim was copying it meanwhile. The log
// asks here, when a batch takes its place, and drops such a value.
//
// Promise: Dies(r) is true whenever a killer of r was added before, unless that killer is so
// old that it left the ring; then Dies answers true for every record that could be concerned
// (fresh ones by version, reinserted ones by position). So the error is only ever a lost value.
// Thread-safe. Memory: `capacity` entries of about 80 B.
#pragma once

#include <cstdint>
#include <deque>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "storage/log/log.h"

namespace kvgate::storage {

class KillRing {
 public:
  explicit KillRing(size_t capacity) : capacity_(capacity) {}

  // `record` is a tombstone (ends versions <= its own) or a value that supersedes (ends those below
  // its own); others are ignored.
  void Add(const RecordMeta& record);

  // Killers added so far: taken before reclaim asks which records live.
  uint64_t position() const;

  // May this value still be written? `judged_at` = 0: a fresh one; else the position at which the
  // index said that it lives.
  bool Dies(const RecordMeta& value, uint64_t judged_at) const;

 private:
  struct Key {
    wire::Hash128 hash;
    uint32_t ns;
    uint32_t sibling;  // group << 8 | shard, or kAll
    friend bool operator==(const Key&, const Key&) = default;
    template <typename H>
    friend H AbslHashValue(H h, const Key& key) {
      return H::combine(std::move(h), key.hash.lo, key.hash.hi, key.ns, key.sibling);
    }
  };
  struct Killer {
    uint64_t version;   // ends records up to it
    uint64_t position;  // of the latest addition
  };
  struct Event {
    Key key;
    uint64_t version;
    uint64_t position;
  };
  static constexpr uint32_t kAll = 1 << 16;

  static Key KeyOf(const RecordMeta& record, bool all);

  const size_t capacity_;
  mutable absl::Mutex mutex_;
  std::deque<Event> events_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<Key, Killer> killers_ ABSL_GUARDED_BY(mutex_);
  uint64_t position_ ABSL_GUARDED_BY(mutex_) = 1;       // of the next event
  uint64_t gone_version_ ABSL_GUARDED_BY(mutex_) = 0;   // highest that left the ring
  uint64_t gone_position_ ABSL_GUARDED_BY(mutex_) = 0;  // latest that left the ring
};

}  // namespace kvgate::storage
