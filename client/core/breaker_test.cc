// SPDX-License-Identifier: Apache-2.0
#include "client/core/breaker.h"

#include <gtest/gtest.h>

namespace kvgate::client {
namespace {

constexpr int64_t kMs = 1'000'000;
using Decision = Breaker::Decision;

TEST(BreakerTest, FourFailuresLeaveItClosed) {
  Breaker breaker({});
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(breaker.OnFailure(i * kMs, i * kMs));
  EXPECT_EQ(breaker.Ask(4 * kMs), Decision::kGo);
  EXPECT_TRUE(breaker.OnFailure(5 * kMs, 5 * kMs));
  EXPECT_EQ(breaker.Ask(6 * kMs), Decision::kRefuse);
}

TEST(BreakerTest, AnAnswerForgetsFailures) {
  Breaker breaker({});
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(breaker.OnFailure(0, 0));
    breaker.OnAnswer();
  }
}

TEST(BreakerTest, OnlyOneProbes) {
  Breaker breaker({});
  EXPECT_TRUE(breaker.OnAway(0, BreakerReason::kNoGateway));
  EXPECT_EQ(breaker.Ask(149 * kMs), Decision::kRefuse);
  EXPECT_EQ(breaker.Ask(200 * kMs), Decision::kProbe);
  EXPECT_EQ(breaker.Ask(200 * kMs), Decision::kRefuse);
  breaker.OnAnswer();
  EXPECT_EQ(breaker.Ask(200 * kMs), Decision::kGo);
}

TEST(BreakerTest, PausesDoubleUpToTheLongestWithJitterBelow) {
  Breaker breaker({.seed = 7});
  int64_t now = 0;
  breaker.OnAway(now, BreakerReason::kNoGateway);
  for (int64_t nominal : {200, 400, 800, 800, 800}) {
    int64_t waited = 0;
    while (breaker.Ask(now + waited) == Decision::kRefuse) waited += kMs;
    EXPECT_GE(waited, nominal * kMs * 3 / 4);
    EXPECT_LE(waited, nominal * kMs);
    now += waited;
    EXPECT_FALSE(breaker.OnAway(now, BreakerReason::kNoGateway));
  }
}

TEST(BreakerTest, AStragglerDoesNotEndTheProbe) {
  Breaker breaker({});
  breaker.OnAway(0, BreakerReason::kNoGateway);
  EXPECT_EQ(breaker.Ask(200 * kMs), Decision::kProbe);
  EXPECT_FALSE(breaker.OnFailure(201 * kMs, 0));
  EXPECT_EQ(breaker.Ask(5000 * kMs), Decision::kRefuse);  // the probe is still on
}

TEST(BreakerTest, SaysItsStateAndWhyItOpened) {
  Breaker breaker({});
  EXPECT_EQ(breaker.state(), BreakerState::kClosed);
  EXPECT_EQ(breaker.reason(), BreakerReason::kNone);
  for (int i = 0; i < 5; ++i) breaker.OnFailure(0, 0);
  EXPECT_EQ(breaker.state(), BreakerState::kOpen);
  EXPECT_EQ(breaker.reason(), BreakerReason::kFailures);
  EXPECT_EQ(breaker.Ask(200 * kMs), Decision::kProbe);
  EXPECT_EQ(breaker.state(), BreakerState::kHalfOpen);
  breaker.OnAway(200 * kMs, BreakerReason::kNoGateway);
  EXPECT_EQ(breaker.state(), BreakerState::kOpen);
  EXPECT_EQ(breaker.reason(), BreakerReason::kNoGateway);
  breaker.OnAnswer();
  EXPECT_EQ(breaker.state(), BreakerState::kClosed);
  breaker.OnFailure(2000 * kMs, 900 * kMs);
  EXPECT_EQ(breaker.reason(), BreakerReason::kSilence);
}

TEST(RetryBudgetTest, TenCallsEarnOneRetry) {
  RetryBudget budget;
  for (uint32_t i = 0; i < RetryBudget::kMost; ++i) EXPECT_TRUE(budget.Take());
  EXPECT_FALSE(budget.Take());
  for (int i = 0; i < 9; ++i) budget.OnCall();
  EXPECT_FALSE(budget.Take());
  budget.OnCall();
  EXPECT_TRUE(budget.Take());
}

}  // namespace
}  // namespace kvgate::client
