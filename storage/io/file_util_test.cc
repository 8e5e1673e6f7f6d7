// SPDX-License-Identifier: Apache-2.0
#include "storage/io/file_util.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/io/test_files.h"

namespace kvgate::storage {
namespace {

TEST(Directory, IsMadeWithItsParentsAndMode0700) {
  const std::string path = FreshTestPath("dir");
  EXPECT_TRUE(MakeDirectory(path + "/a/b").ok());
  EXPECT_TRUE(MakeDirectory(path + "/a/b").ok()) << "again is fine";
  struct stat info {};
  ASSERT_EQ(stat((path + "/a/b").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  EXPECT_TRUE(SyncDirectory(path + "/a").ok());
}

TEST(Directory, InTheWayOfAFileIsRefused) {
  const std::string path = FreshTestPath("file");
  ASSERT_TRUE(WriteFileAtomically(path, "x").ok());
  EXPECT_EQ(MakeDirectory(path).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(SyncDirectory(path).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Directory, ListsSortedNames) {
  const std::string path = FreshTestPath("list");
  ASSERT_TRUE(MakeDirectory(path).ok());
  for (const char* name : {"b", "a", "c"}) {
    ASSERT_TRUE(WriteFileAtomically(path + "/" + name, name).ok());
  }
  const auto names = ListDirectory(path);
  ASSERT_TRUE(names.ok());
  EXPECT_EQ(*names, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(ListDirectory(path + "/none").status().code(), absl::StatusCode::kNotFound);
}

TEST(SmallFile, IsReplacedWhole) {
  const std::string path = FreshTestPath("small");
  ASSERT_TRUE(WriteFileAtomically(path, "one").ok());
  ASSERT_TRUE(WriteFileAtomically(path, std::string("tw\0o", 4)).ok());
  EXPECT_EQ(*ReadSmallFile(path, 100), std::string("tw\0o", 4));
  EXPECT_FALSE(PathExists(path + ".tmp"));
}

TEST(SmallFile, ThatCannotBeReplacedStaysAsItWas) {
  const std::string path = FreshTestPath("kept");
  ASSERT_TRUE(MakeDirectory(path + "/inside").ok());
  EXPECT_FALSE(WriteFileAtomically(path, "x").ok()) << "a directory is in the way";
  EXPECT_FALSE(PathExists(path + ".tmp"));
  EXPECT_TRUE(PathExists(path + "/inside"));
}

TEST(SmallFile, OverTheLimitIsRefused) {
  const std::string path = FreshTestPath("large");
  ASSERT_TRUE(WriteFileAtomically(path, std::string(10000, 'x')).ok());
  EXPECT_EQ(ReadSmallFile(path, 9999).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReadSmallFile(path, 10000)->size(), 10000u);
  EXPECT_EQ(ReadSmallFile(path + "x", 1).status().code(), absl::StatusCode::kNotFound);
}

TEST(BootId, IsTheSameAsLongAsTheMachineRuns) {
  const auto first = ReadBootId(), second = ReadBootId();
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(*first, *second);
  EXPECT_NE(*first, (std::array<uint8_t, 16>{}));
}

TEST(LockFileTest, IsExclusiveUntilItGoes) {
  const std::string path = FreshTestPath("LOCK");
  {
    const auto held = LockFile::Acquire(path);
    ASSERT_TRUE(held.ok());
    const auto second = LockFile::Acquire(path);
    EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(second.status().message().find(path), std::string::npos);
  }
  EXPECT_TRUE(LockFile::Acquire(path).ok());
}

TEST(SpaceOfTest, IsKnownForPathsThatExist) {
  const auto space = SpaceOf(testing::TempDir());
  ASSERT_TRUE(space.ok());
  EXPECT_GT(space->total_bytes, 0u);
  EXPECT_LE(space->free_bytes, space->total_bytes);
  EXPECT_FALSE(SpaceOf("/none/such").ok());
}

class SealedMemfdTest : public testing::Test {
 protected:
  static constexpr size_t kBytes = 1 << 20;
  absl::StatusOr<SealedMemfd> memfd_ = CreateSealedMemfd("pool", kBytes);
};

TEST_F(SealedMemfdTest, TheOwnerWritesAndReadersSeeIt) {
  ASSERT_TRUE(memfd_.ok()) << memfd_.status();
  ASSERT_EQ(memfd_->memory().size(), kBytes);
  void* reader = mmap(nullptr, kBytes, PROT_READ, MAP_SHARED, memfd_->fd(), 0);
  ASSERT_NE(reader, MAP_FAILED);
  memfd_->memory()[kBytes - 1] = std::byte{42};
  EXPECT_EQ(static_cast<std::byte*>(reader)[kBytes - 1], std::byte{42});
  EXPECT_NE(mprotect(reader, kBytes, PROT_READ | PROT_WRITE), 0);
  munmap(reader, kBytes);
}

TEST_F(SealedMemfdTest, NobodyElseWritesShrinksGrowsPunchesOrSeals) {
  ASSERT_TRUE(memfd_.ok()) << memfd_.status();
  const int fd = memfd_->fd();
  EXPECT_EQ(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  EXPECT_EQ(pwrite(fd, "x", 1, 0), -1);
  EXPECT_EQ(ftruncate(fd, 0), -1);
  EXPECT_EQ(ftruncate(fd, 2 * kBytes), -1);
  EXPECT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
  EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
}

TEST_F(SealedMemfdTest, StartsUntouchedAndIsRoundedToPages) {
  const auto memfd = CreateSealedMemfd("odd", 4097);
  ASSERT_TRUE(memfd.ok());
  EXPECT_EQ(memfd->memory().size(), 8192u);
  struct stat info {};
  ASSERT_EQ(fstat(memfd->fd(), &info), 0);
  EXPECT_EQ(info.st_blocks, 0);
  EXPECT_EQ(CreateSealedMemfd("none", 0).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(StatusFromErrnoTest, HasTheCodesOfTheHeader) {
  EXPECT_EQ(StatusFromErrno(ENOSPC, "x").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(StatusFromErrno(EACCES, "x").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(StatusFromErrno(ENOENT, "x").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(StatusFromErrno(EIO, "x").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(StatusFromErrno(EBUSY, "x").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(StatusFromErrno(EIO, "reading f").message(), "reading f: Input/output error (errno 5)");
}

}  // namespace
}  // namespace kvgate::storage
