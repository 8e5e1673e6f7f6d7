// SPDX-License-Identifier: Apache-2.0
//
// Pool: the memory in which blocks lie, mappable by same-node clients.
//
// A list of extents, each one sealed memfd, and one more memfd with a 64-bit generation for every
// 64 KiB granule of all extents. The generation index of a block is that of its first granule.
//
// Promises
//  1. Memory handed out is 4 KiB aligned, does not span extents, and belongs to its PoolBuffer
//  alone.
//     From 64 KiB on it starts at a granule (page_allocator.h).
//  2. When a PoolBuffer ends, its generation is raised, then fenced (seq_cst), and only then its
//     pages can be handed out again: a reader who copies between two loads of one generation that
//     are equal has copied one block's bytes.
//  3. An extent is touched ahead by a background thread, at most one that nothing lies in yet; it
//     never goes away and never becomes another's while the Pool lives.
// Values under 64 KiB share granules, so a client copies them out of a message and never leases.
// Threads: thread-safe. Ownership: each PoolBuffer keeps the Pool alive. Descriptors stay ours.
// Errors: no room is an empty PoolBuffer; the system's refusal of memory is a status at Create and
// counted later. Limits: bytes_max of extents plus 8 B a granule.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "storage/io/file_util.h"
#include "storage/memory/page_allocator.h"
#include "storage/store.h"

namespace kvgate::storage {

class Pool;

// One run of pages. Moves, ends with giving it back.
class PoolBuffer {
 public:
  PoolBuffer() = default;
  PoolBuffer(PoolBuffer&& other) noexcept;
  PoolBuffer& operator=(PoolBuffer&& other) noexcept;
  ~PoolBuffer();

  explicit operator bool() const { return pool_ != nullptr; }
  // Whole pages.
  std::span<std::byte> memory() const { return memory_; }
  const PoolPlace& place() const { return place_; }

 private:
  friend class Pool;
  std::shared_ptr<Pool> pool_;
  std::span<std::byte> memory_;
  PoolPlace place_;
};

struct PoolOptions {
  uint64_t bytes_max = 0;
  uint64_t extent_bytes = 0;  // as in MemoryOptions
  // Told of each new extent before anything lies in it. Must not call back into the Pool.
  std::function<void(std::span<std::byte>)> on_extent;
};

struct PoolStats {
  uint64_t bytes_max = 0, extent_bytes = 0, extents = 0, extents_touched = 0;
  uint64_t used_bytes = 0, extent_failures = 0;
};

class Pool final : public PoolExport, public std::enable_shared_from_this<Pool> {
 public:
  static absl::StatusOr<std::shared_ptr<Pool>> Create(const PoolOptions& options);
  ~Pool() override;

  // Whole pages for `bytes`; empty when no run is free and no extent may be added.
  PoolBuffer Allocate(uint64_t bytes);

  // Ends the background thread; on_extent is not called any more once this returns and Allocate
  // is not called either. Idempotent.
  void Stop();

  int GenerationsFd() const override { return generations_.fd(); }
  uint64_t GenerationsBytes() const override { return generations_.memory().size(); }
  int ExtentFd(uint32_t extent) const override;
  uint64_t ExtentBytes(uint32_t extent) const override;

  uint64_t extent_bytes() const { return extent_bytes_; }
  PoolStats stats() const;

 private:
  friend class PoolBuffer;
  Pool(const PoolOptions& options, uint64_t extent_bytes, SealedMemfd generations);

  absl::Status AddExtent() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  uint64_t BytesOfExtent(uint64_t number) const;
  void Free(const PoolBuffer& buffer);
  void TouchAhead();
  bool TouchWanted() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::atomic<uint64_t>* Generation(uint32_t index) const;

  const uint64_t bytes_max_;
  const uint64_t extent_bytes_;
  const uint64_t extents_max_;
  const std::function<void(std::span<std::byte>)> on_extent_;
  const SealedMemfd generations_;

  mutable absl::Mutex mu_;
  std::vector<SealedMemfd> extents_ ABSL_GUARDED_BY(mu_);
  PageAllocator pages_ ABSL_GUARDED_BY(mu_);
  uint64_t used_pages_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t extents_used_ ABSL_GUARDED_BY(mu_) = 0;  // highest extent ever allocated from, plus one
  uint64_t touched_ ABSL_GUARDED_BY(mu_) = 0;       // extents that are touched
  uint64_t extent_failures_ ABSL_GUARDED_BY(mu_) = 0;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;

  std::thread toucher_;  // started by Create, joined by Stop
};

}  // namespace kvgate::storage
