// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/running_calls.h"

#include <memory>
#include <thread>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace kvgate::gateway {
namespace {

TEST(RunningCalls, NoneRunAtFirst) {
  RunningCalls calls;
  EXPECT_TRUE(calls.WaitForNone(absl::ZeroDuration()));
}

TEST(RunningCalls, ATokenCountsAsLongAsItLives) {
  auto calls = std::make_shared<RunningCalls>();
  {
    RunningCalls::Token one(calls), two(calls);
    EXPECT_EQ(calls->count(), 2);
    EXPECT_FALSE(calls->WaitForNone(absl::Milliseconds(1)));
  }
  EXPECT_EQ(calls->count(), 0);
  EXPECT_TRUE(calls->WaitForNone(absl::ZeroDuration()));
}

TEST(RunningCalls, WhoWaitsHearsOfTheLastEnd) {
  auto calls = std::make_shared<RunningCalls>();
  auto token = std::make_unique<RunningCalls::Token>(calls);
  absl::Notification waiting;
  bool none = false;
  std::thread waiter([&] {
    waiting.Notify();
    none = calls->WaitForNone(absl::InfiniteDuration());
  });
  waiting.WaitForNotification();
  token = nullptr;
  waiter.join();
  EXPECT_TRUE(none);
}

TEST(RunningCalls, ATokenMayOutliveWhoWaited) {
  auto calls = std::make_shared<RunningCalls>();
  auto token = std::make_unique<RunningCalls::Token>(calls);
  calls = nullptr;
  token = nullptr;
}

}  // namespace
}  // namespace kvgate::gateway
