// SPDX-License-Identifier: Apache-2.0
//
// Index in 56-byte slots behind 5-byte buckets: at most 63.5 bytes a block.
//
// A slot names its parent by the parent's number. A parent that is not held, or leaves while it has
// children, is a ghost: a slot that only keeps its name and the count of its children. Ghosts have
// no parents, so they end with their last child and chains of them cannot arise.
#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "storage/index/bucket_table.h"
#include "storage/index/index.h"
#include "storage/index/slot_slab.h"

namespace kvgate::storage {
namespace {

constexpr size_t kNamespacesMax = std::numeric_limits<uint16_t>::max();

uint64_t Mix(uint64_t x) {  // the finalizer of splitmix64
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// A key's hash is keyed and names its namespace; groups and shards of a key are spread.
uint64_t BucketHash(uint64_t hash_lo, uint8_t group, uint8_t shard) {
  return Mix(hash_lo ^ Mix((uint64_t{group} << 8 | shard) + 1));
}

class SlotHashes final : public BucketTable::Slots {
 public:
  explicit SlotHashes(const SlotSlab& slab) : slab_(slab) {}
  static uint64_t Of(const IndexSlot& slot) {
    return BucketHash(slot.hash_lo, slot.group, slot.shard);
  }
  uint64_t HashOf(uint32_t slot) const override { return Of(slab_.At(slot)); }
  void Prefetch(uint32_t slot) const override { __builtin_prefetch(&slab_.At(slot)); }

 private:
  const SlotSlab& slab_;
};

// A cursor is the number of the next slot.
constexpr std::string_view kCursorMagic = "kvgs";
constexpr size_t kCursorBytes = 8;

class SlabIndex final : public Index {
 public:
  explicit SlabIndex(uint64_t blocks_max)
      : blocks_max_(std::min<uint64_t>(blocks_max, kNoSlot - 1)), buckets_(blocks_max_) {}

  std::optional<IndexEntry> Find(const BlockId& id) const override {
    absl::MutexLock lock(&mu_);
    const uint32_t slot = FindHeld(id);
    if (slot == kNoSlot) return std::nullopt;
    return EntryOf(slot);
  }

  std::optional<IndexState> FindState(const BlockId& id) const override {
    absl::MutexLock lock(&mu_);
    const uint32_t number = FindHeld(id);
    if (number == kNoSlot) return std::nullopt;
    const IndexSlot& slot = slab_.At(number);
    return IndexState{.length = slot.length(),
                      .memory_slot = slot.memory_slot,
                      .expiry_s = slot.expiry_s,
                      .hit = slot.Has(IndexSlot::kHit)};
  }

  void Prefetch(std::span<const BlockId> ids) const override {
    absl::MutexLock lock(&mu_);
    for (const BlockId& id : ids) {
      buckets_.Prefetch(BucketHash(id.hash.lo, id.group, id.shard));
    }
  }
  void Reserve(uint64_t entries) override {
    absl::MutexLock lock(&mu_);
    buckets_.Reserve(std::min(entries, blocks_max_), SlotHashes(slab_));
  }

  PutResult Put(const IndexEntry& entry) override;
  bool Erase(const BlockId& id, uint64_t version) override;

  bool SetPlace(const BlockId& id, uint64_t version, Place from, Place to) override {
    absl::MutexLock lock(&mu_);
    const uint32_t number = FindHeld(id);
    if (number == kNoSlot) return false;
    IndexSlot& slot = slab_.At(number);
    if (slot.version != version || PlaceOf(slot) != from) return false;
    SetPlaceOf(&slot, to);
    slot.Lower(IndexSlot::kHit);
    return true;
  }

  bool SetMemorySlot(const BlockId& id, uint64_t version, uint32_t from, uint32_t to) override {
    absl::MutexLock lock(&mu_);
    const uint32_t number = FindHeld(id);
    if (number == kNoSlot) return false;
    IndexSlot& slot = slab_.At(number);
    if (slot.version != version || slot.memory_slot != from) return false;
    slot.memory_slot = to;
    return true;
  }

  std::optional<bool> MarkHit(const BlockId& id) override {
    absl::MutexLock lock(&mu_);
    const uint32_t number = FindHeld(id);
    if (number == kNoSlot) return std::nullopt;
    const bool was = slab_.At(number).Has(IndexSlot::kHit);
    slab_.At(number).Raise(IndexSlot::kHit);
    return was;
  }

  std::vector<IndexEntry> Siblings(uint32_t ns, const wire::Hash128& hash) const override;
  std::vector<IndexEntry> Scan(std::string* cursor, size_t limit) const override;

  bool KnowsCursor(std::string_view cursor) const override {
    return cursor.empty() || (cursor.size() == kCursorBytes && cursor.starts_with(kCursorMagic));
  }

  uint64_t size() const override {
    absl::MutexLock lock(&mu_);
    return entries_;
  }
  uint64_t slots() const override {
    absl::MutexLock lock(&mu_);
    return slab_.used();
  }
  uint64_t MemoryBytes() const override {
    absl::MutexLock lock(&mu_);
    return slab_.bytes() + buckets_.bytes();
  }

  uint64_t EntriesOf(uint32_t ns) const override {
    absl::MutexLock lock(&mu_);
    const auto it = numbers_.find(ns);
    return it == numbers_.end() ? 0 : namespaces_[it->second].entries;
  }

 private:
  // A namespace as slots name it, in 16 bits; its number is used again when no slot does.
  struct SlotNamespace {
    uint32_t ns = 0;
    uint64_t slots = 0, entries = 0;
    uint8_t group_max = 0, shard_max = 0;  // ever seen: where siblings may be
  };

  static Place PlaceOf(const IndexSlot& slot) {
    return {slot.place_segment, static_cast<uint16_t>(slot.place_page)};
  }
  static void SetPlaceOf(IndexSlot* slot, Place place) {
    slot->place_segment = place.segment;
    slot->place_page = place.first_page;
  }

  // Of the slot, ghosts included.
  uint32_t FindSlot(const BlockId& id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return buckets_.Find(BucketHash(id.hash.lo, id.group, id.shard), [&](uint32_t number) {
      mu_.AssertHeld();
      const IndexSlot& slot = slab_.At(number);
      return slot.hash_lo == id.hash.lo && slot.hash_hi == id.hash.hi && slot.group == id.group &&
             slot.shard == id.shard && namespaces_[slot.ns].ns == id.ns;
    });
  }
  uint32_t FindHeld(const BlockId& id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const uint32_t number = FindSlot(id);
    return number != kNoSlot && slab_.At(number).Has(IndexSlot::kGhost) ? kNoSlot : number;
  }
  BlockId IdOf(const IndexSlot& slot) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return {namespaces_[slot.ns].ns, {slot.hash_lo, slot.hash_hi}, slot.group, slot.shard};
  }
  IndexEntry EntryOf(uint32_t number) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // A slot of that name, in the table; kNoSlot: too many namespaces.
  uint32_t TakeSlot(const BlockId& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FreeSlot(uint32_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Fill(uint32_t number, const IndexEntry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Link(uint32_t number, const wire::Hash128& parent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // One child less; a ghost without any ends.
  void DropChild(uint32_t parent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const uint64_t blocks_max_;

  mutable absl::Mutex mu_;
  SlotSlab slab_ ABSL_GUARDED_BY(mu_);
  BucketTable buckets_ ABSL_GUARDED_BY(mu_);
  std::vector<SlotNamespace> namespaces_ ABSL_GUARDED_BY(mu_);
  std::vector<uint16_t> free_namespaces_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<uint32_t, uint16_t> numbers_ ABSL_GUARDED_BY(mu_);
  uint64_t entries_ ABSL_GUARDED_BY(mu_) = 0;
};

IndexEntry SlabIndex::EntryOf(uint32_t number) const {
  const IndexSlot& slot = slab_.At(number);
  IndexEntry entry;
  entry.id = IdOf(slot);
  entry.version = slot.version;
  entry.place = PlaceOf(slot);
  entry.memory_slot = slot.memory_slot;
  entry.length = slot.length();
  entry.crc = slot.crc;
  entry.expiry_s = slot.expiry_s;
  entry.depth = DecodeDepth(slot.depth);
  entry.hit = slot.Has(IndexSlot::kHit);
  if (slot.parent != kNoSlot) {
    const IndexSlot& parent = slab_.At(slot.parent);
    entry.parent = {parent.hash_lo, parent.hash_hi};
  }
  return entry;
}

uint32_t SlabIndex::TakeSlot(const BlockId& id) {
  auto known = numbers_.find(id.ns);
  if (known == numbers_.end()) {
    uint16_t number = 0;
    if (!free_namespaces_.empty()) {
      number = free_namespaces_.back();
      free_namespaces_.pop_back();
    } else if (namespaces_.size() < kNamespacesMax) {
      number = static_cast<uint16_t>(namespaces_.size());
      namespaces_.emplace_back();
    } else {
      return kNoSlot;
    }
    namespaces_[number] = {.ns = id.ns};
    known = numbers_.emplace(id.ns, number).first;
  }
  SlotNamespace& ns = namespaces_[known->second];
  ++ns.slots;
  ns.group_max = std::max(ns.group_max, id.group);
  ns.shard_max = std::max(ns.shard_max, id.shard);
  const uint32_t number = slab_.Take();
  IndexSlot& slot = slab_.At(number);
  slot.hash_lo = id.hash.lo;
  slot.hash_hi = id.hash.hi;
  slot.group = id.group;
  slot.shard = id.shard;
  slot.ns = known->second;
  slot.parent = kNoSlot;
  slot.memory_slot = kNoMemorySlot;
  buckets_.Insert(SlotHashes::Of(slab_.At(number)), number, SlotHashes(slab_));
  return number;
}

void SlabIndex::FreeSlot(uint32_t number) {
  const uint16_t ns = slab_.At(number).ns;
  buckets_.Erase(SlotHashes::Of(slab_.At(number)), number, SlotHashes(slab_));
  slab_.Free(number);
  if (--namespaces_[ns].slots > 0) return;
  numbers_.erase(namespaces_[ns].ns);
  free_namespaces_.push_back(ns);
}

void SlabIndex::Link(uint32_t number, const wire::Hash128& parent) {
  if (parent.zero()) return;
  BlockId id = IdOf(slab_.At(number));
  id.hash = parent;
  uint32_t at = FindSlot(id);
  if (at == kNoSlot) {
    // Without room the chain ends here; its blocks are found as before.
    if (slab_.used() >= blocks_max_) return;
    at = TakeSlot(id);
    slab_.At(at).Raise(IndexSlot::kGhost);
  }
  slab_.At(number).parent = at;
  uint16_t& children = slab_.At(at).children;
  if (children < IndexSlot::kChildrenMax) ++children;
}

void SlabIndex::DropChild(uint32_t parent) {
  if (parent == kNoSlot) return;
  IndexSlot& slot = slab_.At(parent);
  if (slot.children == IndexSlot::kChildrenMax) return;  // how many they are is no longer known
  if (--slot.children == 0 && slot.Has(IndexSlot::kGhost)) FreeSlot(parent);
}

void SlabIndex::Fill(uint32_t number, const IndexEntry& entry) {
  IndexSlot& slot = slab_.At(number);
  slot.version = entry.version;
  SetPlaceOf(&slot, entry.place);
  slot.set_length(entry.length);
  slot.crc = entry.crc;
  slot.expiry_s = entry.expiry_s;
  slot.memory_slot = entry.memory_slot;
  slot.depth = EncodeDepth(entry.depth);
  slot.policy = 0;
  slot.Lower(IndexSlot::kGhost);
  if (entry.hit) {
    slot.Raise(IndexSlot::kHit);
  } else {
    slot.Lower(IndexSlot::kHit);
  }
}

Index::PutResult SlabIndex::Put(const IndexEntry& entry) {
  absl::MutexLock lock(&mu_);
  uint32_t number = FindSlot(entry.id);
  const bool held = number != kNoSlot && !slab_.At(number).Has(IndexSlot::kGhost);
  if (held && slab_.At(number).version >= entry.version) return PutResult::kOlder;
  if (number == kNoSlot) {
    if (slab_.used() >= blocks_max_) return PutResult::kFull;
    number = TakeSlot(entry.id);
    if (number == kNoSlot) return PutResult::kFull;
  }
  Fill(number, entry);
  // The old link goes last, so that a ghost that both name stays.
  const uint32_t before = std::exchange(slab_.At(number).parent, kNoSlot);
  Link(number, entry.parent);
  DropChild(before);
  if (held) return PutResult::kReplaced;
  ++entries_;
  ++namespaces_[slab_.At(number).ns].entries;
  return PutResult::kNew;
}

bool SlabIndex::Erase(const BlockId& id, uint64_t version) {
  absl::MutexLock lock(&mu_);
  const uint32_t number = FindHeld(id);
  if (number == kNoSlot || slab_.At(number).version != version) return false;
  --entries_;
  --namespaces_[slab_.At(number).ns].entries;
  // As a ghost first: it may be its own parent.
  slab_.At(number).Raise(IndexSlot::kGhost);
  slab_.At(number).memory_slot = kNoMemorySlot;
  ++slab_.At(number).children;
  DropChild(std::exchange(slab_.At(number).parent, kNoSlot));
  DropChild(number);
  return true;
}

std::vector<IndexEntry> SlabIndex::Siblings(uint32_t ns, const wire::Hash128& hash) const {
  std::vector<IndexEntry> found;
  absl::MutexLock lock(&mu_);
  const auto known = numbers_.find(ns);
  if (known == numbers_.end()) return found;
  const SlotNamespace& seen = namespaces_[known->second];
  for (uint32_t group = 0; group <= seen.group_max; ++group) {
    for (uint32_t shard = 0; shard <= seen.shard_max; ++shard) {
      const uint32_t number =
          FindHeld({ns, hash, static_cast<uint8_t>(group), static_cast<uint8_t>(shard)});
      if (number != kNoSlot) found.push_back(EntryOf(number));
    }
  }
  return found;
}

std::vector<IndexEntry> SlabIndex::Scan(std::string* cursor, size_t limit) const {
  std::vector<IndexEntry> found;
  uint32_t number = 0;
  if (!KnowsCursor(*cursor)) {
    cursor->clear();
    return found;
  }
  if (!cursor->empty()) std::memcpy(&number, cursor->data() + kCursorMagic.size(), 4);
  cursor->clear();
  absl::MutexLock lock(&mu_);
  for (; number < slab_.end(); ++number) {
    const IndexSlot& slot = slab_.At(number);
    if (!slot.Has(IndexSlot::kUsed) || slot.Has(IndexSlot::kGhost)) continue;
    if (found.size() == limit) {
      *cursor = kCursorMagic;
      cursor->append(reinterpret_cast<const char*>(&number), 4);
      break;
    }
    found.push_back(EntryOf(number));
  }
  return found;
}

}  // namespace

std::unique_ptr<Index> NewSlabIndex(uint64_t blocks_max) {
  return std::make_unique<SlabIndex>(blocks_max);
}

}  // namespace kvgate::storage
