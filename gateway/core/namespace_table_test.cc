// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/namespace_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/core/fake_store.h"

namespace kvgate::gateway {
namespace {

using ::testing::HasSubstr;

class NamespaceTableTest : public ::testing::Test {
 protected:
  NamespaceTable Table(uint32_t namespaces_max = 4) {
    return NamespaceTable(&store_, {.namespaces_max = namespaces_max, .local_door = true});
  }
  static std::string TextOf(const absl::Status& status) { return std::string(status.message()); }

  NamespaceStore store_;
};

TEST_F(NamespaceTableTest, TheSameTenantAndIdentityGetTheSameHandle) {
  NamespaceTable table = Table();
  const NamespaceRef first = *table.Open("t", "", TestIdentity(), 0);
  EXPECT_EQ((*table.Open("t", "", TestIdentity(), 0))->handle, first->handle);
  EXPECT_NE(first->handle, 0u);
}

TEST_F(NamespaceTableTest, AnotherTenantGetsAnotherHandle) {
  NamespaceTable table = Table();
  EXPECT_NE((*table.Open("t", "", TestIdentity(), 0))->handle,
            (*table.Open("u", "", TestIdentity(), 0))->handle);
}

TEST_F(NamespaceTableTest, AHandleWorksOnlyForItsTenant) {
  NamespaceTable table = Table();
  const NamespaceRef ns = *table.Open("t", "", TestIdentity(), 0);
  EXPECT_EQ(*table.Find("t", ns->handle), ns);
  EXPECT_EQ(table.Find("u", ns->handle).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(NamespaceTableTest, AnUnknownHandleAsksForOpenAgain) {
  const absl::Status status = Table().Find("t", 77).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(TextOf(status), HasSubstr("0x4d"));
  EXPECT_THAT(TextOf(status), HasSubstr("open again"));
}

TEST_F(NamespaceTableTest, HandlesOfAnotherIncarnationAreUnknown) {
  NamespaceTable old_table = Table(), new_table = Table();
  const NamespaceRef ns = *old_table.Open("t", "", TestIdentity(), 0);
  EXPECT_FALSE(new_table.Find("t", ns->handle).ok());
  EXPECT_NE(old_table.incarnation(), new_table.incarnation());
}

TEST_F(NamespaceTableTest, TheNumberOfNamespacesIsBounded) {
  NamespaceTable table = Table(2);
  wire::Identity identity = TestIdentity();
  for (int i = 0; i < 2; ++i) {
    identity.weights_epoch = i;
    EXPECT_TRUE(table.Open("t", "", identity, 0).ok());
  }
  EXPECT_TRUE(table.Open("t", "", identity, 0).ok()) << "one that is open stays open";
  identity.weights_epoch = 2;
  const absl::Status status = table.Open("t", "", identity, 0).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(TextOf(status), HasSubstr("namespaces_max is 2"));
}

TEST_F(NamespaceTableTest, WhatTheStoreCollectedMakesRoom) {
  NamespaceTable table = Table(2);
  wire::Identity identity = TestIdentity();
  const NamespaceRef first = *table.Open("t", "", identity, 0);
  identity.weights_epoch = 1;
  const NamespaceRef second = *table.Open("t", "", identity, 0);
  store_.collected = {first->id()};
  identity.weights_epoch = 2;
  EXPECT_TRUE(table.Open("t", "", identity, 0).ok());
  EXPECT_EQ(table.Find("t", first->handle).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(table.Find("t", second->handle).ok());
}

TEST_F(NamespaceTableTest, RootGroupsFollowFromBlockTokens) {
  wire::Identity identity = TestIdentity();
  identity.groups.push_back(identity.groups[0]);
  identity.groups[1].block_tokens = 8192;
  EXPECT_THAT((*Table().Open("t", "", identity, 0))->root_group_keys,
              ::testing::ElementsAre(128, 1));
}

TEST_F(NamespaceTableTest, AnInvalidIdentityIsRefused) {
  wire::Identity identity = TestIdentity();
  identity.groups.clear();
  EXPECT_EQ(Table().Open("t", "", identity, 0).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(NamespaceTableTest, AWeakPrefixHashIsRefusedByName) {
  wire::Identity identity = TestIdentity();
  identity.prefix_hash_algorithm = "xxhash";
  const absl::Status status = Table().Open("t", "", identity, 0).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(TextOf(status), HasSubstr("prefix_hash_algorithm"));
}

TEST_F(NamespaceTableTest, AnAliasHas128BytesAtMost) {
  NamespaceTable table = Table();
  EXPECT_TRUE(table.Open("t", std::string(128, 'a'), TestIdentity(), 0).ok());
  const absl::Status status = table.Open("t", std::string(129, 'a'), TestIdentity(), 0).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(TextOf(status), HasSubstr("129"));
}

TEST_F(NamespaceTableTest, AMissingRequiredFeatureIsNamed) {
  const absl::Status status =
      Table().Open("t", "", TestIdentity(), Bit(Feature::kDurabilityLogged)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(TextOf(status), HasSubstr("FEATURE_DURABILITY_LOGGED"));
  EXPECT_THAT(TextOf(status), HasSubstr("no disk tier"));
}

TEST_F(NamespaceTableTest, DirectIoIsInEffectOnlyInDirectMode) {
  store_.facts_now.disk_tier = true;
  store_.facts_now.disk_mode = "buffered";
  EXPECT_FALSE(Has(Table().features(), Feature::kDirectIo));
  EXPECT_TRUE(Has(Table().features(), Feature::kDiskTier));
  store_.facts_now.disk_mode = "direct";
  EXPECT_TRUE(Has(Table().features(), Feature::kDirectIo));
}

TEST(Features, AFeatureThatNobodyKnowsIsNeverInEffect) {
  const storage::StoreFacts facts;
  const absl::Status status = RequireFeatures(1ull << 40, FeaturesInEffect(facts, true), facts);
  EXPECT_THAT(std::string(status.message()), HasSubstr("FEATURE_40"));
}

}  // namespace
}  // namespace kvgate::gateway
