// SPDX-License-Identifier: Apache-2.0
#include "gateway/memory_parts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kvgate::gateway {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kGiB = 1ull << 30;

Config Of(uint64_t memory_bytes) {
  Config config;
  config.data_dirs = {"/d"};
  config.memory_bytes = memory_bytes;
  config.disk_bytes = 10 * kGiB;
  config.sources["memory"] = "KVGATE_MEMORY from the environment";
  return config;
}

TEST(MemoryWarning, NothingIsSaidOfWhatFits) {
  EXPECT_EQ(MemoryWarning(Of(1 * kGiB), {.ram_bytes = 8 * kGiB}), "");
  EXPECT_EQ(MemoryWarning(Of(1 * kGiB), {}), "") << "nothing could be read";
  const uint64_t sum = MemorySum(Of(1 * kGiB));
  EXPECT_EQ(MemoryWarning(Of(1 * kGiB), {.ram_bytes = sum}), "");
  EXPECT_NE(MemoryWarning(Of(1 * kGiB), {.ram_bytes = sum - 1}), "");
}

TEST(MemoryWarning, NamesSourceValueAndLimit) {
  const std::string ram = MemoryWarning(Of(9 * kGiB), {.ram_bytes = 8 * kGiB});
  EXPECT_THAT(ram, HasSubstr("KVGATE_MEMORY from the environment: 9GiB is above"));
  EXPECT_THAT(ram, HasSubstr("RAM of 8GiB"));
  const std::string group =
      MemoryWarning(Of(9 * kGiB), {.ram_bytes = 80 * kGiB, .cgroup_bytes = 4 * kGiB});
  EXPECT_THAT(group, HasSubstr("the control group's limit of 4GiB"));
}

TEST(MemoryWarning, WhatStandsBesideMemoryCounts) {
  EXPECT_THAT(MemoryWarning(Of(7 * kGiB), {.ram_bytes = 8 * kGiB}),
              HasSubstr("beside it (limit sum "));
}

TEST(MemoryParts, AreInTheCommentsWithTheirSum) {
  const std::string text = MemoryAsComments(Of(1 * kGiB));
  uint64_t sum = 0;
  for (const MemoryPart& part : MemoryParts(Of(1 * kGiB))) {
    sum += part.bytes;
    EXPECT_THAT(text, HasSubstr(part.name));
  }
  EXPECT_THAT(text, HasSubstr("limit sum " + FormatBytes(sum)));
}

}  // namespace
}  // namespace kvgate::gateway
