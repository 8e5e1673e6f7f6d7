// SPDX-License-Identifier: Apache-2.0
#include "gateway/namespace_watch.h"

#include <gtest/gtest.h>

#include <vector>

#include "gateway/core/fake_store.h"

namespace kvgate::gateway {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(100'000);

// Namespace 1 asks and finds nothing, namespace 2 stores; they differ in one field.
class TwoNamespaces : public NamespaceStore {
 public:
  std::vector<storage::NamespaceInfo> Namespaces() const override {
    storage::NamespaceInfo here, there;
    here.id = 1;
    there.id = 2;
    here.tenant = there.tenant = "t";
    here.identity = there.identity = TestIdentity();
    there.identity.rope = "other";
    return {here, there};
  }
  std::vector<storage::NamespaceUse> NamespaceUses() const override {
    storage::NamespaceUse here, there;
    here.ns = 1;
    here.keys_asked = kNoHitsKeysMin;
    here.keys_held = keys_held;
    there.ns = 2;
    there.blocks_stored = 1;
    return {here, there};
  }
  uint64_t keys_held = 0;
};

class NamespaceWatchTest : public ::testing::Test {
 protected:
  TwoNamespaces store_;
  std::vector<NoHits> warned_;
  NamespaceWatch watch_{&store_, absl::InfiniteDuration(),
                        [this](const NoHits& no_hits) { warned_.push_back(no_hits); }};
};

TEST_F(NamespaceWatchTest, AWarningNamesTheField) {
  watch_.Look(kNow);
  ASSERT_EQ(warned_.size(), 1u);
  EXPECT_EQ(warned_[0].ns, 1u);
  EXPECT_EQ(warned_[0].field, "rope");
  EXPECT_EQ(watch_.without_hits(), 1u);
}

TEST_F(NamespaceWatchTest, ItIsSaidOnceAnHour) {
  watch_.Look(kNow);
  watch_.Look(kNow + absl::Minutes(59));
  EXPECT_EQ(warned_.size(), 1u);
  watch_.Look(kNow + absl::Hours(1));
  EXPECT_EQ(warned_.size(), 2u);
}

TEST_F(NamespaceWatchTest, TheGaugeFallsWithTheFirstHit) {
  watch_.Look(kNow);
  store_.keys_held = 1;
  watch_.Look(kNow + absl::Seconds(5));
  EXPECT_EQ(watch_.without_hits(), 0u);
  EXPECT_EQ(warned_.size(), 1u);
}

}  // namespace
}  // namespace kvgate::gateway
