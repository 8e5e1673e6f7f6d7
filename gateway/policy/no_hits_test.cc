// SPDX-License-Identifier: Apache-2.0
#include "gateway/policy/no_hits.h"

#include <gtest/gtest.h>

namespace kvgate::gateway {
namespace {

wire::Identity IdentityOf(const std::string& dtype) {
  wire::Identity identity;
  identity.model = "m";
  identity.dtype = dtype;
  return identity;
}

class NoHitsTest : public ::testing::Test {
 protected:
  NamespaceFacts Seeker(uint64_t asked = kNoHitsKeysMin) {
    return {.ns = 1, .tenant = "t", .identity = &here_, .keys_asked = asked};
  }
  NamespaceFacts Holder(uint32_t ns = 2, uint64_t stored = 5) {
    return {.ns = ns, .tenant = "t", .identity = &there_, .blocks_stored = stored};
  }
  const wire::Identity here_ = IdentityOf("float16"), there_ = IdentityOf("bfloat16");
};

TEST_F(NoHitsTest, TheFieldInWhichTheyDifferIsNamed) {
  const NamespaceFacts all[] = {Seeker(), Holder()};
  const std::vector<NoHits> found = FindNoHits(all);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].ns, 1u);
  EXPECT_EQ(found[0].neighbour, 2u);
  EXPECT_EQ(found[0].keys_asked, kNoHitsKeysMin);
  EXPECT_EQ(found[0].field, "dtype");
  EXPECT_EQ(found[0].here, "float16");
  EXPECT_EQ(found[0].there, "bfloat16");
}

TEST_F(NoHitsTest, FewKeysSayNothing) {
  const NamespaceFacts all[] = {Seeker(kNoHitsKeysMin - 1), Holder()};
  EXPECT_TRUE(FindNoHits(all).empty());
}

TEST_F(NoHitsTest, OneHitIsEnough) {
  NamespaceFacts seeker = Seeker();
  seeker.keys_held = 1;
  const NamespaceFacts all[] = {seeker, Holder()};
  EXPECT_TRUE(FindNoHits(all).empty());
}

TEST_F(NoHitsTest, WithoutANeighbourThatHasBlocksThereIsNothingToShare) {
  const NamespaceFacts alone[] = {Seeker()};
  EXPECT_TRUE(FindNoHits(alone).empty());
  const NamespaceFacts empty[] = {Seeker(), Holder(2, 0)};
  EXPECT_TRUE(FindNoHits(empty).empty());
}

TEST_F(NoHitsTest, ANeighbourThatFindsBlocksOfAnEarlierRunCounts) {
  NamespaceFacts holder = Holder(2, 0);
  holder.keys_held = 1;
  const NamespaceFacts all[] = {Seeker(), holder};
  EXPECT_EQ(FindNoHits(all).size(), 1u);
}

TEST_F(NoHitsTest, OtherTenantsAreNotNamed) {
  NamespaceFacts holder = Holder();
  holder.tenant = "another";
  const NamespaceFacts all[] = {Seeker(), holder};
  EXPECT_TRUE(FindNoHits(all).empty());
}

TEST_F(NoHitsTest, OfSeveralNeighboursTheOneThatHoldsMostIsNamed) {
  const NamespaceFacts all[] = {Holder(3, 4), Seeker(), Holder(2, 5)};
  ASSERT_EQ(FindNoHits(all).size(), 1u);
  EXPECT_EQ(FindNoHits(all)[0].neighbour, 2u);
}

TEST_F(NoHitsTest, AnIdentityThatWasLostIsNotJudged) {
  NamespaceFacts seeker = Seeker(), holder = Holder();
  seeker.identity = nullptr;
  const NamespaceFacts lost_here[] = {seeker, Holder()};
  EXPECT_TRUE(FindNoHits(lost_here).empty());
  holder.identity = nullptr;
  const NamespaceFacts lost_there[] = {Seeker(), holder};
  EXPECT_TRUE(FindNoHits(lost_there).empty());
}

}  // namespace
}  // namespace kvgate::gateway
