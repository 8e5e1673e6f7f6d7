// SPDX-License-Identifier: Apache-2.0
//
// Index as 64 hash tables with a lock each. A key's siblings lie side by side under its hash, so
// that all of them are found by one probe; nearly every key has one.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/synchronization/mutex.h"
#include "storage/index/index.h"

namespace kvgate::storage {
namespace {

constexpr size_t kShards = 64;

struct KeyId {
  uint32_t ns = 0;
  wire::Hash128 hash;
  friend bool operator==(const KeyId&, const KeyId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const KeyId& key) {
    // The hash is keyed and uniform already; its low bits chose the shard.
    return H::combine(std::move(h), key.ns, key.hash.hi);
  }
};

using Family = absl::InlinedVector<IndexEntry, 1>;

bool Before(const BlockId& a, const BlockId& b) {
  return std::pair(a.group, a.shard) < std::pair(b.group, b.shard);
}

// A cursor is the shard's number and the last id that was given out.
struct Cursor {
  uint32_t shard = 0;
  bool started = false;  // false: from the first id of the shard
  BlockId last;
};

constexpr size_t kCursorBytes = 4 + 4 + 8 + 8 + 1 + 1 + 1;

std::string EncodeCursor(const Cursor& cursor) {
  std::string out(kCursorBytes, '\0');
  char* at = out.data();
  const auto put = [&at](const void* from, size_t bytes) {
    std::memcpy(at, from, bytes);
    at += bytes;
  };
  const uint8_t started = cursor.started ? 1 : 0;
  put(&cursor.shard, 4);
  put(&cursor.last.ns, 4);
  put(&cursor.last.hash.lo, 8);
  put(&cursor.last.hash.hi, 8);
  put(&cursor.last.group, 1);
  put(&cursor.last.shard, 1);
  put(&started, 1);
  return out;
}

bool DecodeCursor(std::string_view text, Cursor* cursor) {
  if (text.empty()) return true;
  if (text.size() != kCursorBytes) return false;
  const char* at = text.data();
  const auto get = [&at](void* to, size_t bytes) {
    std::memcpy(to, at, bytes);
    at += bytes;
  };
  uint8_t started = 0;
  get(&cursor->shard, 4);
  get(&cursor->last.ns, 4);
  get(&cursor->last.hash.lo, 8);
  get(&cursor->last.hash.hi, 8);
  get(&cursor->last.group, 1);
  get(&cursor->last.shard, 1);
  get(&started, 1);
  cursor->started = started == 1;
  return cursor->shard < kShards && started <= 1;
}

class ShardedIndex final : public Index {
 public:
  explicit ShardedIndex(uint64_t blocks_max) : blocks_max_(blocks_max) {}

  std::optional<IndexEntry> Find(const BlockId& id) const override {
    const Shard& shard = ShardOf(id.hash);
    absl::ReaderMutexLock lock(&shard.mu);
    const IndexEntry* entry = shard.Find(id);
    if (entry == nullptr) return std::nullopt;
    return *entry;
  }

  PutResult Put(const IndexEntry& entry) override {
    Shard& shard = ShardOf(entry.id.hash);
    absl::MutexLock lock(&shard.mu);
    if (IndexEntry* held = shard.Find(entry.id); held != nullptr) {
      if (held->version >= entry.version) return PutResult::kOlder;
      *held = entry;
      return PutResult::kReplaced;
    }
    if (size_.fetch_add(1, std::memory_order_relaxed) >= blocks_max_) {
      size_.fetch_sub(1, std::memory_order_relaxed);
      return PutResult::kFull;
    }
    Family& family = shard.families[KeyId{entry.id.ns, entry.id.hash}];
    const auto at = std::find_if(family.begin(), family.end(), [&](const IndexEntry& other) {
      return Before(entry.id, other.id);
    });
    family.insert(at, entry);
    ++shard.entries[entry.id.ns];
    return PutResult::kNew;
  }

  bool Erase(const BlockId& id, uint64_t version) override {
    Shard& shard = ShardOf(id.hash);
    absl::MutexLock lock(&shard.mu);
    const auto it = shard.families.find(KeyId{id.ns, id.hash});
    if (it == shard.families.end()) return false;
    Family& family = it->second;
    const auto at = std::find_if(family.begin(), family.end(), [&](const IndexEntry& entry) {
      return entry.id == id && entry.version == version;
    });
    if (at == family.end()) return false;
    family.erase(at);
    if (family.empty()) shard.families.erase(it);
    const auto count = shard.entries.find(id.ns);
    if (--count->second == 0) shard.entries.erase(count);
    size_.fetch_sub(1, std::memory_order_relaxed);
    return true;
  }

  bool SetPlace(const BlockId& id, uint64_t version, Place from, Place to) override {
    Shard& shard = ShardOf(id.hash);
    absl::MutexLock lock(&shard.mu);
    IndexEntry* entry = shard.Find(id);
    if (entry == nullptr || entry->version != version || entry->place != from) return false;
    entry->place = to;
    entry->hit = false;
    return true;
  }

  bool SetMemorySlot(const BlockId& id, uint64_t version, uint32_t from, uint32_t to) override {
    Shard& shard = ShardOf(id.hash);
    absl::MutexLock lock(&shard.mu);
    IndexEntry* entry = shard.Find(id);
    if (entry == nullptr || entry->version != version || entry->memory_slot != from) return false;
    entry->memory_slot = to;
    return true;
  }

  std::optional<bool> MarkHit(const BlockId& id) override {
    Shard& shard = ShardOf(id.hash);
    absl::MutexLock lock(&shard.mu);
    IndexEntry* entry = shard.Find(id);
    if (entry == nullptr) return std::nullopt;
    return std::exchange(entry->hit, true);
  }

  std::vector<IndexEntry> Siblings(uint32_t ns, const wire::Hash128& hash) const override {
    const Shard& shard = ShardOf(hash);
    absl::ReaderMutexLock lock(&shard.mu);
    const auto it = shard.families.find(KeyId{ns, hash});
    if (it == shard.families.end()) return {};
    return {it->second.begin(), it->second.end()};
  }

  std::vector<IndexEntry> Scan(std::string* cursor, size_t limit) const override;

  bool KnowsCursor(std::string_view cursor) const override {
    Cursor at;
    return DecodeCursor(cursor, &at);
  }

  uint64_t size() const override { return size_.load(std::memory_order_relaxed); }

  uint64_t EntriesOf(uint32_t ns) const override {
    uint64_t sum = 0;
    for (const Shard& shard : shards_) {
      absl::ReaderMutexLock lock(&shard.mu);
      const auto count = shard.entries.find(ns);
      if (count != shard.entries.end()) sum += count->second;
    }
    return sum;
  }

 private:
  struct Shard {
    mutable absl::Mutex mu;
    absl::flat_hash_map<KeyId, Family> families ABSL_GUARDED_BY(mu);
    absl::flat_hash_map<uint32_t, uint64_t> entries ABSL_GUARDED_BY(mu);  // by namespace; none is 0

    const IndexEntry* Find(const BlockId& id) const ABSL_SHARED_LOCKS_REQUIRED(mu) {
      const auto it = families.find(KeyId{id.ns, id.hash});
      if (it == families.end()) return nullptr;
      for (const IndexEntry& entry : it->second) {
        if (entry.id == id) return &entry;
      }
      return nullptr;
    }
    IndexEntry* Find(const BlockId& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      const Shard* self = this;
      self->mu.AssertReaderHeld();  // the analysis does not see that it is the same lock
      return const_cast<IndexEntry*>(self->Find(id));
    }
  };

  Shard& ShardOf(const wire::Hash128& hash) { return shards_[hash.lo % kShards]; }
  const Shard& ShardOf(const wire::Hash128& hash) const { return shards_[hash.lo % kShards]; }

  const uint64_t blocks_max_;
  std::atomic<uint64_t> size_{0};
  std::array<Shard, kShards> shards_;
};

// Within a shard ids go up, so a page may be resumed although the tables were rehashed meanwhile.
// Each page walks its shard: for tools, not for the data path.
std::vector<IndexEntry> ShardedIndex::Scan(std::string* cursor, size_t limit) const {
  std::vector<IndexEntry> found;
  Cursor at;
  if (!DecodeCursor(*cursor, &at)) {
    cursor->clear();
    return found;
  }
  const auto by_id = [](const IndexEntry& a, const IndexEntry& b) { return a.id < b.id; };
  for (; at.shard < kShards; ++at.shard, at.started = false) {
    std::vector<IndexEntry> part;
    {
      const Shard& shard = shards_[at.shard];
      absl::ReaderMutexLock lock(&shard.mu);
      for (const auto& [key, family] : shard.families) {
        for (const IndexEntry& entry : family) {
          if (!at.started || at.last < entry.id) part.push_back(entry);
        }
      }
    }
    const size_t take = std::min(limit - found.size(), part.size());
    std::partial_sort(part.begin(), part.begin() + static_cast<ptrdiff_t>(take), part.end(), by_id);
    found.insert(found.end(), part.begin(), part.begin() + static_cast<ptrdiff_t>(take));
    if (take < part.size()) {
      if (take > 0) {
        at.last = found.back().id;
        at.started = true;
      }
      *cursor = EncodeCursor(at);
      return found;
    }
  }
  cursor->clear();
  return found;
}

}  // namespace

std::unique_ptr<Index> NewShardedIndex(uint64_t blocks_max) {
  return std::make_unique<ShardedIndex>(blocks_max);
}

}  // namespace kvgate::storage
