// SPDX-License-Identifier: Apache-2.0
#include "gateway/logging.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace kvgate::gateway {
namespace {

const absl::Time kAt = absl::FromUnixMillis(1'000'500);

TEST(Logging, TextIsOneLineWithFieldsBehindIt) {
  EXPECT_EQ(FormatLogLine(LogFormat::kText, LogLevel::kInfo, kAt, "open\nby x",
                          {{"id", "1-2"}, {"why", "two \"words\""}, {"none", ""}}),
            "kvgated open by x id=1-2 why=\"two \\\"words\\\"\" none=\"\"\n");
}

TEST(Logging, JsonIsOneObjectALine) {
  const std::string line = FormatLogLine(LogFormat::kJson, LogLevel::kWarning, kAt,
                                         "slow \"call\"\nand more", {{"id", "1-2"}});
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const nlohmann::json object = nlohmann::json::parse(line);
  EXPECT_EQ(object["time"], "1970-01-01T00:16:40.5+00:00");
  EXPECT_EQ(object["level"], "warning");
  EXPECT_EQ(object["message"], "slow \"call\"\nand more");
  EXPECT_EQ(object["id"], "1-2");
}

TEST(Logging, BytesThatAreNoTextAreReplacedInJson) {
  const std::string line =
      FormatLogLine(LogFormat::kJson, LogLevel::kInfo, kAt, "path \xff here", {});
  EXPECT_EQ(nlohmann::json::parse(line)["message"], "path \xef\xbf\xbd here");
}

TEST(LogLimit, LinesAboveTheLimitAreCountedAndToldWithTheNext) {
  LogLimit limit(2);
  EXPECT_EQ(limit.Take(kAt), 0u);
  EXPECT_EQ(limit.Take(kAt), 0u);
  EXPECT_EQ(limit.Take(kAt), std::nullopt);
  EXPECT_EQ(limit.Take(kAt + absl::Milliseconds(999)), std::nullopt);
  EXPECT_EQ(limit.Take(kAt + absl::Seconds(1)), 2u);
  EXPECT_EQ(limit.Take(kAt + absl::Seconds(1)), 0u);
}

TEST(LogLimit, AClockThatGoesBackDoesNotSilenceIt) {
  LogLimit limit(1);
  EXPECT_EQ(limit.Take(kAt), 0u);
  EXPECT_EQ(limit.Take(kAt - absl::Hours(1)), 0u);
}

}  // namespace
}  // namespace kvgate::gateway
