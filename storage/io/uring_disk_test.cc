// SPDX-License-Identifier: Apache-2.0
#include "storage/io/uring_disk.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <string>

#include "storage/io/disk_conformance.h"
#include "storage/io/test_files.h"

namespace kvgate::storage {
namespace {

// Where the kernel denies io_uring there is nothing to test, and the test says so.
bool Available() {
  static const bool available = [] {
    DiskOptions options;
    options.engine = DiskOptions::Engine::kUring;
    const auto disk = OpenDisk(FreshTestPath("probe"), 1 << 20, options);
    if (!disk.ok()) std::fprintf(stderr, "%s\n", disk.status().ToString().c_str());
    return disk.ok();
  }();
  return available;
}

std::unique_ptr<Disk> Open(uint64_t bytes, DiskOptions options, bool direct = true) {
  options.engine = DiskOptions::Engine::kUring;
  options.direct = direct;
  auto disk = OpenDisk(FreshTestPath("uring_disk"), bytes, options);
  EXPECT_TRUE(disk.ok()) << disk.status();
  return disk.ok() ? *std::move(disk) : nullptr;
}

std::vector<DiskMaker> Makers() {
  if (!Available()) return {};
  return {{"uring_direct",
           [](uint64_t bytes, const DiskOptions& options) { return Open(bytes, options); }},
          {"uring_buffered",
           [](uint64_t bytes, const DiskOptions& options) { return Open(bytes, options, false); }}};
}

INSTANTIATE_TEST_SUITE_P(Uring, DiskConformance, testing::ValuesIn(Makers()));
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(DiskConformance);

class UringDiskTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!Available()) GTEST_SKIP() << "this kernel or container denies io_uring";
  }
};

TEST_F(UringDiskTest, SaysWhatItIs) {
  const auto disk = Open(1 << 20, DiskOptions());
  EXPECT_EQ(disk->engine(), "io_uring");
}

TEST_F(UringDiskTest, MemoryThatCannotBeLockedIsReadAndWrittenPlainly) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &before), 0);
  const auto disk = Open(32 << 20, DiskOptions());
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &none), 0);
  AlignedBuffer memory = RandomPages(16 << 20, 1);
  disk->RegisterBuffer(memory.span());
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(disk->WriteSync(0, memory.span()).ok());
  }
  AlignedBuffer read(16 << 20);
  ASSERT_TRUE(disk->ReadSync(0, read.span()).ok());
  EXPECT_TRUE(SameBytes(read.span(), memory.span()));
  disk->UnregisterBuffer(memory.span());
  ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &before), 0);
}

TEST_F(UringDiskTest, ADiskOpensWithNoLockedMemoryAtAll) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &none), 0);
  const auto disk = OpenDisk(FreshTestPath("no_memlock"), 1 << 20, DiskOptions());
  ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &before), 0);
  ASSERT_TRUE(disk.ok()) << disk.status();
  EXPECT_TRUE((*disk)->WriteSync(0, RandomPages(65536, 1).span()).ok());
}

TEST_F(UringDiskTest, RegisteredMemoryIsUsedAsFixedBuffers) {
  const auto disk = Open(8 << 20, DiskOptions());
  AlignedBuffer memory = RandomPages(1 << 20, 1);  // below every usual RLIMIT_MEMLOCK
  AlignedBuffer outside(1 << 20);
  disk->RegisterBuffer(memory.span());
  // The ring's thread registers before it takes what comes later.
  ASSERT_TRUE(disk->WriteSync(0, memory.span()).ok());
  if (disk->stats().refused_buffers > 0) GTEST_SKIP() << "no memory may be locked here";
  EXPECT_EQ(disk->stats().fixed_transfers, 1u);
  ASSERT_TRUE(disk->ReadSync(0, memory.span()).ok());
  EXPECT_EQ(disk->stats().fixed_transfers, 2u);
  ASSERT_TRUE(disk->ReadSync(0, outside.span()).ok());
  disk->UnregisterBuffer(memory.span());
  ASSERT_TRUE(disk->ReadSync(0, memory.span()).ok());
  EXPECT_EQ(disk->stats().fixed_transfers, 2u);
}

TEST_F(UringDiskTest, DestructionWithIdleRingReturns) {
  for (int i = 0; i < 20; ++i) Open(1 << 20, DiskOptions());
}

}  // namespace
}  // namespace kvgate::storage
