// SPDX-License-Identifier: Apache-2.0
#include "gateway/telemetry/call_log.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <thread>

namespace kvgate::gateway {
namespace {

const absl::Time kArrival = absl::FromUnixSeconds(1000);
absl::Time After(int ms) { return kArrival + absl::Milliseconds(ms); }

EndedCall Ended(const CallTimes& times, int ms) {
  return {Door::kGrpc, Rpc::kGet, 42, absl::StatusCode::kOk, times, After(ms)};
}

std::map<std::string, std::string> Fields(const EndedCall& call) {
  std::map<std::string, std::string> fields;
  for (const LogField& field : SlowFields(call)) fields[std::string(field.name)] = field.value;
  return fields;
}

TEST(CallLog, TheTimeOfACallIsSharedOutOverItsParts) {
  CallTimes times(kArrival);
  times.StoreAsked(After(1));
  times.StoreAnswered(After(11));
  times.HandedOver(After(111));
  auto fields = Fields(Ended(times, 1111));
  EXPECT_EQ(fields["before_store_ms"], "1.0");
  EXPECT_EQ(fields["store_ms"], "10.0");
  EXPECT_EQ(fields["answer_ms"], "100.0");
  EXPECT_EQ(fields["sending_ms"], "1000.0");
  EXPECT_EQ(fields["ms"], "1111.0");
  EXPECT_EQ(fields["rpc"], "Get");
  EXPECT_EQ(fields["code"], "OK");
}

TEST(CallLog, ACallThatNeverReachedTheStoreWaitedBeforeIt) {
  auto fields = Fields(Ended(CallTimes(kArrival), 7));
  EXPECT_EQ(fields["before_store_ms"], "7.0");
  EXPECT_EQ(fields["store_ms"], "0.0");
  EXPECT_EQ(fields["sending_ms"], "0.0");
}

TEST(CallLog, ACallThatTheStoreDidNotAnswerWaitedInIt) {
  CallTimes times(kArrival);
  times.StoreAsked(After(2));
  EXPECT_EQ(Fields(Ended(times, 9))["store_ms"], "7.0");
}

TEST(CallLog, SlowIsWhatReachesTheLimitAndZeroIsNever) {
  SetSlowLimit(absl::Milliseconds(10));
  EXPECT_FALSE(IsSlow(Ended(CallTimes(kArrival), 9)));
  EXPECT_TRUE(IsSlow(Ended(CallTimes(kArrival), 10)));
  SetSlowLimit(absl::ZeroDuration());
  EXPECT_FALSE(IsSlow(Ended(CallTimes(kArrival), 100'000)));
}

TEST(CallLog, AnAnswerOnAnotherThreadIsARead) {
  CallTimes inside(kArrival), later(kArrival);
  inside.StoreAsked(kArrival);
  inside.StoreAnswered(kArrival);
  EXPECT_FALSE(inside.store_read());
  later.StoreAsked(kArrival);
  std::thread([&later] { later.StoreAnswered(kArrival); }).join();
  EXPECT_TRUE(later.store_read());
}

TEST(CallLog, IdsNameTheIncarnationAndNeverRepeat) {
  SetIncarnation(0xabcdef);
  EXPECT_EQ(RequestId(42), "0000000000abcdef-42");
  EXPECT_NE(NextRequest(), NextRequest());
}

}  // namespace
}  // namespace kvgate::gateway
