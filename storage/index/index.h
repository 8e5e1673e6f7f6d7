// SPDX-License-Identifier: Apache-2.0
//
// Index: which blocks are held, in which version, and where: in memory, in the log, or both.
//
// Promises
//  1. At most one entry a BlockId. An entry is never replaced by one of a lower version; every
//  other
//     change names the version (and place) that it started from and does nothing when the entry has
//     moved on meanwhile (compare-and-set), so a late completion cannot undo a newer Set or Delete.
//  2. An entry without place and without memory slot does not exist: who takes the last one away
//     erases it.
//  3. Siblings of a key are found from its hash alone.
//  4. A block is linked to its parent (the key before it, same group and shard) while both are
//     named: a parent that is not held, or leaves first, keeps a slot as a ghost until its last
//     child is gone, or the chain ends there when no slot is left.
// Entries go in and out by value, so that an implementation may lay them out as it likes.
// Threads: thread-safe; one call is atomic, several are not. Limits: blocks_max slots,
// ghosts included; lengths 1 B to 64 MiB; 65,535 namespaces at a time; `depth` is exact below 128,
// then rounded down in steps of 512 up to 65,152.
// Errors: a full index refuses new entries (kFull); the store makes room before that. Suite:
// index_conformance.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "storage/index/block_id.h"
#include "storage/log/log.h"

namespace kvgate::storage {

inline constexpr uint32_t kNoMemorySlot = 0xFFFFFFFF;

struct IndexEntry {
  BlockId id;
  uint64_t version = 0;
  Place place;                           // invalid: not in the log
  uint32_t memory_slot = kNoMemorySlot;  // in the side table of memory-resident blocks
  uint32_t length = 0;
  uint32_t crc = 0;       // block checksum
  uint32_t expiry_s = 0;  // cache clock; 0 = never
  wire::Hash128 parent;   // key before it in the chain, zero = none
  uint32_t depth = 0;
  bool hit = false;  // read or touched since it was written to its place
};

// What a Lookup needs of an entry.
struct IndexState {
  uint32_t length = 0;
  uint32_t memory_slot = kNoMemorySlot;
  uint32_t expiry_s = 0;
  bool hit = false;
};

class Index {
 public:
  enum class PutResult : uint8_t { kNew = 0, kReplaced = 1, kOlder = 2, kFull = 3 };

  virtual ~Index() = default;

  virtual std::optional<IndexEntry> Find(const BlockId& id) const = 0;
  virtual std::optional<IndexState> FindState(const BlockId& id) const = 0;
  // Tells that these will be looked for soon, and how many entries will come. May do nothing.
  virtual void Prefetch(std::span<const BlockId> ids) const = 0;
  virtual void Reserve(uint64_t entries) = 0;

  // Inserts, or replaces an entry of a lower version. kOlder: one of this or a higher version
  // stays.
  virtual PutResult Put(const IndexEntry& entry) = 0;

  // Removes the entry if it still has this version. True when it did.
  virtual bool Erase(const BlockId& id, uint64_t version) = 0;

  // place := to, if version and place are still these; a new place starts without hits.
  virtual bool SetPlace(const BlockId& id, uint64_t version, Place from, Place to) = 0;

  // memory_slot := to, if version and memory_slot are still these.
  virtual bool SetMemorySlot(const BlockId& id, uint64_t version, uint32_t from, uint32_t to) = 0;

  // Sets `hit`. Returns what it was before; nullopt when there is no entry.
  virtual std::optional<bool> MarkHit(const BlockId& id) = 0;

  // All entries of the key, in ascending (group, shard).
  virtual std::vector<IndexEntry> Siblings(uint32_t ns, const wire::Hash128& hash) const = 0;

  // Up to `limit` entries in an order of the index's own, from where `cursor` stopped (empty: from
  // the start). Entries that stay during the whole walk are seen exactly once. Sets *cursor; empty
  // when done. A cursor that this index could not have made gives no entries and ends.
  virtual std::vector<IndexEntry> Scan(std::string* cursor, size_t limit) const = 0;

  // Whether `cursor` is empty or one that Scan may have made.
  virtual bool KnowsCursor(std::string_view cursor) const = 0;

  virtual uint64_t size() const = 0;
  // What counts against blocks_max: entries and ghosts.
  virtual uint64_t slots() const = 0;
  virtual uint64_t MemoryBytes() const = 0;

  // Entries of a namespace, as counted while others may come and go.
  virtual uint64_t EntriesOf(uint32_t ns) const = 0;
};

// At most 63.5 bytes a slot (slab_index.cc).
std::unique_ptr<Index> NewSlabIndex(uint64_t blocks_max);

}  // namespace kvgate::storage
