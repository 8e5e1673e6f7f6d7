// SPDX-License-Identifier: Apache-2.0
//
// PageAllocator: best fit over runs of free 4 KiB pages in a few equal extents. It knows page
// numbers only, no memory.
//
// Promises
//  1. A run never reaches over the end of an extent.
//  2. Runs of at least one granule (64 KiB) start at a granule, so that no two of them share one
//  and
//     a granule's generation speaks for one block. Smaller runs lie anywhere.
//  3. A freed run joins its free neighbours at once.
// Bad at: uniform sizes just above a multiple of 64 KiB when these are small (80 KiB: the rest of
// the last granule is of use for small runs only).
// Threads: thread-compatible. Errors: no run free is nullopt; freeing what is free is a CHECK.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"

namespace kvgate::storage {

inline constexpr uint64_t kPageBytes = 4096;
inline constexpr uint64_t kGranuleBytes = 64 << 10;
inline constexpr uint64_t kGranulePages = kGranuleBytes / kPageBytes;

class PageAllocator {
 public:
  // Pages first … first + pages - 1 become free. They must not touch pages that were added before
  // unless a run may cross the seam: the pool leaves a gap of one page number.
  void AddExtent(uint64_t first, uint64_t pages);

  // First page of a run of `pages`, which is now in use.
  std::optional<uint64_t> Allocate(uint64_t pages);
  void Free(uint64_t first, uint64_t pages);

  uint64_t free_pages() const { return free_pages_; }
  uint64_t largest_run() const { return by_size_.empty() ? 0 : by_size_.rbegin()->first; }

 private:
  void Insert(uint64_t first, uint64_t pages);
  void Erase(uint64_t first, uint64_t pages);

  absl::btree_map<uint64_t, uint64_t> by_start_;            // first page -> pages
  absl::btree_set<std::pair<uint64_t, uint64_t>> by_size_;  // (pages, first page)
  uint64_t free_pages_ = 0;
};

}  // namespace kvgate::storage
