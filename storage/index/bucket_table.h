// SPDX-License-Identifier: Apache-2.0
//
// BucketTable: from a 64-bit hash to slot numbers, 5 bytes a bucket.
//
// Many small open-addressing tables (partitions), chosen by the hash's high bits; each grows by a
// fifth when it is four fifths full, so that the whole is never half empty and no growth takes
// long. A bucket is a tag of 8 hash bits and a slot number; the caller compares what the slot says.
// Threads: thread-compatible (the index's lock). Errors: none. Limits: 2^32 - 1 slot numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace kvgate::storage {

class BucketTable {
 public:
  // Of a slot that is in the table; partitions are laid out anew by its hash.
  class Slots {
   public:
    virtual ~Slots() = default;
    virtual uint64_t HashOf(uint32_t slot) const = 0;
    virtual void Prefetch(uint32_t slot) const = 0;
  };

  // `entries_max` is what the number of partitions is made for.
  explicit BucketTable(uint64_t entries_max);

  // The first slot of this hash for which `matches` is true; 2^32 - 1: none.
  template <typename Matches>
  uint32_t Find(uint64_t hash, const Matches& matches) const {
    const Partition& partition = partitions_[PartitionOf(hash)];
    if (partition.capacity == 0) return 0xFFFFFFFF;
    const uint8_t tag = TagOf(hash);
    uint32_t at = HomeOf(hash, partition.capacity);
    // Tags and numbers lie apart: both on their way at once.
    __builtin_prefetch(partition.data.get() + partition.capacity + size_t{at} * 4);
    while (partition.Tag(at) != 0) {
      if (partition.Tag(at) == tag) {
        const uint32_t slot = partition.Slot(at);
        if (matches(slot)) return slot;
      }
      at = at + 1 == partition.capacity ? 0 : at + 1;
    }
    return 0xFFFFFFFF;
  }

  // Makes room for that many entries, so that partitions need not grow step by step.
  void Reserve(uint64_t entries, const Slots& slots);
  // The slot must not be in it yet.
  void Insert(uint64_t hash, uint32_t slot, const Slots& slots);
  // The slot must be in it.
  void Erase(uint64_t hash, uint32_t slot, const Slots& slots);
  // Brings the first bucket of this hash nearer to the processor.
  void Prefetch(uint64_t hash) const {
    const Partition& partition = partitions_[PartitionOf(hash)];
    if (partition.capacity == 0) return;
    const uint32_t at = HomeOf(hash, partition.capacity);
    __builtin_prefetch(partition.data.get() + at);
    __builtin_prefetch(partition.data.get() + partition.capacity + size_t{at} * 4);
  }

  uint64_t bytes() const { return bytes_; }

 private:
  struct Partition {
    uint32_t capacity = 0, count = 0;
    // `capacity` tags (0 = empty), then as many slot numbers of 4 bytes.
    std::unique_ptr<uint8_t[]> data;

    uint8_t Tag(uint32_t at) const { return data[at]; }
    uint32_t Slot(uint32_t at) const {
      uint32_t slot;
      std::memcpy(&slot, data.get() + capacity + size_t{at} * 4, 4);
      return slot;
    }
    void Set(uint32_t at, uint8_t tag, uint32_t slot) {
      data[at] = tag;
      std::memcpy(data.get() + capacity + size_t{at} * 4, &slot, 4);
    }
  };

  static uint8_t TagOf(uint64_t hash) {
    const auto tag = static_cast<uint8_t>(hash);
    return tag == 0 ? 1 : tag;
  }
  size_t PartitionOf(uint64_t hash) const { return hash >> shift_; }
  // From the bits below those that chose the partition.
  uint32_t HomeOf(uint64_t hash, uint32_t capacity) const {
    const uint64_t bits = (hash << (64 - shift_)) >> 32;
    return static_cast<uint32_t>((bits * capacity) >> 32);
  }
  static void Place(Partition* partition, uint32_t home, uint8_t tag, uint32_t slot);
  void Resize(Partition* partition, uint32_t capacity, const Slots& slots);

  uint32_t shift_;
  uint64_t bytes_ = 0;
  std::vector<Partition> partitions_;
};

}  // namespace kvgate::storage
