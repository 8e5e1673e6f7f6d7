// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/offer.h"

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gateway/core/fake_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvgate::gateway {
namespace {

using storage::OfferState;
using ::testing::ElementsAre;

// Wants whatever it does not hold and nobody is sending; knows what it was asked.
class OfferStore final : public NamespaceStore {
 public:
  absl::StatusOr<storage::OfferResult> Offer(const storage::OfferRequest& request) override {
    if (!fails.ok()) return fails;
    ++offers;
    storage::OfferResult result;
    uint64_t bytes = 0;
    for (size_t i = 0; i < request.keys.size(); ++i) {
      if (held.count(std::string(request.keys[i])) != 0) {
        result.states.push_back(OfferState::kHeld);
      } else if (request.value_bytes[i] > request.bytes_max - bytes) {
        result.states.push_back(OfferState::kNotAdmitted);
        ++result.keys_beyond;
      } else {
        result.states.push_back(OfferState::kWanted);
        bytes += request.value_bytes[i];
        result.ticket = 77;
      }
    }
    return result;
  }

  std::set<std::string> held;
  absl::Status fails;
  int offers = 0;
};

class OfferWithinTest : public ::testing::Test {
 protected:
  std::vector<OfferState> Offer(std::vector<std::string_view> keys,
                                std::vector<uint64_t> value_bytes) {
    storage::OfferRequest request;
    request.keys = std::move(keys);
    request.value_bytes = std::move(value_bytes);
    auto result = OfferWithin(&store_, budget_.get(), request, absl::UnixEpoch());
    status_ = result.status();
    if (!result.ok()) return {};
    ticket_ = result->ticket;
    return result->states;
  }

  OfferStore store_;
  std::shared_ptr<ReceiveTotals> totals_ = std::make_shared<ReceiveTotals>();
  std::shared_ptr<ReceiveBudget> budget_ = std::make_shared<ReceiveBudget>(100, totals_);
  absl::Status status_;
  uint64_t ticket_ = 0;
};

TEST_F(OfferWithinTest, WhatFitsIsAskedAtOnce) {
  store_.held = {"a"};
  EXPECT_THAT(Offer({"a", "b"}, {50, 50}), ElementsAre(OfferState::kHeld, OfferState::kWanted));
  EXPECT_EQ(store_.offers, 1);
  EXPECT_EQ(ticket_, 77u);
  EXPECT_EQ(budget_->promised_bytes(), 50u);
}

TEST_F(OfferWithinTest, BeyondTheBudgetNothingIsWantedNorPending) {
  EXPECT_THAT(Offer({"a", "b", "c"}, {60, 60, 50}),
              ElementsAre(OfferState::kWanted, OfferState::kNotAdmitted, OfferState::kNotAdmitted));
  EXPECT_EQ(store_.offers, 1);
  EXPECT_EQ(budget_->promised_bytes(), 60u);
  EXPECT_EQ(totals_->keys_refused, 2u);
}

TEST_F(OfferWithinTest, HeldKeysNeedNoRoom) {
  store_.held = {"a", "b", "d"};
  EXPECT_THAT(
      Offer({"a", "b", "c", "d"}, {60, 60, 60, 60}),
      ElementsAre(OfferState::kHeld, OfferState::kHeld, OfferState::kWanted, OfferState::kHeld));
  EXPECT_EQ(budget_->promised_bytes(), 60u);
}

TEST_F(OfferWithinTest, WithNoRoomAtAllNothingIsWantedAndThereIsNoTicket) {
  ASSERT_EQ(budget_->TakeUpTo(100, absl::UnixEpoch()), 100u);
  store_.held = {"h"};
  EXPECT_THAT(Offer({"a", "h"}, {1, 1}), ElementsAre(OfferState::kNotAdmitted, OfferState::kHeld));
  EXPECT_EQ(ticket_, 0u);
  EXPECT_EQ(budget_->promised_bytes(), 100u);
}

TEST_F(OfferWithinTest, AFailureTakesNoRoom) {
  store_.fails = absl::UnavailableError("closing");
  Offer({"a"}, {50});
  EXPECT_EQ(status_.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(budget_->promised_bytes(), 0u);
  Offer({"a", "b"}, {90, 90});
  EXPECT_EQ(status_.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(budget_->promised_bytes(), 0u);
}

}  // namespace
}  // namespace kvgate::gateway
