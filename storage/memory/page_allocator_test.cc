// SPDX-License-Identifier: Apache-2.0
#include "storage/memory/page_allocator.h"

#include <map>
#include <random>

#include "gtest/gtest.h"

namespace kvgate::storage {
namespace {

TEST(PageAllocator, RunsOfAGranuleAndMoreStartAtAGranule) {
  PageAllocator pages;
  pages.AddExtent(0, 64);
  EXPECT_EQ(pages.Allocate(1), 0u);
  EXPECT_EQ(pages.Allocate(16), 16u);
  EXPECT_EQ(pages.Allocate(17), 32u);
  // The pages between are still of use for small runs.
  EXPECT_EQ(pages.Allocate(15), 1u);
}

TEST(PageAllocator, TheSmallestRunThatFitsIsTaken) {
  PageAllocator pages;
  pages.AddExtent(0, 64);
  ASSERT_EQ(pages.Allocate(16), 0u);
  ASSERT_EQ(pages.Allocate(16), 16u);
  ASSERT_EQ(pages.Allocate(32), 32u);
  pages.Free(0, 16);
  pages.Free(32, 32);
  EXPECT_EQ(pages.Allocate(8), 0u);
  EXPECT_EQ(pages.Allocate(32), 32u);
}

TEST(PageAllocator, FreedNeighboursJoin) {
  PageAllocator pages;
  pages.AddExtent(0, 48);
  ASSERT_EQ(pages.Allocate(16), 0u);
  ASSERT_EQ(pages.Allocate(16), 16u);
  ASSERT_EQ(pages.Allocate(16), 32u);
  EXPECT_FALSE(pages.Allocate(1).has_value());
  pages.Free(0, 16);
  pages.Free(32, 16);
  EXPECT_EQ(pages.largest_run(), 16u);
  pages.Free(16, 16);
  EXPECT_EQ(pages.largest_run(), 48u);
}

TEST(PageAllocator, ARunDoesNotReachOverTheEndOfAnExtent) {
  PageAllocator pages;
  pages.AddExtent(0, 32);
  pages.AddExtent(48, 32);  // a gap of one granule, as the pool leaves
  EXPECT_FALSE(pages.Allocate(33).has_value());
  EXPECT_TRUE(pages.Allocate(32).has_value());
  EXPECT_TRUE(pages.Allocate(32).has_value());
  EXPECT_EQ(pages.free_pages(), 0u);
}

TEST(PageAllocatorDeathTest, FreeingWhatIsFreeIsABug) {
  PageAllocator pages;
  pages.AddExtent(0, 32);
  ASSERT_EQ(pages.Allocate(16), 0u);
  pages.Free(0, 16);
  EXPECT_DEATH(pages.Free(0, 16), "check failed");
}

TEST(PageAllocator, RandomRunsNeverOverlapAndAllComesBack) {
  constexpr uint64_t kPages = 4096;
  PageAllocator pages;
  pages.AddExtent(0, kPages);
  std::mt19937 random(7);
  std::map<uint64_t, uint64_t> used;
  std::vector<bool> taken(kPages);
  for (int i = 0; i < 20000; ++i) {
    if (random() % 2 == 0 || used.empty()) {
      const uint64_t want = 1 + random() % 80;
      const auto first = pages.Allocate(want);
      if (!first) continue;
      for (uint64_t p = *first; p < *first + want; ++p) {
        ASSERT_LT(p, kPages);
        ASSERT_FALSE(taken[p]);
        taken[p] = true;
      }
      used[*first] = want;
    } else {
      auto it = used.begin();
      std::advance(it, random() % used.size());
      for (uint64_t p = it->first; p < it->first + it->second; ++p) taken[p] = false;
      pages.Free(it->first, it->second);
      used.erase(it);
    }
  }
  for (const auto& [first, count] : used) pages.Free(first, count);
  EXPECT_EQ(pages.free_pages(), kPages);
  EXPECT_EQ(pages.largest_run(), kPages);
}

TEST(PageAllocator, UniformSizesWasteAtMostTwoPercentOfAnExtent) {
  // Multiples of 64 KiB, and 1 MiB and more of any size, in an extent of 64 MiB.
  for (const uint64_t bytes : {64u << 10, 512u << 10, 1u << 20, 2u << 20, 4u << 20, 1310720u}) {
    PageAllocator pages;
    constexpr uint64_t kExtent = 64 << 20;
    pages.AddExtent(0, kExtent / kPageBytes);
    uint64_t stored = 0;
    while (pages.Allocate((bytes + kPageBytes - 1) / kPageBytes)) stored += bytes;
    EXPECT_GE(static_cast<double>(stored), 0.98 * kExtent) << bytes;
  }
}

}  // namespace
}  // namespace kvgate::storage
