// SPDX-License-Identifier: Apache-2.0
#include "storage/log/read_latency.h"

#include "gtest/gtest.h"

namespace kvgate::storage {
namespace {

class ReadLatencyTest : public ::testing::Test {
 protected:
  // Fifty reads of 1 MiB a second.
  void Read(int seconds, absl::Duration took) {
    for (int i = 0; i < seconds * 50; ++i) {
      latency_.Record(1 << 20, took, now_);
      now_ += absl::Milliseconds(20);
    }
  }
  bool RefusesWithin(absl::Duration left) { return latency_.Refuses(now_ + left, now_); }

  ReadLatency latency_;
  absl::Time now_ = absl::UnixEpoch() + absl::Hours(1);
};

TEST_F(ReadLatencyTest, ADeviceTenTimesSlowerForTenSecondsRefusesWhatItCannotDoInTime) {
  Read(5, absl::Milliseconds(1));
  Read(9, absl::Milliseconds(50));
  EXPECT_FALSE(RefusesWithin(absl::Milliseconds(10)));
  Read(2, absl::Milliseconds(50));
  EXPECT_TRUE(RefusesWithin(absl::Milliseconds(10)));
  EXPECT_FALSE(RefusesWithin(absl::Milliseconds(100)));
  EXPECT_FALSE(latency_.Refuses(absl::InfiniteFuture(), now_));
  EXPECT_TRUE(latency_.gray(now_));
}

TEST_F(ReadLatencyTest, FiveTimesSlowerIsNotGray) {
  Read(5, absl::Milliseconds(1));
  Read(60, absl::Milliseconds(5));
  EXPECT_FALSE(RefusesWithin(absl::Milliseconds(1)));
}

TEST_F(ReadLatencyTest, OneSlowReadIsForgottenBeforeItCounts) {
  Read(5, absl::Milliseconds(1));
  Read(1, absl::Seconds(3));
  for (int i = 0; i < 30; ++i) {
    Read(1, absl::Milliseconds(1));
    EXPECT_FALSE(latency_.gray(now_)) << i;
  }
}

TEST_F(ReadLatencyTest, TwoReadsOfAHundredThatHangAreEnough) {
  Read(5, absl::Milliseconds(1));
  for (int i = 0; i < 16; ++i) {
    Read(1, absl::Milliseconds(1));
    latency_.Record(1 << 20, absl::Seconds(2), now_);
  }
  EXPECT_TRUE(RefusesWithin(absl::Seconds(1)));
}

TEST_F(ReadLatencyTest, ADeviceThatIsFastAgainIsUsedAgain) {
  Read(5, absl::Milliseconds(1));
  Read(15, absl::Milliseconds(50));
  ASSERT_TRUE(latency_.gray(now_));
  Read(11, absl::Milliseconds(1));
  EXPECT_FALSE(latency_.gray(now_));
}

TEST_F(ReadLatencyTest, WithoutReadsForTenSecondsItGetsAnotherTry) {
  Read(5, absl::Milliseconds(1));
  Read(15, absl::Milliseconds(50));
  ASSERT_TRUE(latency_.gray(now_));
  now_ += absl::Seconds(11);
  EXPECT_FALSE(RefusesWithin(absl::Milliseconds(1)));
  EXPECT_EQ(latency_.p99(now_), absl::ZeroDuration());
}

TEST_F(ReadLatencyTest, WhatIsUsualRisesTooSlowlyToForgive) {
  Read(5, absl::Milliseconds(1));
  Read(60, absl::Milliseconds(8));
  Read(12, absl::Milliseconds(40));
  EXPECT_TRUE(latency_.gray(now_));
}

TEST_F(ReadLatencyTest, LargeReadsAreScaledAndSmallOnesNotCounted) {
  for (int i = 0; i < 20; ++i) latency_.Record(16 << 20, absl::Milliseconds(16), now_);
  EXPECT_LT(latency_.p99(now_), absl::Milliseconds(2));
  for (int i = 0; i < 20; ++i) latency_.Record(4096, absl::Seconds(1), now_);
  EXPECT_LT(latency_.p99(now_), absl::Milliseconds(2));
}

}  // namespace
}  // namespace kvgate::storage
