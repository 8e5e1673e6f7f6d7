// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/unsent.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace kvgate::gateway {
namespace {

using Grants = std::vector<std::unique_ptr<UnsentDoor::Grant>>;

TEST(Unsent, AllThatIsHeldIsCountedAndGivenBack) {
  auto process = std::make_shared<UnsentCount>();
  UnsentDoor door(process, 1000), other(process, 1000);
  {
    auto one = door.Ask("unix:", 300);
    auto two = other.Ask("ipv4:127.0.0.1:1", 200);
    EXPECT_EQ(one->bytes(), 300u);
    EXPECT_EQ(process->bytes(), 500);
    one->gauge()->Add(7);
    EXPECT_EQ(process->bytes(), 507);
    one->gauge()->Add(-7);
  }
  EXPECT_EQ(process->bytes(), 0);
}

TEST(Unsent, ADoorWithNothingUnsentSendsAnyValue) {
  UnsentDoor door(std::make_shared<UnsentCount>(), 1000);
  EXPECT_EQ(door.Ask("unix:", 5000)->bytes(), 5000u);
}

TEST(Unsent, WhoAsksMuchLeavesSomethingForTheNext) {
  UnsentDoor door(std::make_shared<UnsentCount>(), 1 << 20);
  Grants held;
  held.push_back(door.Ask("unix:", 1 << 19));
  for (int i = 0; i < 4; ++i) held.push_back(door.Ask("unix:", 1 << 30));
  EXPECT_EQ(door.Ask("unix:", 1000)->bytes(), 1000u);
}

TEST(Unsent, ATcpConnectionHoldsAtMostHalf) {
  auto process = std::make_shared<UnsentCount>();
  UnsentDoor door(process, 1000);
  Grants held;
  for (int i = 0; i < 100; ++i) held.push_back(door.Ask("ipv4:10.0.0.1:1", i == 0 ? 400 : 1000));
  EXPECT_EQ(process->bytes(), 500);
  EXPECT_EQ(door.Ask("ipv4:10.0.0.1:1", 1)->bytes(), 0u);
  EXPECT_EQ(door.Ask("ipv4:10.0.0.1:2", 200)->bytes(), 200u);
}

TEST(Unsent, OneDoorDoesNotTakeFromAnother) {
  auto process = std::make_shared<UnsentCount>();
  UnsentDoor door(process, 1000), other(process, 1000);
  auto all = door.Ask("unix:", 1000);
  EXPECT_EQ(door.Ask("unix:", 10)->bytes(), 0u);
  EXPECT_EQ(other.Ask("unix:", 1000)->bytes(), 1000u);
}

}  // namespace
}  // namespace kvgate::gateway
