// SPDX-License-Identifier: Apache-2.0
#include "storage/io/posix_disk.h"

#include <gtest/gtest.h>

#include <string>

#include "storage/io/disk_conformance.h"
#include "storage/io/test_files.h"

namespace kvgate::storage {
namespace {

std::unique_ptr<Disk> Open(uint64_t bytes, DiskOptions options, bool direct) {
  options.engine = DiskOptions::Engine::kPosix;
  options.direct = direct;
  auto disk = OpenDisk(FreshTestPath("posix_disk"), bytes, options);
  EXPECT_TRUE(disk.ok()) << disk.status();
  return disk.ok() ? *std::move(disk) : nullptr;
}

INSTANTIATE_TEST_SUITE_P(Posix, DiskConformance,
                         testing::Values(DiskMaker{"posix_direct",
                                                   [](uint64_t bytes, const DiskOptions& options) {
                                                     return Open(bytes, options, true);
                                                   }},
                                         DiskMaker{"posix_buffered",
                                                   [](uint64_t bytes, const DiskOptions& options) {
                                                     return Open(bytes, options, false);
                                                   }}));

TEST(PosixDisk, SaysWhatItIs) {
  const auto disk = Open(1 << 20, DiskOptions(), false);
  EXPECT_EQ(disk->engine(), "posix");
  EXPECT_EQ(disk->mode(), "buffered");
  EXPECT_EQ(disk->note(), "");
}

}  // namespace
}  // namespace kvgate::storage
