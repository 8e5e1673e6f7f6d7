// SPDX-License-Identifier: Apache-2.0
#include "gateway/host_limits.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace kvgate::gateway {
namespace {

constexpr uint64_t kMiB = 1ull << 20, kGiB = 1ull << 30;

TEST(DefaultMemory, IsATenthOfRamOrAQuarterOfTheControlGroup) {
  EXPECT_EQ(DefaultMemoryBytes({.ram_bytes = 640 * kGiB}), 64 * kGiB);
  EXPECT_EQ(DefaultMemoryBytes({.ram_bytes = 640 * kGiB, .cgroup_bytes = 8 * kGiB}), 2 * kGiB);
  EXPECT_EQ(DefaultMemoryBytes({.ram_bytes = 20 * kGiB, .cgroup_bytes = 900 * kGiB}), 2 * kGiB);
  EXPECT_EQ(DefaultMemoryBytes({.ram_bytes = 100 * kMiB}), 64 * kMiB);
  EXPECT_EQ(DefaultMemoryBytes({}), 64 * kMiB) << "nothing could be read";
}

TEST(DefaultDisk, IsFourFifthsOfTheFreeSpaceAndLeavesATwentieth) {
  const DirectorySpace empty{1, 1000 * kGiB, 1000 * kGiB, 0};
  EXPECT_EQ(DefaultDiskBytes({{empty}}), 800 * kGiB);
  const DirectorySpace full{1, 1000 * kGiB, 60 * kGiB, 0};
  EXPECT_EQ(DefaultDiskBytes({{full}}), 10 * kGiB) << "50 GiB stay free";
  const DirectorySpace fuller{1, 1000 * kGiB, 40 * kGiB, 0};
  EXPECT_EQ(DefaultDiskBytes({{fuller}}), 0u);
}

TEST(DefaultDisk, DirectoriesOfOneFileSystemShareIt) {
  const std::vector<DirectorySpace> two = {{1, 100 * kGiB, 100 * kGiB, 0},
                                           {1, 100 * kGiB, 100 * kGiB, 0}};
  EXPECT_EQ(DefaultDiskBytes(two), 80 * kGiB);
  const std::vector<DirectorySpace> apart = {{1, 100 * kGiB, 100 * kGiB, 0},
                                             {2, 50 * kGiB, 50 * kGiB, 0}};
  EXPECT_EQ(DefaultDiskBytes(apart), 80 * kGiB) << "the smaller one counts for both";
}

TEST(DefaultDisk, ADirectoryKeepsWhatItWasMadeWith) {
  const std::vector<DirectorySpace> made = {{1, 100 * kGiB, 1 * kGiB, 30 * kGiB}};
  EXPECT_EQ(DefaultDiskBytes(made), 30 * kGiB);
}

TEST(ReadHostMemory, FindsTheLimitOfItsOwnControlGroup) {
  const std::string root = ::testing::TempDir() + "/host";
  const auto write = [&root](const std::string& path, const std::string& text) {
    const std::filesystem::path file = root + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  };
  write("/proc/meminfo", "MemTotal:       1048576 kB\nMemFree: 1 kB\n");
  EXPECT_EQ(ReadHostMemory(root).ram_bytes, kGiB);
  EXPECT_EQ(ReadHostMemory(root).cgroup_bytes, 0u);
  write("/proc/self/cgroup", "0::/system.slice/kvgated.service\n");
  write("/sys/fs/cgroup/system.slice/kvgated.service/memory.max", "268435456\n");
  EXPECT_EQ(ReadHostMemory(root).cgroup_bytes, 256 * kMiB);
  write("/sys/fs/cgroup/system.slice/kvgated.service/memory.max", "max\n");
  EXPECT_EQ(ReadHostMemory(root).cgroup_bytes, 0u);
}

TEST(ReadDirectorySpace, ADirectoryThatIsNotThereYetIsOnItsParentsFileSystem) {
  const std::vector<std::string> directories = {::testing::TempDir(),
                                                ::testing::TempDir() + "/not/yet"};
  const std::vector<DirectorySpace> space = ReadDirectorySpace(directories);
  EXPECT_EQ(space[0].file_system, space[1].file_system);
  EXPECT_GT(space[1].total_bytes, 0u);
}

}  // namespace
}  // namespace kvgate::gateway
