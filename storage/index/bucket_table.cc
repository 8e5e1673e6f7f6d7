// SPDX-License-Identifier: Apache-2.0
#include "storage/index/bucket_table.h"

#include <algorithm>
#include <bit>

#include "storage/base/check.h"

namespace kvgate::storage {
namespace {

constexpr uint64_t kPartitionEntries = 1024;  // when the table is as full as it was made for
constexpr uint64_t kPartitionsMin = 16;
constexpr uint32_t kCapacityMin = 8;
constexpr size_t kBucketBytes = 5;
constexpr uint32_t kPrefetchAhead = 16;

// Four fifths.
bool Full(uint32_t count, uint32_t capacity) {
  return uint64_t{count} * 5 >= uint64_t{capacity} * 4;
}

}  // namespace

BucketTable::BucketTable(uint64_t entries_max) {
  const uint64_t partitions =
      std::bit_ceil(std::max(entries_max / kPartitionEntries, kPartitionsMin));
  shift_ = 64 - static_cast<uint32_t>(std::countr_zero(partitions));
  partitions_.resize(partitions);
  bytes_ = partitions * sizeof(Partition);
}

void BucketTable::Place(Partition* partition, uint32_t home, uint8_t tag, uint32_t slot) {
  uint32_t at = home;
  while (partition->Tag(at) != 0) at = at + 1 == partition->capacity ? 0 : at + 1;
  partition->Set(at, tag, slot);
}

void BucketTable::Resize(Partition* partition, uint32_t new_capacity, const Slots& slots) {
  Partition grown;
  grown.capacity = new_capacity;
  grown.count = partition->count;
  grown.data = std::make_unique<uint8_t[]>(grown.capacity * kBucketBytes);
  const uint32_t capacity = partition->capacity;
  for (uint32_t at = 0; at < capacity; ++at) {
    const uint32_t ahead = at + kPrefetchAhead;
    if (ahead < capacity && partition->Tag(ahead) != 0) slots.Prefetch(partition->Slot(ahead));
    if (partition->Tag(at) == 0) continue;
    const uint32_t slot = partition->Slot(at);
    Place(&grown, HomeOf(slots.HashOf(slot), grown.capacity), partition->Tag(at), slot);
  }
  bytes_ += (grown.capacity - partition->capacity) * kBucketBytes;
  *partition = std::move(grown);
}

void BucketTable::Reserve(uint64_t entries, const Slots& slots) {
  const uint64_t wanted = entries / partitions_.size() * 5 / 4 + 1;
  for (Partition& partition : partitions_) {
    if (partition.capacity < wanted) {
      Resize(&partition, std::max(kCapacityMin, static_cast<uint32_t>(wanted)), slots);
    }
  }
}

void BucketTable::Insert(uint64_t hash, uint32_t slot, const Slots& slots) {
  Partition& partition = partitions_[PartitionOf(hash)];
  if (Full(partition.count + 1, partition.capacity)) {
    const uint32_t capacity = partition.capacity + partition.capacity / 5;
    Resize(&partition, std::max(kCapacityMin, capacity), slots);
  }
  Place(&partition, HomeOf(hash, partition.capacity), TagOf(hash), slot);
  ++partition.count;
}

void BucketTable::Erase(uint64_t hash, uint32_t slot, const Slots& slots) {
  Partition& partition = partitions_[PartitionOf(hash)];
  KVGATE_CHECK(partition.capacity > 0);
  const auto next = [&](uint32_t at) { return at + 1 == partition.capacity ? 0 : at + 1; };
  uint32_t hole = HomeOf(hash, partition.capacity);
  while (partition.Tag(hole) != TagOf(hash) || partition.Slot(hole) != slot) {
    KVGATE_CHECK(partition.Tag(hole) != 0);
    hole = next(hole);
  }
  // What was pushed past the hole moves into it, so that no search ends too early.
  for (uint32_t at = next(hole); partition.Tag(at) != 0; at = next(at)) {
    const uint32_t home = HomeOf(slots.HashOf(partition.Slot(at)), partition.capacity);
    const auto distance = [&](uint32_t from, uint32_t to) {
      return to >= from ? to - from : to + partition.capacity - from;
    };
    if (distance(home, at) < distance(hole, at)) continue;  // its home lies behind the hole
    partition.Set(hole, partition.Tag(at), partition.Slot(at));
    hole = at;
  }
  partition.Set(hole, 0, 0);
  --partition.count;
}

}  // namespace kvgate::storage
