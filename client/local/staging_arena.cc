// SPDX-License-Identifier: Apache-2.0
#include "client/local/staging_arena.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>

namespace kvgate::client {
namespace {

constexpr uint64_t kSmallGranule = 64;
constexpr uint64_t kPageGranule = 4096;

constexpr uint64_t RoundUp(uint64_t value, uint64_t granule) {
  return (value + granule - 1) / granule * granule;
}

}  // namespace

std::shared_ptr<StagingArena> StagingArena::Map(int fd, uint64_t bytes, uint64_t control_bytes,
                                                uint64_t bytes_max) {
  bytes_max = std::max(bytes, bytes_max);
  if (bytes == 0) return nullptr;
  void* base =
      mmap(nullptr, bytes_max, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  auto arena =
      std::make_shared<StagingArena>(static_cast<std::byte*>(base), 0, control_bytes, bytes_max);
  return arena->Grow(fd, bytes) ? arena : nullptr;
}

StagingArena::StagingArena(std::byte* base, uint64_t bytes, uint64_t control_bytes,
                           uint64_t bytes_max)
    : base_(base),
      control_bytes_(control_bytes),
      bytes_(bytes),
      bytes_max_(std::max(bytes, bytes_max)) {
  if (bytes == 0) return;
  MutexLock lock(mutex_);
  AddFree(0, bytes);
}

StagingArena::~StagingArena() {
  if (bytes_max_ > 0) munmap(base_, bytes_max_);
}

bool StagingArena::Grow(int fd, uint64_t bytes) {
  const uint64_t offset = bytes_.load();
  struct stat info;
  // A file shorter than its mapping would fault.
  if (bytes == 0 || bytes > room_to_grow() || fstat(fd, &info) != 0 ||
      static_cast<uint64_t>(info.st_size) < bytes) {
    return false;
  }
  void* memory = mmap(base_ + offset, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  if (memory == MAP_FAILED) {
    // The kernel may have given the addresses away: they are left alone from now on.
    bytes_max_.store(offset);
    return false;
  }
  // Core files of a worker do not need the cache.
  (void)madvise(memory, bytes, MADV_DONTDUMP);
  MutexLock lock(mutex_);
  bytes_.store(offset + bytes, std::memory_order_release);
  AddFree(offset, offset + bytes);
  return true;
}

uint64_t StagingArena::MissingFor(uint64_t bytes) const {
  MutexLock lock(mutex_);
  const uint64_t end = bytes_.load();
  uint64_t begin = end;
  if (!free_.empty()) {
    const auto last = std::prev(free_.end());
    if (last->first + last->second == end) begin = last->first;
  }
  begin = RoundUp(std::max(begin, control_bytes_), kPageGranule);
  const uint64_t needed = begin + RoundUp(bytes, kPageGranule);
  return needed > end ? needed - end : 0;
}

// Joins neighbours, but not over the border between control and values.
void StagingArena::AddFree(uint64_t begin, uint64_t end) {
  if (begin < control_bytes_ && end > control_bytes_) {
    AddFree(begin, control_bytes_);
    begin = control_bytes_;
  }
  auto next = free_.lower_bound(begin);
  if (next != free_.end() && next->first == end && end != control_bytes_) {
    end += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin() && begin != control_bytes_) {
    auto before = std::prev(next);
    if (before->first + before->second == begin) {
      begin = before->first;
      free_.erase(before);
    }
  }
  free_[begin] = end - begin;
}

std::optional<uint64_t> StagingArena::Take(uint64_t bytes, uint64_t begin, uint64_t end) {
  const uint64_t granule = bytes < kPageGranule ? kSmallGranule : kPageGranule;
  if (bytes == 0 || bytes > bytes_) return std::nullopt;
  const uint64_t rounded = RoundUp(bytes, granule);
  for (auto it = free_.lower_bound(begin); it != free_.end() && it->first < end; ++it) {
    const uint64_t hole = it->first, hole_end = it->first + it->second;
    const uint64_t at = RoundUp(hole, granule);
    if (at > hole_end || rounded > hole_end - at) continue;
    free_.erase(it);
    if (at > hole) free_[hole] = at - hole;
    if (at + rounded < hole_end) free_[at + rounded] = hole_end - at - rounded;
    used_[at] = Used{rounded, 1};
    in_use_ += rounded;
    return at;
  }
  return std::nullopt;
}

void StagingArena::Drop(uint64_t offset_inside) {
  MutexLock lock(mutex_);
  auto used = used_.upper_bound(offset_inside);
  if (used == used_.begin()) return;
  --used;
  if (--used->second.holds > 0) return;
  const uint64_t begin = used->first;
  const uint64_t end = begin + used->second.bytes;
  in_use_ -= used->second.bytes;
  used_.erase(used);
  AddFree(begin, end);
}

std::optional<StagingArena::Part> StagingArena::AllocValue(uint64_t bytes) {
  std::optional<uint64_t> offset;
  {
    MutexLock lock(mutex_);
    offset = Take(bytes, control_bytes_, bytes_);
  }
  if (!offset) return std::nullopt;
  return Part(shared_from_this(), *offset, bytes);
}

std::optional<StagingArena::Part> StagingArena::AllocControl(uint64_t bytes) {
  std::optional<uint64_t> offset;
  {
    MutexLock lock(mutex_);
    offset = Take(bytes, 0, control_bytes_);
    if (!offset) offset = Take(bytes, control_bytes_, bytes_);
  }
  if (!offset) return std::nullopt;
  return Part(shared_from_this(), *offset, bytes);
}

std::byte* StagingArena::AllocOwned(uint64_t bytes) {
  MutexLock lock(mutex_);
  const std::optional<uint64_t> offset = Take(bytes, control_bytes_, bytes_);
  return offset ? base_ + *offset : nullptr;
}

void StagingArena::FreeOwned(std::byte* memory) {
  if (Contains(memory)) Drop(static_cast<uint64_t>(memory - base_));
}

std::optional<StagingArena::Part> StagingArena::HoldOf(std::span<const std::byte> bytes) {
  if (bytes.empty() || !Contains(bytes.data())) return std::nullopt;
  const auto offset = static_cast<uint64_t>(bytes.data() - base_);
  {
    MutexLock lock(mutex_);
    auto used = used_.upper_bound(offset);
    if (used == used_.begin()) return std::nullopt;
    --used;
    const uint64_t end = used->first + used->second.bytes;
    if (offset >= end || bytes.size() > end - offset) return std::nullopt;
    ++used->second.holds;
  }
  return Part(shared_from_this(), offset, bytes.size());
}

std::span<const std::byte> StagingArena::At(uint64_t offset, uint64_t bytes) const {
  const uint64_t all = this->bytes();
  if (offset > all || bytes > all - offset) return {};
  return {base_ + offset, bytes};
}

uint64_t StagingArena::bytes_in_use() const {
  MutexLock lock(mutex_);
  return in_use_;
}

}  // namespace kvgate::client
