// SPDX-License-Identifier: Apache-2.0
#include "storage/memory/pool.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cstring>

#include "gtest/gtest.h"

namespace kvgate::storage {
namespace {

std::shared_ptr<Pool> MakePool(uint64_t bytes_max, uint64_t extent_bytes,
                               std::function<void(std::span<std::byte>)> on_extent = nullptr) {
  PoolOptions options;
  options.bytes_max = bytes_max;
  options.extent_bytes = extent_bytes;
  options.on_extent = std::move(on_extent);
  auto pool = Pool::Create(options);
  EXPECT_TRUE(pool.ok()) << pool.status();
  return std::move(*pool);
}

// Another process's view.
class ReadOnlyMap {
 public:
  ReadOnlyMap(int fd, size_t bytes)
      : bytes_(bytes), at_(mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0)) {}
  ~ReadOnlyMap() {
    if (at_ != MAP_FAILED) munmap(at_, bytes_);
  }
  bool ok() const { return at_ != MAP_FAILED; }
  const char* chars() const { return static_cast<const char*>(at_); }
  uint64_t word(size_t i) const {
    uint64_t value = 0;
    std::memcpy(&value, chars() + i * sizeof(value), sizeof(value));
    return value;
  }

 private:
  const size_t bytes_;
  void* const at_;
};

TEST(Pool, AClientSeesTheBytesAtThePlaceThatItIsTold) {
  auto pool = MakePool(4 << 20, 1 << 20);
  PoolBuffer buffer = pool->Allocate(100000);
  ASSERT_TRUE(buffer);
  EXPECT_EQ(buffer.memory().size() % kPageBytes, 0u);
  std::memcpy(buffer.memory().data(), "hello", 5);
  const PoolPlace place = buffer.place();
  ReadOnlyMap extent(pool->ExtentFd(place.extent), pool->ExtentBytes(place.extent));
  ASSERT_TRUE(extent.ok());
  EXPECT_EQ(std::memcmp(extent.chars() + place.offset, "hello", 5), 0);
  ReadOnlyMap generations(pool->GenerationsFd(), pool->GenerationsBytes());
  ASSERT_TRUE(generations.ok());
  EXPECT_EQ(generations.word(place.generation_index), place.generation);
}

TEST(Pool, TheGenerationIsAnotherOnceTheBytesWereGivenBack) {
  auto pool = MakePool(1 << 20, 1 << 20);
  ReadOnlyMap generations(pool->GenerationsFd(), pool->GenerationsBytes());
  PoolPlace place;
  {
    PoolBuffer buffer = pool->Allocate(1 << 20);
    ASSERT_TRUE(buffer);
    place = buffer.place();
  }
  EXPECT_NE(generations.word(place.generation_index), place.generation);
  PoolBuffer again = pool->Allocate(1 << 20);
  ASSERT_TRUE(again);
  EXPECT_EQ(again.place().offset, place.offset);
  EXPECT_EQ(generations.word(place.generation_index), again.place().generation);
  EXPECT_NE(again.place().generation, place.generation);
}

TEST(Pool, NobodyElseCanWriteOrResizeItsMemory) {
  auto pool = MakePool(1 << 20, 1 << 20);
  for (const int fd : {pool->ExtentFd(0), pool->GenerationsFd()}) {
    EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    EXPECT_NE(ftruncate(fd, 0), 0);
    EXPECT_NE(pwrite(fd, "x", 1, 0), 1);
  }
}

TEST(Pool, ItGrowsByExtentsUpToItsLimitAndThenRefuses) {
  std::vector<size_t> extents;
  auto pool = MakePool(2560 << 10, 1 << 20, [&extents](std::span<std::byte> memory) {
    extents.push_back(memory.size());
  });
  std::vector<PoolBuffer> buffers;
  for (int i = 0; i < 5; ++i) {
    buffers.push_back(pool->Allocate(512 << 10));
    EXPECT_TRUE(buffers.back()) << i;
  }
  EXPECT_FALSE(pool->Allocate(4096));
  EXPECT_EQ(pool->stats().used_bytes, 2560u << 10);
  EXPECT_EQ(pool->stats().extents, 3u);
  pool->Stop();
  EXPECT_EQ(extents, (std::vector<size_t>{1 << 20, 1 << 20, 512 << 10}));
  EXPECT_EQ(pool->ExtentFd(3), -1);
  buffers.clear();
  EXPECT_EQ(pool->stats().used_bytes, 0u);
}

TEST(Pool, AValueLargerThanAnExtentIsRefused) {
  auto pool = MakePool(4 << 20, 1 << 20);
  EXPECT_FALSE(pool->Allocate((1 << 20) + 1));
  EXPECT_FALSE(pool->Allocate(0));
}

TEST(Pool, EachGranuleOfEachExtentHasAGenerationOfItsOwn) {
  auto pool = MakePool(2 << 20, 1 << 20);
  std::vector<PoolBuffer> buffers;
  std::vector<bool> seen(32);
  for (int i = 0; i < 32; ++i) {
    buffers.push_back(pool->Allocate(64 << 10));
    ASSERT_TRUE(buffers.back());
    const uint32_t index = buffers.back().place().generation_index;
    ASSERT_LT(index, 32u);
    EXPECT_FALSE(seen[index]);
    seen[index] = true;
  }
}

TEST(Pool, BuffersOutliveTheirPoolsOwner) {
  auto pool = MakePool(1 << 20, 1 << 20);
  PoolBuffer buffer = pool->Allocate(4096);
  pool = nullptr;
  std::memset(buffer.memory().data(), 1, buffer.memory().size());
  PoolBuffer moved = std::move(buffer);
  EXPECT_FALSE(buffer);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(moved.memory()[0], std::byte{1});
}

}  // namespace
}  // namespace kvgate::storage
