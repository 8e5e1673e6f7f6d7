// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>

#include "storage/base/aligned_buffer.h"
#include "storage/io/disk.h"
#include "storage/io/opened_file.h"
#include "storage/io/test_files.h"

namespace kvgate::storage {
namespace {

constexpr uint64_t kBytes = 4 << 20;

TEST(OpenDisk, MakesASparseFileOfTheSize) {
  const std::string path = FreshTestPath("disk");
  const auto disk = OpenDisk(path, kBytes, DiskOptions());
  ASSERT_TRUE(disk.ok()) << disk.status();
  EXPECT_EQ((*disk)->bytes(), kBytes);
  EXPECT_EQ((*disk)->name(), path);
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(static_cast<uint64_t>(info.st_size), kBytes);
  EXPECT_LT(info.st_blocks, 1024);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(OpenDisk, KeepsAndGrowsWhatIsThere) {
  const std::string path = FreshTestPath("disk");
  AlignedBuffer page = AlignedBuffer::Zeroed(4096);
  page.data()[0] = std::byte{7};
  for (const uint64_t bytes : {kBytes, 2 * kBytes, kBytes}) {
    const auto disk = OpenDisk(path, bytes, DiskOptions());
    ASSERT_TRUE(disk.ok()) << disk.status();
    EXPECT_EQ((*disk)->bytes(), bytes);
    AlignedBuffer read(4096);
    ASSERT_TRUE((*disk)->ReadSync(0, read.span()).ok());
    if (bytes == 2 * kBytes) {
      EXPECT_EQ(read.data()[0], std::byte{7});
    }
    ASSERT_TRUE((*disk)->WriteSync(0, page.span()).ok());
  }
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(static_cast<uint64_t>(info.st_size), 2 * kBytes) << "a file is never cut";
}

TEST(OpenDisk, IsExclusive) {
  const std::string path = FreshTestPath("disk");
  {
    const auto first = OpenDisk(path, kBytes, DiskOptions());
    ASSERT_TRUE(first.ok());
    const auto second = OpenDisk(path, kBytes, DiskOptions());
    EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(second.status().message().find(path), std::string::npos);
  }
  EXPECT_TRUE(OpenDisk(path, kBytes, DiskOptions()).ok());
}

TEST(OpenDisk, TakesOverFromAKilledProcess) {
  const std::string path = FreshTestPath("disk");
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto disk = OpenDisk(path, kBytes, DiskOptions());
    AlignedBuffer pages(1 << 20);
    for (bool told = false; disk.ok(); told = true) {
      if (!(*disk)->WriteSync(0, pages.span()).ok()) _exit(1);
      if (!told && write(ready[1], "x", 1) != 1) _exit(1);
    }
    _exit(1);
  }
  close(ready[1]);
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1) << "the child could not open the disk";
  close(ready[0]);
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto disk = OpenDisk(path, kBytes, DiskOptions());
  EXPECT_TRUE(disk.ok()) << disk.status();
}

TEST(OpenDisk, RefusesByNameWhatCannotBeADisk) {
  const std::string path = FreshTestPath("directory");
  ASSERT_TRUE(MakeDirectory(path).ok());
  const auto code = [](const std::string& p, uint64_t bytes) {
    return OpenDisk(p, bytes, DiskOptions()).status().code();
  };
  EXPECT_EQ(code(path, kBytes), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code("/dev/null", kBytes), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code(path + "/none/disk", kBytes), absl::StatusCode::kNotFound);
  EXPECT_EQ(code(path + "/disk", 0), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(path + "/disk", 5000), absl::StatusCode::kInvalidArgument);
}

TEST(OpenDisk, WithoutSpaceIsResourceExhausted) {
  const std::string path = FreshTestPath("disk");
  const auto disk = OpenDisk(path, uint64_t{1} << 55, DiskOptions());
  EXPECT_EQ(disk.status().code(), absl::StatusCode::kResourceExhausted) << disk.status();
}

TEST(OpenDisk, AMemoryFileSystemIsBufferedAndSaysSo) {
  const std::string path = "/dev/shm/kvgate_open_disk_test_" + std::to_string(getpid());
  const auto disk = OpenDisk(path, kBytes, DiskOptions());
  unlink(path.c_str());
  if (!disk.ok()) GTEST_SKIP() << "no /dev/shm here: " << disk.status();
  EXPECT_EQ((*disk)->mode(), "buffered");
  EXPECT_NE((*disk)->note().find("O_DIRECT"), std::string::npos) << (*disk)->note();
}

TEST(OpenDisk, BufferedOnDemandIsNoFallback) {
  DiskOptions options;
  options.direct = false;
  options.engine = DiskOptions::Engine::kPosix;
  const auto disk = OpenDisk(FreshTestPath("disk"), kBytes, options);
  ASSERT_TRUE(disk.ok());
  EXPECT_EQ((*disk)->mode(), "buffered");
  EXPECT_EQ((*disk)->note(), "");
}

TEST(OpenDisk, ACopyOnWriteFileSystemIsRefusedUnlessNocow) {
  constexpr uint64_t kExt4 = 0xef53, kBtrfs = 0x9123683e, kZfs = 0x2fc12fc1;
  EXPECT_TRUE(CheckCopyOnWrite("f", kExt4, 0).ok());
  EXPECT_TRUE(CheckCopyOnWrite("f", kBtrfs, FS_NOCOW_FL).ok());
  EXPECT_EQ(CheckCopyOnWrite("f", kBtrfs, 0).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CheckCopyOnWrite("f", kZfs, FS_NOCOW_FL).code(), absl::StatusCode::kFailedPrecondition);
}

// ---- the kernel refuses, with every engine ----

class RefusedByTheKernel : public testing::TestWithParam<DiskOptions::Engine> {
 protected:
  void SetUp() override {
    DiskOptions options;
    options.engine = GetParam();
    auto disk = OpenDisk(path_, kBytes, options);
    if (!disk.ok()) GTEST_SKIP() << disk.status();
    disk_ = *std::move(disk);
  }

  const std::string path_ = FreshTestPath("disk");
  AlignedBuffer pages_ = AlignedBuffer::Zeroed(64 << 10);
  std::unique_ptr<Disk> disk_;
};

TEST_P(RefusedByTheKernel, AWriteOverTheFileSizeLimitIsResourceExhausted) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit one_mebibyte{1 << 20, before.rlim_max};
  std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &one_mebibyte), 0);
  const absl::Status refused = disk_->WriteSync(2 << 20, pages_.span());
  const absl::Status taken = disk_->WriteSync(0, pages_.span());
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  EXPECT_NE(refused.message().find("errno 27"), absl::string_view::npos) << refused;
  EXPECT_TRUE(taken.ok()) << taken;
  EXPECT_EQ(disk_->stats().errors, 1u);
}

TEST_P(RefusedByTheKernel, AFileCutBehindOurBackIsUnavailable) {
  ASSERT_EQ(truncate(path_.c_str(), 1 << 20), 0);
  EXPECT_EQ(disk_->ReadSync(2 << 20, pages_.span()).code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(disk_->ReadSync(0, pages_.span()).ok());
}

INSTANTIATE_TEST_SUITE_P(Engines, RefusedByTheKernel,
                         testing::Values(DiskOptions::Engine::kUring, DiskOptions::Engine::kPosix),
                         [](const auto& info) {
                           return info.param == DiskOptions::Engine::kUring ? "Uring" : "Posix";
                         });

// ---- under a seccomp filter, as in a container ----

bool DenyUring() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {sizeof(program) / sizeof(program[0]), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// Runs `body` in a child under the filter; its exit status is 0 when it returned true.
int RunWithoutUring(const std::function<bool()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(DenyUring() ? (body() ? 0 : 1) : 2);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

TEST(OpenDiskWithoutUring, FallsBackToPosixAndSaysWhy) {
  const std::string path = FreshTestPath("disk");
  EXPECT_EQ(0, RunWithoutUring([&] {
              const auto disk = OpenDisk(path, kBytes, DiskOptions());
              if (!disk.ok()) return false;
              AlignedBuffer pages(1 << 20);
              std::fprintf(stderr, "%s\n", (*disk)->note().c_str());
              return (*disk)->engine() == "posix" &&
                     (*disk)->note().find("io_uring_setup: Operation not permitted") !=
                         std::string::npos &&
                     (*disk)->WriteSync(0, pages.span()).ok() &&
                     (*disk)->ReadSync(0, pages.span()).ok() && (*disk)->SyncSync().ok();
            }));
}

TEST(OpenDiskWithoutUring, DemandedUringIsRefusedByName) {
  const std::string path = FreshTestPath("disk");
  EXPECT_EQ(0, RunWithoutUring([&] {
              DiskOptions options;
              options.engine = DiskOptions::Engine::kUring;
              const auto disk = OpenDisk(path, kBytes, options);
              return disk.status().code() == absl::StatusCode::kFailedPrecondition &&
                     disk.status().message().find("io_uring") != absl::string_view::npos;
            }));
}

}  // namespace
}  // namespace kvgate::storage
