// SPDX-License-Identifier: Apache-2.0
#include "storage/memory/page_allocator.h"

#include <iterator>

#include "storage/base/check.h"

namespace kvgate::storage {

void PageAllocator::Insert(uint64_t first, uint64_t pages) {
  if (pages == 0) return;
  by_start_.emplace(first, pages);
  by_size_.emplace(pages, first);
}

void PageAllocator::Erase(uint64_t first, uint64_t pages) {
  by_start_.erase(first);
  by_size_.erase({pages, first});
}

void PageAllocator::AddExtent(uint64_t first, uint64_t pages) {
  KVGATE_CHECK(pages > 0);
  Insert(first, pages);
  free_pages_ += pages;
}

std::optional<uint64_t> PageAllocator::Allocate(uint64_t pages) {
  KVGATE_CHECK(pages > 0);
  const uint64_t align = pages >= kGranulePages ? kGranulePages : 1;
  for (auto it = by_size_.lower_bound({pages, 0}); it != by_size_.end(); ++it) {
    const auto [run, start] = *it;
    const uint64_t head = (start + align - 1) / align * align;
    if (head + pages > start + run) continue;
    const uint64_t run_end = start + run;
    Erase(start, run);
    Insert(start, head - start);
    Insert(head + pages, run_end - head - pages);
    free_pages_ -= pages;
    return head;
  }
  return std::nullopt;
}

void PageAllocator::Free(uint64_t first, uint64_t pages) {
  KVGATE_CHECK(pages > 0);
  uint64_t start = first, end = first + pages;
  auto next = by_start_.lower_bound(first);
  if (next != by_start_.begin()) {
    const auto [before, before_pages] = *std::prev(next);
    KVGATE_CHECK(before + before_pages <= first);
    if (before + before_pages == first) {
      start = before;
      Erase(before, before_pages);
    }
  }
  next = by_start_.lower_bound(first);
  if (next != by_start_.end()) {
    const auto [after, after_pages] = *next;
    KVGATE_CHECK(after >= end);
    if (after == end) {
      end = after + after_pages;
      Erase(after, after_pages);
    }
  }
  Insert(start, end - start);
  free_pages_ += pages;
}

}  // namespace kvgate::storage
