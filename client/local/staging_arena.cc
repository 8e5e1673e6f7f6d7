// SPDX-License-Identifier: Apache-2.0
#include "client/local/staging_arena.h"

#include <sys/mman.h>

#include <algorithm>

namespace kvgate::client {
namespace {

constexpr uint64_t kSmallGranule = 64;
constexpr uint64_t kPageGranule = 4096;

constexpr uint64_t RoundUp(uint64_t value, uint64_t granule) {
  return (value + granule - 1) / granule * granule;
}

}  // namespace

StagingArena::StagingArena(std::byte* base, uint64_t bytes, uint64_t control_bytes)
    : base_(base), bytes_(bytes), control_bytes_(std::min(control_bytes, bytes)) {
  // Two entries that never coalesce, since allocation looks at one range only.
  if (control_bytes_ > 0) free_[0] = control_bytes_;
  if (bytes_ > control_bytes_) free_[control_bytes_] = bytes_ - control_bytes_;
}

StagingArena::~StagingArena() { munmap(base_, bytes_); }

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
  uint64_t begin = used->first;
  uint64_t end = begin + used->second.bytes;
  in_use_ -= used->second.bytes;
  used_.erase(used);
  auto next = free_.lower_bound(begin);
  // The border between control and values stays.
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
  if (offset > bytes_ || bytes > bytes_ - offset) return {};
  return {base_ + offset, bytes};
}

uint64_t StagingArena::bytes_in_use() const {
  MutexLock lock(mutex_);
  return in_use_;
}

}  // namespace kvgate::client
