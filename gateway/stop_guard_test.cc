// SPDX-License-Identifier: Apache-2.0
#include "gateway/stop_guard.h"

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace kvgate::gateway {
namespace {

TEST(StopGuard, AStopThatEndsIsLeftAlone) { StopGuard guard(absl::Hours(1)); }

TEST(StopGuardDeathTest, AStopThatHangsEndsTheProcessWithItsOwnStatus) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        StopGuard guard(absl::Milliseconds(1));
        absl::Notification never;
        never.WaitForNotification();
      },
      ::testing::ExitedWithCode(kExitStuck), "stop: not ended");
}

}  // namespace
}  // namespace kvgate::gateway
