// SPDX-License-Identifier: Apache-2.0
#include "client/local/staging_arena.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace kvgate::client {
namespace {

constexpr uint64_t kControl = 64 << 10, kBytes = 1 << 20;

std::shared_ptr<StagingArena> NewArena() {
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return std::make_shared<StagingArena>(static_cast<std::byte*>(memory), kBytes, kControl);
}

TEST(StagingArena, AllOfItCanBeUsedAgain) {
  auto arena = NewArena();
  for (int i = 0; i < 3; ++i) {
    auto all = arena->AllocValue(kBytes - kControl);
    ASSERT_TRUE(all);
    EXPECT_FALSE(arena->AllocValue(1));
  }
  EXPECT_EQ(arena->bytes_in_use(), 0u);
}

TEST(StagingArena, NeighboursCoalesceInAnyOrder) {
  auto arena = NewArena();
  std::mt19937 random(3);
  std::vector<StagingArena::Part> parts;
  for (int i = 0; i < 100; ++i) parts.push_back(*arena->AllocValue(1 + random() % 8000));
  std::shuffle(parts.begin(), parts.end(), random);
  parts.clear();
  EXPECT_EQ(arena->bytes_in_use(), 0u);
  EXPECT_TRUE(arena->AllocValue(kBytes - kControl));
}

TEST(StagingArena, PartsAreAlignedAndDoNotOverlap) {
  auto arena = NewArena();
  std::mt19937 random(5);
  std::vector<StagingArena::Part> parts;
  for (int i = 0; i < 20'000; ++i) {
    if (random() % 2 == 0 || parts.empty()) {
      const uint64_t bytes = 1 + random() % 20'000;
      auto part = arena->AllocValue(bytes);
      if (!part) continue;
      EXPECT_EQ(part->offset() % (bytes < 4096 ? 64 : 4096), 0u);
      for (const auto& other : parts) {
        ASSERT_TRUE(part->offset() + bytes <= other.offset() ||
                    other.offset() + other.bytes() <= part->offset());
      }
      parts.push_back(*std::move(part));
    } else {
      std::swap(parts[random() % parts.size()], parts.back());
      parts.pop_back();
    }
  }
}

TEST(StagingArena, ControlPartsOverflowIntoThoseOfValues) {
  auto arena = NewArena();
  auto first = arena->AllocControl(kControl);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->offset(), 0u);
  auto second = arena->AllocControl(100);
  ASSERT_TRUE(second);
  EXPECT_GE(second->offset(), kControl);
}

TEST(StagingArena, ValuesNeverTakeTheControlPart) {
  auto arena = NewArena();
  auto values = arena->AllocValue(kBytes - kControl);
  EXPECT_FALSE(arena->AllocValue(64));
  EXPECT_TRUE(arena->AllocControl(64));
}

TEST(StagingArena, FreedPartStaysWhileACallHoldsIt) {
  auto arena = NewArena();
  std::byte* memory = arena->AllocOwned(kBytes - kControl);
  ASSERT_NE(memory, nullptr);
  auto hold = arena->HoldOf({memory + 100, 200});
  ASSERT_TRUE(hold);
  EXPECT_EQ(hold->offset(), kControl + 100);
  arena->FreeOwned(memory);
  EXPECT_EQ(arena->AllocOwned(64), nullptr);
  hold.reset();
  EXPECT_NE(arena->AllocOwned(64), nullptr);
}

TEST(StagingArena, OnlyBytesInsideOnePartAreHeld) {
  auto arena = NewArena();
  std::byte* one = arena->AllocOwned(4096);
  std::byte* two = arena->AllocOwned(4096);
  ASSERT_EQ(two, one + 4096);
  EXPECT_TRUE(arena->HoldOf({one, 4096}));
  EXPECT_FALSE(arena->HoldOf({one, 4097}));
  EXPECT_FALSE(arena->HoldOf({two + 4096, 1}));
  std::byte outside{};
  EXPECT_FALSE(arena->HoldOf({&outside, 1}));
}

TEST(StagingArena, NothingOrTooMuchIsRefused) {
  auto arena = NewArena();
  EXPECT_FALSE(arena->AllocValue(0));
  EXPECT_FALSE(arena->AllocValue(kBytes + 1));
  EXPECT_FALSE(arena->AllocValue(~uint64_t{0}));
  EXPECT_TRUE(arena->At(kBytes, 1).empty());
  EXPECT_TRUE(arena->At(~uint64_t{0}, 2).empty());
}

TEST(StagingArena, MappingOutlivesTheTransportsHold) {
  auto arena = NewArena();
  auto part = arena->AllocValue(100);
  arena.reset();
  std::memset(part->data(), 1, 100);
}

int Memfd(uint64_t bytes) {
  const int fd = memfd_create("arena", MFD_CLOEXEC);
  EXPECT_EQ(ftruncate(fd, static_cast<off_t>(bytes)), 0);
  return fd;
}

TEST(StagingArena, GrowsByPartsThatAreOneSpace) {
  const int first = Memfd(kBytes), second = Memfd(kBytes);
  auto arena = StagingArena::Map(first, kBytes, kControl, 2 * kBytes);
  ASSERT_NE(arena, nullptr);
  EXPECT_EQ(arena->room_to_grow(), kBytes);
  auto low = arena->AllocValue(kBytes / 2);
  ASSERT_TRUE(low);
  const uint64_t free = kBytes - kControl - kBytes / 2;
  EXPECT_EQ(arena->MissingFor(kBytes), kBytes - free);
  EXPECT_EQ(arena->MissingFor(free), 0u);
  EXPECT_FALSE(arena->AllocValue(kBytes));
  ASSERT_TRUE(arena->Grow(second, kBytes));
  EXPECT_EQ(arena->bytes(), 2 * kBytes);
  // It lies over the border of the two files.
  auto high = arena->AllocValue(kBytes);
  ASSERT_TRUE(high);
  std::memset(high->data(), 7, kBytes);
  char last = 0;
  EXPECT_EQ(pread(first, &last, 1, kBytes - 1), 1);
  EXPECT_EQ(last, 7);
  EXPECT_EQ(pread(second, &last, 1, 0), 1);
  EXPECT_EQ(last, 7);
  EXPECT_TRUE(arena->Contains(arena->At(2 * kBytes - 1, 1).data()));
  EXPECT_EQ(arena->room_to_grow(), 0u);
  EXPECT_FALSE(arena->Grow(second, 4096));
  close(first);
  close(second);
}

TEST(StagingArena, ControlPartAloneGrowsIntoValues) {
  const int first = Memfd(kControl), second = Memfd(kBytes);
  auto arena = StagingArena::Map(first, kControl, kControl, kControl + kBytes);
  ASSERT_NE(arena, nullptr);
  EXPECT_FALSE(arena->AllocValue(1));
  EXPECT_EQ(arena->MissingFor(kBytes), kBytes);
  ASSERT_TRUE(arena->Grow(second, kBytes));
  auto all = arena->AllocValue(kBytes);
  ASSERT_TRUE(all);
  EXPECT_EQ(all->offset(), kControl);
  auto control = arena->AllocControl(kControl);
  ASSERT_TRUE(control);
  EXPECT_EQ(control->offset(), 0u);
  close(first);
  close(second);
}

TEST(StagingArena, AFileShorterThanItsPartIsNotMapped) {
  const int fd = Memfd(kBytes);
  EXPECT_EQ(StagingArena::Map(fd, kBytes + 1, kControl, 2 * kBytes), nullptr);
  EXPECT_EQ(StagingArena::Map(fd, 0, kControl, kBytes), nullptr);
  EXPECT_EQ(StagingArena::Map(-1, kBytes, kControl, kBytes), nullptr);
  auto arena = StagingArena::Map(fd, kBytes, kControl, 4 * kBytes);
  ASSERT_NE(arena, nullptr);
  EXPECT_FALSE(arena->Grow(fd, kBytes + 1));
  EXPECT_EQ(arena->bytes(), kBytes);
  close(fd);
}

TEST(StagingArena, ManyThreads) {
  auto arena = NewArena();
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 2000; ++i) {
        auto part = arena->AllocValue(1 + random() % 30'000);
        if (!part) continue;
        std::memset(part->data(), t, part->bytes());
        for (uint64_t b = 0; b < part->bytes(); b += 997) {
          if (part->data()[b] != std::byte(t)) ++wrong;
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(arena->bytes_in_use(), 0u);
}

}  // namespace
}  // namespace kvgate::client
