// SPDX-License-Identifier: Apache-2.0
//
// StagingArena: the client's side of its staging memfds: their mappings, one behind the other, and
// who uses which part of them.
//
// First fit over granules of 64 B (4 KiB from 4 KiB on), neighbours coalesced. The first
// kControlBytes serve requests and answers of calls, the rest values. Nothing of the allocator's
// state lies in the shared memory. A part is counted: it is free once its owner and every call in
// flight that names it let go, so a daemon that is late never finds other bytes.
// Threads: thread-safe, Grow by one at a time. Ownership: shared; the last holder unmaps.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "client/core/mutex.h"

namespace kvgate::client {

class StagingArena : public std::enable_shared_from_this<StagingArena> {
 public:
  // A counted hold on one part. Move-only.
  class Part {
   public:
    Part() = default;
    Part(std::shared_ptr<StagingArena> arena, uint64_t offset, uint64_t bytes)
        : arena_(std::move(arena)), offset_(offset), bytes_(bytes) {}
    Part(Part&& other) noexcept = default;
    Part& operator=(Part&& other) noexcept {
      std::swap(arena_, other.arena_);
      std::swap(offset_, other.offset_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Part() {
      if (arena_) arena_->Drop(offset_);
    }
    explicit operator bool() const { return arena_ != nullptr; }
    uint64_t offset() const { return offset_; }  // in staging
    uint64_t bytes() const { return bytes_; }    // asked for
    std::byte* data() const { return arena_->base_ + offset_; }

   private:
    friend class StagingArena;
    std::shared_ptr<StagingArena> arena_;
    uint64_t offset_ = 0, bytes_ = 0;
  };

  // Maps `bytes` of a memfd, of which the first `control_bytes` are for calls; more may come behind
  // them up to `bytes_max`. Null when it cannot be mapped.
  static std::shared_ptr<StagingArena> Map(int fd, uint64_t bytes, uint64_t control_bytes,
                                           uint64_t bytes_max);
  // Takes over a mapping of `bytes`, at the beginning of `bytes_max` of address space (0: no more).
  StagingArena(std::byte* base, uint64_t bytes, uint64_t control_bytes, uint64_t bytes_max = 0);
  StagingArena(const StagingArena&) = delete;
  StagingArena& operator=(const StagingArena&) = delete;
  ~StagingArena();

  std::optional<Part> AllocValue(uint64_t bytes);
  // From the control part if it has room, else from that of values.
  std::optional<Part> AllocControl(uint64_t bytes);

  // Maps `bytes` of another memfd behind what there is. False when it cannot be; then there is no
  // room for more from now on.
  bool Grow(int fd, uint64_t bytes);
  uint64_t bytes() const { return bytes_.load(std::memory_order_acquire); }
  uint64_t room_to_grow() const { return bytes_max_.load(std::memory_order_acquire) - bytes(); }
  // By how much it must grow for a value of `bytes` to find room behind what is used now.
  uint64_t MissingFor(uint64_t bytes) const;

  // Memory for the caller of AllocStaging: held until Free. Null: none left.
  std::byte* AllocOwned(uint64_t bytes);
  void FreeOwned(std::byte* memory);

  // Another hold on the part in which all of `bytes` lies; none when they lie elsewhere. offset()
  // is that of `bytes`.
  std::optional<Part> HoldOf(std::span<const std::byte> bytes);

  bool Contains(const std::byte* memory) const {
    return memory >= base_ && memory < base_ + bytes();
  }
  std::span<const std::byte> At(uint64_t offset, uint64_t bytes) const;  // empty: outside
  uint64_t bytes_in_use() const;

 private:
  struct Used {
    uint64_t bytes = 0;  // rounded up
    uint32_t holds = 1;
  };

  std::optional<uint64_t> Take(uint64_t bytes, uint64_t begin, uint64_t end)
      KVGATE_REQUIRES(mutex_);
  void Drop(uint64_t offset_inside);
  void AddFree(uint64_t begin, uint64_t end) KVGATE_REQUIRES(mutex_);

  // Constant.
  std::byte* const base_;
  const uint64_t control_bytes_;

  // Self-synchronised. bytes_ is raised once what it takes in is mapped.
  std::atomic<uint64_t> bytes_;
  std::atomic<uint64_t> bytes_max_;  // of address space that is ours

  mutable Mutex mutex_;
  std::map<uint64_t, uint64_t> free_ KVGATE_GUARDED_BY(mutex_);  // offset -> bytes
  std::map<uint64_t, Used> used_ KVGATE_GUARDED_BY(mutex_);
  uint64_t in_use_ KVGATE_GUARDED_BY(mutex_) = 0;
};

}  // namespace kvgate::client
