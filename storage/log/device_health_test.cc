// SPDX-License-Identifier: Apache-2.0
#include "gtest/gtest.h"
#include "storage/log/device_set.h"

namespace kvgate::storage {
namespace {

using Use = DeviceHealth::Use;
using Change = DeviceHealth::Change;

class DeviceHealthTest : public ::testing::Test {
 protected:
  Change Fail(Use use = Use::kRead) {
    return health_.Report(use, absl::UnavailableError("EIO"), now_);
  }
  Change Succeed(Use use) { return health_.Report(use, absl::OkStatus(), now_); }
  void TakeOffline() {
    for (int i = 0; i < 10; ++i) Fail();
    ASSERT_TRUE(health_.offline());
  }

  DeviceHealth health_;
  absl::Time now_ = absl::UnixEpoch();
};

TEST_F(DeviceHealthTest, ThreeFailuresInAMinuteLeaveItReadOnly) {
  EXPECT_EQ(Fail(), Change::kFailed);
  now_ += absl::Seconds(29);
  Succeed(Use::kRead);
  EXPECT_EQ(Fail(), Change::kFailed);
  now_ += absl::Seconds(29);
  EXPECT_EQ(Fail(), Change::kReadOnly);
  EXPECT_TRUE(health_.Allows(Use::kRead, now_));
  EXPECT_FALSE(health_.Allows(Use::kWrite, now_));
}

TEST_F(DeviceHealthTest, ThreeFailuresInMoreThanAMinuteChangeNothing) {
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(Fail(), Change::kFailed);
    Succeed(Use::kWrite);
    now_ += absl::Seconds(31);
  }
  EXPECT_TRUE(health_.Allows(Use::kWrite, now_));
}

TEST_F(DeviceHealthTest, AWriteEveryThirtySecondsTriesAndEndsIt) {
  for (int i = 0; i < 3; ++i) Fail();
  now_ += absl::Seconds(30);
  EXPECT_TRUE(health_.Allows(Use::kWrite, now_));
  EXPECT_FALSE(health_.Allows(Use::kWrite, now_));  // one probe
  EXPECT_EQ(Succeed(Use::kRead), Change::kNone);
  EXPECT_TRUE(health_.read_only());
  EXPECT_EQ(Succeed(Use::kWrite), Change::kBack);
  EXPECT_TRUE(health_.Allows(Use::kWrite, now_));
  EXPECT_EQ(Fail(), Change::kFailed);  // the count began anew
}

TEST_F(DeviceHealthTest, TenFailuresInARowTakeItOfflineUntilAProbeSucceeds) {
  TakeOffline();
  EXPECT_FALSE(health_.Allows(Use::kRead, now_));
  now_ += absl::Seconds(30);
  EXPECT_TRUE(health_.Allows(Use::kRead, now_));
  EXPECT_FALSE(health_.Allows(Use::kRead, now_));
  EXPECT_EQ(Fail(), Change::kFailed);
  EXPECT_TRUE(health_.offline());
  EXPECT_EQ(Succeed(Use::kRead), Change::kBack);
  EXPECT_TRUE(health_.Allows(Use::kRead, now_));
  EXPECT_TRUE(health_.read_only());
  EXPECT_TRUE(health_.Allows(Use::kWrite, now_));  // tried at once
  EXPECT_EQ(Succeed(Use::kWrite), Change::kBack);
  EXPECT_FALSE(health_.read_only());
}

TEST_F(DeviceHealthTest, FailuresThatSayNothingOfTheDeviceDoNotCount) {
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(health_.Report(Use::kRead, absl::DeadlineExceededError("late"), now_), Change::kNone);
    EXPECT_EQ(health_.Report(Use::kRead, absl::CancelledError("closing"), now_), Change::kNone);
    EXPECT_EQ(health_.Report(Use::kWrite, absl::ResourceExhaustedError("ENOSPC"), now_),
              Change::kFailed);
  }
  EXPECT_TRUE(health_.Allows(Use::kWrite, now_));
}

}  // namespace
}  // namespace kvgate::storage
