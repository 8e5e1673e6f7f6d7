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
using ::testing::IsEmpty;

// Wants whatever it does not hold and nobody is sending; knows what it was asked.
class OfferStore final : public NamespaceStore {
 public:
  void Lookup(const storage::LookupRequest& request, storage::LookupDone done) override {
    storage::LookupResult result;
    storage::GroupHeld& group = result.groups.emplace_back();
    const auto& keys = request.queries[0].keys;
    group.bitmap.assign((keys.size() + 7) / 8, '\0');
    for (size_t i = 0; i < keys.size(); ++i) {
      if (held.count(std::string(keys[i])) != 0)
        group.bitmap[i / 8] |= static_cast<char>(1 << (i % 8));
    }
    ++lookups;
    done(std::move(result));
  }
  absl::StatusOr<storage::OfferResult> Offer(const storage::OfferRequest& request) override {
    if (!fails.ok()) return fails;
    storage::OfferResult result;
    for (std::string_view key : request.keys) {
      asked.emplace_back(key);
      const bool is_held = held.count(std::string(key)) != 0;
      result.states.push_back(is_held ? OfferState::kHeld : OfferState::kWanted);
      if (!is_held) result.ticket = 77;
    }
    return result;
  }

  std::set<std::string> held;
  std::vector<std::string> asked;
  absl::Status fails;
  int lookups = 0;
};

class OfferWithinTest : public ::testing::Test {
 protected:
  OfferWithinTest() {
    ns_.info.identity.groups.resize(2);
    ns_.info.identity.groups[0].kind = wire::GroupKind::kFullAttention;
    ns_.info.identity.groups[1].kind = wire::GroupKind::kSlidingWindow;
  }
  std::vector<OfferState> Offer(std::vector<std::string_view> keys,
                                std::vector<uint64_t> value_bytes, uint8_t group = 0) {
    storage::OfferRequest request;
    request.keys = std::move(keys);
    request.value_bytes = std::move(value_bytes);
    request.group = group;
    auto result = OfferWithin(&store_, budget_.get(), ns_, request, absl::UnixEpoch());
    status_ = result.status();
    if (!result.ok()) return {};
    ticket_ = result->ticket;
    return result->states;
  }

  OpenedNamespace ns_;
  OfferStore store_;
  std::shared_ptr<ReceiveTotals> totals_ = std::make_shared<ReceiveTotals>();
  std::shared_ptr<ReceiveBudget> budget_ = std::make_shared<ReceiveBudget>(100, totals_);
  absl::Status status_;
  uint64_t ticket_ = 0;
};

TEST_F(OfferWithinTest, WhatFitsIsAskedAtOnce) {
  store_.held = {"a"};
  EXPECT_THAT(Offer({"a", "b"}, {50, 50}), ElementsAre(OfferState::kHeld, OfferState::kWanted));
  EXPECT_EQ(store_.lookups, 0);
  EXPECT_EQ(ticket_, 77u);
  EXPECT_EQ(budget_->promised_bytes(), 50u);
}

TEST_F(OfferWithinTest, BeyondTheBudgetNothingIsWantedNorPending) {
  EXPECT_THAT(Offer({"a", "b", "c"}, {60, 60, 10}),
              ElementsAre(OfferState::kWanted, OfferState::kNotAdmitted, OfferState::kNotAdmitted));
  EXPECT_THAT(store_.asked, ElementsAre("a"));
  EXPECT_EQ(budget_->promised_bytes(), 60u);
  EXPECT_EQ(totals_->keys_refused, 2u);
}

TEST_F(OfferWithinTest, InAWindowGroupLaterKeysMayStillFit) {
  EXPECT_THAT(Offer({"a", "b", "c"}, {60, 60, 10}, 1),
              ElementsAre(OfferState::kWanted, OfferState::kNotAdmitted, OfferState::kWanted));
}

TEST_F(OfferWithinTest, HeldKeysNeedNoRoom) {
  store_.held = {"a", "b", "d"};
  EXPECT_THAT(
      Offer({"a", "b", "c", "d"}, {60, 60, 60, 60}),
      ElementsAre(OfferState::kHeld, OfferState::kHeld, OfferState::kWanted, OfferState::kHeld));
  EXPECT_EQ(budget_->promised_bytes(), 60u);
}

TEST_F(OfferWithinTest, WithNoRoomAtAllTheStoreIsNotAskedAndThereIsNoTicket) {
  ASSERT_TRUE(budget_->TakeAll(100, absl::UnixEpoch()));
  EXPECT_THAT(Offer({"a"}, {1}), ElementsAre(OfferState::kNotAdmitted));
  EXPECT_THAT(store_.asked, IsEmpty());
  EXPECT_EQ(ticket_, 0u);
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
