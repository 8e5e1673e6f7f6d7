// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/receive_budget.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvgate::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Budget : public ::testing::Test {
 protected:
  std::shared_ptr<ReceiveBudget::Receipt> Set(uint64_t bytes, uint64_t ticket = 0,
                                              uint64_t producer = 0) {
    auto receipt = budget_->Arrive(
        {.bytes = bytes, .payload_bytes = bytes, .ticket = ticket, .producer = producer}, now_);
    said_ = std::string(receipt.status().message());
    return receipt.ok() ? *std::move(receipt) : nullptr;
  }

  absl::Time now_ = absl::UnixEpoch();
  std::shared_ptr<ReceiveTotals> totals_ = std::make_shared<ReceiveTotals>();
  std::shared_ptr<ReceiveBudget> budget_ = std::make_shared<ReceiveBudget>(100, totals_);
  std::string said_;
};

TEST_F(Budget, PromisesStayUnderTheLimit) {
  ASSERT_EQ(budget_->TakeUpTo(60, now_), 60u);
  budget_->Promise(60, 1, 60, 0, now_);
  EXPECT_EQ(budget_->TakeUpTo(41, now_), 40u);
  EXPECT_EQ(budget_->promised_bytes(), 100u);
  EXPECT_EQ(totals_->promised_bytes, 100);
}

TEST_F(Budget, WhatTheStoreDidNotWantIsGivenBack) {
  ASSERT_EQ(budget_->TakeUpTo(60, now_), 60u);
  budget_->Promise(60, 1, 20, 0, now_);
  EXPECT_EQ(budget_->promised_bytes(), 20u);
  ASSERT_EQ(budget_->TakeUpTo(60, now_), 60u);
  budget_->Promise(60, 0, 0, 0, now_);
  EXPECT_EQ(budget_->promised_bytes(), 20u);
}

TEST_F(Budget, NoMoreIsTakenThanIsLeft) {
  EXPECT_EQ(budget_->TakeUpTo(60, now_), 60u);
  EXPECT_EQ(budget_->TakeUpTo(60, now_), 40u);
  EXPECT_EQ(budget_->TakeUpTo(60, now_), 0u);
  EXPECT_EQ(budget_->promised_bytes(), 100u);
}

TEST_F(Budget, ASetTurnsItsPromiseIntoBytesThatAreHandled) {
  ASSERT_EQ(budget_->TakeUpTo(90, now_), 90u);
  budget_->Promise(90, 7, 90, 0, now_);
  auto first = Set(50, 7);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(budget_->promised_bytes(), 40u);
  EXPECT_EQ(budget_->handled_bytes(), 50u);
  first = nullptr;
  EXPECT_EQ(budget_->handled_bytes(), 0u);
  EXPECT_NE(Set(40, 7), nullptr);
  EXPECT_EQ(budget_->promised_bytes(), 0u);
  EXPECT_EQ(budget_->TakeUpTo(100, now_), 100u);
}

TEST_F(Budget, AnEndedTicketGivesItsRoomBackAndItsSetIsTakenAllTheSame) {
  ASSERT_EQ(budget_->TakeUpTo(100, now_), 100u);
  budget_->Promise(100, 7, 100, 0, now_);
  now_ += kTicketLife - absl::Milliseconds(1);
  EXPECT_EQ(budget_->TakeUpTo(1, now_), 0u);
  now_ += absl::Milliseconds(1);
  EXPECT_NE(Set(100, 7), nullptr);
  EXPECT_EQ(budget_->promised_bytes(), 0u);
  EXPECT_EQ(totals_->unknown_tickets, 1u);
}

TEST_F(Budget, WithoutATicketOnlyWhatFitsBesideTheOthersIsTaken) {
  const auto running = Set(60);
  ASSERT_NE(running, nullptr);
  EXPECT_EQ(Set(41), nullptr);
  EXPECT_THAT(said_, HasSubstr("values"));
  EXPECT_THAT(said_, HasSubstr("41"));
  EXPECT_THAT(said_, HasSubstr("100"));
  EXPECT_EQ(totals_->sets_refused, 1u);
  EXPECT_NE(Set(40), nullptr);
  EXPECT_EQ(budget_->handled_bytes(), 60u);
}

TEST_F(Budget, WithATicketASetIsTakenHoweverMuchIsRunning) {
  ASSERT_EQ(budget_->TakeUpTo(50, now_), 50u);
  budget_->Promise(50, 7, 50, 0, now_);
  const auto running = Set(100);
  ASSERT_NE(running, nullptr);
  EXPECT_NE(Set(50, 7), nullptr);
}

TEST_F(Budget, OneMessageAloneIsTakenWhateverItsSize) { EXPECT_NE(Set(1000), nullptr); }

TEST_F(Budget, ATicketIsItsProducers) {
  ASSERT_EQ(budget_->TakeUpTo(50, now_), 50u);
  budget_->Promise(50, 7, 50, /*producer=*/11, now_);
  EXPECT_EQ(Set(50, 7, 12), nullptr);
  EXPECT_THAT(said_, HasSubstr("producer: 12"));
  EXPECT_THAT(said_, HasSubstr("11"));
  EXPECT_EQ(Set(50, 7, 0), nullptr);
  EXPECT_EQ(budget_->promised_bytes(), 50u);
  EXPECT_NE(Set(50, 7, 11), nullptr);
}

TEST_F(Budget, ATicketOfNoProducerIsAnyones) {
  ASSERT_EQ(budget_->TakeUpTo(50, now_), 50u);
  budget_->Promise(50, 7, 50, 0, now_);
  EXPECT_NE(Set(50, 7, 12), nullptr);
}

}  // namespace
}  // namespace kvgate::gateway
