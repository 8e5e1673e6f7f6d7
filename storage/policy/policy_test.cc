// SPDX-License-Identifier: Apache-2.0
//
// What every ChainPolicy promises, on each of them; and what the hazard model learns.
#include <functional>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "storage/policy/chain_policy.h"
#include "storage/policy/hazard_model.h"

namespace kvgate::storage {
namespace {

using New = std::unique_ptr<ChainPolicy> (*)();

class ChainPolicyTest : public ::testing::TestWithParam<New> {
 protected:
  // A request for blocks first, first + 1, …, of which none is resident; they come into the slots
  // of the same numbers.
  void Store(uint32_t first, uint32_t count, int64_t now_ms) {
    std::vector<ChainBlock> chain;
    for (uint32_t i = 0; i < count; ++i) chain.push_back({first + i + 1, kNotResident});
    policy_->Use(chain, {}, now_ms);
    for (uint32_t i = 0; i < count; ++i) policy_->Add(first + i);
  }
  void UseAgain(uint32_t first, uint32_t count, int64_t now_ms) {
    std::vector<ChainBlock> chain;
    for (uint32_t i = 0; i < count; ++i) chain.push_back({first + i + 1, first + i});
    policy_->Use(chain, {}, now_ms);
  }

  std::unique_ptr<ChainPolicy> policy_ = GetParam()();
};

TEST_P(ChainPolicyTest, WithoutBlocksNobodyGoes) { EXPECT_EQ(policy_->First(0), kNotResident); }

TEST_P(ChainPolicyTest, AChainGoesFromItsTail) {
  Store(0, 4, 0);
  for (const uint32_t expected : {3u, 2u, 1u, 0u}) {
    ASSERT_EQ(policy_->First(1000), expected);
    policy_->Remove(expected);
  }
  EXPECT_EQ(policy_->First(1000), kNotResident);
}

TEST_P(ChainPolicyTest, TheOrderNamesEveryBlockOfTheChainsAtItsEndOnce) {
  Store(0, 3, 0);
  Store(10, 3, 1000);
  std::vector<uint32_t> order;
  for (uint32_t slot = policy_->First(2000); slot != kNotResident; slot = policy_->Next(slot)) {
    order.push_back(slot);
  }
  EXPECT_EQ(order.size(), 6u);
}

TEST_P(ChainPolicyTest, ABlockThatWasTakenOutIsNotNamed) {
  Store(0, 3, 0);
  policy_->Remove(1);
  EXPECT_EQ(policy_->First(10), 2u);
  EXPECT_EQ(policy_->Next(2), 0u);
}

TEST_P(ChainPolicyTest, ASharedHeadBelongsToTheLastUser) {
  Store(0, 2, 0);
  Store(10, 2, 1000);
  UseAgain(0, 2, 500'000);
  // Both orders agree here: the other chain is as old as chains get without a return.
  policy_->Remove(policy_->First(500'001));
  EXPECT_TRUE(policy_->WorthRoom(500'001));
}

INSTANTIATE_TEST_SUITE_P(All, ChainPolicyTest,
                         ::testing::Values(&NewLruChainPolicy, &NewHazardChainPolicy));

TEST(LruChainPolicy, TheLeastRecentlyUsedChainGoesFirst) {
  auto policy = NewLruChainPolicy();
  const std::vector<ChainBlock> a = {{1, kNotResident}}, b = {{2, kNotResident}};
  policy->Use(a, {}, 0);
  policy->Add(0);
  policy->Use(b, {}, 1000);
  policy->Add(1);
  EXPECT_EQ(policy->First(2000), 0u);
}

TEST(HazardModel, AClassThatComesBackIsWorthMore) {
  HazardModel model;
  for (int i = 0; i < 500; ++i) {
    model.Returned(1, 20'000);
    model.Lost(2, 400'000);
  }
  model.BeginLearning();
  model.FinishLearning();
  EXPECT_GT(model.Worth(1, 10'000), 2 * model.Worth(2, 10'000));
}

TEST(HazardModel, WithoutDataOlderIsWorthLess) {
  const HazardModel model;
  EXPECT_GT(model.Worth(0, 1'000), model.Worth(0, 100'000));
  EXPECT_GT(model.Worth(0, 100'000), model.Worth(0, 10'000'000));
}

TEST(HazardModel, BinsCoverEveryAge) {
  uint32_t before = 0;
  for (int64_t age = -1; age < int64_t{1} << 50; age = age * 2 + 3) {
    const uint32_t bin = HazardModel::BinOf(age);
    EXPECT_LT(bin, HazardModel::kBins);
    EXPECT_GE(bin, before);
    before = bin;
  }
}

}  // namespace
}  // namespace kvgate::storage
