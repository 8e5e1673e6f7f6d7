// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "gateway/core/deadline.h"
#include "gateway/core/fake_store.h"

namespace kvgate::gateway {
namespace {

using ::testing::HasSubstr;

class ValidateTest : public ::testing::Test {
 protected:
  ValidateTest() {
    ns_.root_group_keys = {128, 1};
    ns_.shard_count = 2;
    ns_.info.identity = TestIdentity();
    ns_.info.identity.groups.push_back(ns_.info.identity.groups[0]);
    ns_.info.identity.groups[1].block_tokens = 4096;
  }

  // INVALID_ARGUMENT whose text has all the words.
  static void Refuses(const absl::Status& status, const std::vector<std::string>& words) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    for (const std::string& word : words) {
      EXPECT_THAT(std::string(status.message()), HasSubstr(word));
    }
  }
  static std::vector<std::string_view> Keys(size_t count, std::string_view key = "k") {
    return std::vector<std::string_view>(count, key);
  }
  storage::SetItem Item(std::string_view key, size_t value_bytes) {
    // Only sizes are looked at: the bytes need not be there.
    static const std::byte byte{};
    storage::SetItem item;
    item.key = key;
    item.value.emplace_back(&byte, value_bytes);
    return item;
  }
  absl::Status Set(std::vector<storage::SetItem> items) {
    return ValidateSet(ns_, {.items = items});
  }

  OpenedNamespace ns_;
};

TEST_F(ValidateTest, AKeyHasOneTo1024Bytes) {
  EXPECT_TRUE(CheckKey(std::string(1024, 'k'), "key").ok());
  Refuses(CheckKey(std::string(1025, 'k'), "key"), {"key", "1025", "1024"});
  Refuses(CheckKey("", "key"), {"key", "0 bytes"});
}

TEST_F(ValidateTest, ABatchHasOneTo1024Keys) {
  EXPECT_TRUE(CheckKeys(Keys(1024), wire::kKeysMax, "keys").ok());
  Refuses(CheckKeys(Keys(1025), wire::kKeysMax, "keys"), {"keys", "1025", "1024"});
  Refuses(CheckKeys({}, wire::kKeysMax, "keys"), {"keys", "empty", "1024"});
}

TEST_F(ValidateTest, TheKeyThatIsTooLongIsNamed) {
  const std::string long_key(2000, 'k');
  std::vector<std::string_view> keys = Keys(5);
  keys[3] = long_key;
  Refuses(CheckKeys(keys, wire::kKeysMax, "keys"), {"keys[3]", "2000"});
}

TEST_F(ValidateTest, KeysTogetherHave4MiBAtMost) {
  const std::string key(1024, 'k');
  EXPECT_TRUE(CheckKeys(Keys(4096, key), wire::kLookupKeysMax, "keys").ok());
  Refuses(CheckKeys(Keys(4097, key), wire::kLookupKeysMax, "keys"), {"4195328", "4194304"});
}

TEST_F(ValidateTest, AValueHasOneByteTo64MiB) {
  EXPECT_TRUE(Set({Item("k", 1)}).ok());
  EXPECT_TRUE(Set({Item("k", 64 << 20)}).ok());
  Refuses(Set({Item("j", 1), Item("k", 0)}), {"value_bytes[1]", "0", "67108864"});
  Refuses(Set({Item("k", (64 << 20) + 1)}), {"value_bytes[0]", "67108865", "67108864"});
}

TEST_F(ValidateTest, PayloadOfABatchHas64MiBAtMost) {
  Refuses(Set({Item("j", 33 << 20), Item("k", 33 << 20)}), {"values", "69206016", "67108864"});
}

TEST_F(ValidateTest, TheLocalDoorHasNoPayloadLimit) {
  const std::vector<storage::SetItem> items = {Item("j", 33 << 20), Item("k", 33 << 20)};
  EXPECT_TRUE(ValidateSet(ns_, {.items = items, .payload_bytes_max = kNoPayloadLimit}).ok());
}

TEST_F(ValidateTest, GroupAndShardAreThoseOfTheIdentity) {
  EXPECT_TRUE(CheckGroup(ns_, 1).ok());
  Refuses(CheckGroup(ns_, 2), {"group", "2"});
  Refuses(CheckGroup(ns_, 256), {"group", "256"});
  EXPECT_TRUE(CheckShard(ns_, 1).ok());
  Refuses(CheckShard(ns_, 2), {"shard", "2"});
}

TEST_F(ValidateTest, TheRootIsEmptyExactlyAtTheStartOfARootGroup) {
  EXPECT_TRUE(CheckRoot(ns_, 0, "", 0).ok());
  EXPECT_TRUE(CheckRoot(ns_, 0, "", 128).ok());
  EXPECT_TRUE(CheckRoot(ns_, 0, "r", 1).ok());
  EXPECT_TRUE(CheckRoot(ns_, 1, "", 7).ok()) << "g = 1: every key is a root";
  Refuses(CheckRoot(ns_, 0, "r", 0), {"root", "depth 0"});
  Refuses(CheckRoot(ns_, 0, "", 127), {"root", "depth 127"});
  Refuses(CheckRoot(ns_, 0, std::string(1025, 'r'), 1), {"root", "1025"});
}

TEST_F(ValidateTest, TheParentIsEmptyExactlyAtDepthZero) {
  const std::vector<storage::SetItem> items = {Item("k", 1)};
  EXPECT_TRUE(ValidateSet(ns_, {.items = items, .parent = "p", .depth = 128}).ok());
  Refuses(ValidateSet(ns_, {.items = items, .parent = "p"}), {"parent", "depth 0"});
  Refuses(ValidateSet(ns_, {.items = items, .depth = 128}), {"parent", "depth 128"});
}

TEST_F(ValidateTest, AHandleStandsAlone) {
  const storage::GetHandle handle{.pin_token = 9, .first = 0, .count = 3};
  EXPECT_TRUE(ValidateGet(ns_, {.handle = handle}).ok());
  const std::vector<std::string_view> keys = Keys(1);
  Refuses(ValidateGet(ns_, {.keys = keys, .handle = handle}), {"handle", "1 keys"});
  Refuses(ValidateGet(ns_, {.handle = handle, .root = "r"}), {"root"});
  Refuses(ValidateGet(ns_, {.handle = handle, .depth = 4}), {"depth", "4"});
}

TEST_F(ValidateTest, AHandleNamesAtMost1024KeysOfAChain) {
  using Handle = storage::GetHandle;
  Refuses(ValidateGet(ns_, {.handle = Handle{9, 0, 0}}), {"handle.count"});
  Refuses(ValidateGet(ns_, {.handle = Handle{9, 0, 1025}}), {"handle.count", "1025"});
  Refuses(ValidateGet(ns_, {.handle = Handle{9, UINT32_MAX, 1}}), {"handle.first"});
  Refuses(ValidateGet(ns_, {.handle = Handle{0, 0, 1}}), {"handle.pin_token"});
}

TEST_F(ValidateTest, ARangeLiesInsideTheLargestValue) {
  const std::vector<std::string_view> keys = Keys(1);
  const auto get = [&](uint64_t offset, uint64_t bytes) {
    return ValidateGet(ns_, {.keys = keys, .range_offset = offset, .range_bytes = bytes});
  };
  EXPECT_TRUE(get(0, 0).ok());
  EXPECT_TRUE(get(100, 1).ok());
  Refuses(get(100, 0), {"range_bytes", "0"});
  Refuses(get(UINT64_MAX, 2), {"range_bytes"});
  Refuses(get(1, UINT64_MAX), {"range_bytes"});
}

TEST_F(ValidateTest, NumbersOfTheWireAreKnownOrRefused) {
  EXPECT_EQ(*SetModeFromWire(0), storage::SetMode::kIfAbsent);
  EXPECT_EQ(*SetModeFromWire(2), storage::SetMode::kOverwrite);
  Refuses(SetModeFromWire(3).status(), {"mode", "3"});
  EXPECT_EQ(*MatchFromWire(0), storage::Match::kPrefix);
  Refuses(MatchFromWire(4).status(), {"match", "4"});
}

TEST_F(ValidateTest, DurabilityAboveWhatIsInEffectIsRefused) {
  const absl::Status status = SetDurabilityFromWire(3, ns_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("DURABILITY_LOGGED"));
  ns_.features = Bit(Feature::kDurabilityLogged);
  EXPECT_EQ(*SetDurabilityFromWire(3, ns_), storage::Durability::kLogged);
  Refuses(SetDurabilityFromWire(5, ns_).status(), {"durability", "5"});
}

TEST_F(ValidateTest, ADeleteIsLoggedOrMore) {
  EXPECT_EQ(*DeleteDurabilityFromWire(0), storage::Durability::kLogged);
  EXPECT_EQ(*DeleteDurabilityFromWire(4), storage::Durability::kDevice);
  Refuses(DeleteDurabilityFromWire(1).status(), {"durability", "1"});
  Refuses(DeleteDurabilityFromWire(300).status(), {"durability", "300"});
}

TEST_F(ValidateTest, AnOfferHasOneLengthAKey) {
  const std::vector<std::string_view> keys = Keys(2);
  const std::vector<uint64_t> lengths = {1};
  Refuses(ValidateOffer(ns_, {.keys = keys, .value_bytes = lengths}), {"value_bytes", "1", "2"});
}

TEST_F(ValidateTest, ADeleteNamesGroupAndShardOfTheIdentityOrNone) {
  const std::vector<std::string_view> keys = Keys(1);
  EXPECT_TRUE(ValidateDelete(ns_, keys, std::nullopt, std::nullopt).ok());
  Refuses(ValidateDelete(ns_, keys, 2, std::nullopt), {"group"});
  Refuses(ValidateDelete(ns_, keys, 0, 2), {"shard"});
}

class ValidateLookupTest : public ValidateTest {
 protected:
  ValidateLookupTest() { queries_.push_back({.group = 0, .keys = Keys(3)}); }
  absl::Status Check(LookupArgs args = {}) {
    args.queries = queries_;
    return ValidateLookup(ns_, args);
  }
  std::vector<storage::LookupQuery> queries_;
};

TEST_F(ValidateLookupTest, OnePlainQueryIsEnough) { EXPECT_TRUE(Check().ok()); }

TEST_F(ValidateLookupTest, SeveralQueriesNameTheirBlockTokens) {
  queries_.push_back({.group = 1, .keys = Keys(1)});
  Refuses(Check(), {"queries[0].block_tokens"});
  queries_[0].block_tokens = 32;
  queries_[1].block_tokens = 16;
  Refuses(Check(), {"queries[1].block_tokens", "16", "4096"});
  queries_[1].block_tokens = 4096;
  EXPECT_TRUE(Check().ok());
}

TEST_F(ValidateLookupTest, AGroupIsAskedOnce) {
  queries_[0].block_tokens = 32;
  queries_.push_back(queries_[0]);
  Refuses(Check(), {"queries[1].group", "asked before"});
}

TEST_F(ValidateLookupTest, KeysAreCountedOverAllGroups) {
  queries_[0] = {.group = 0, .keys = Keys(40'000), .block_tokens = 32};
  queries_.push_back({.group = 1, .keys = Keys(40'000), .block_tokens = 4096});
  Refuses(Check(), {"80000", "65536"});
}

TEST_F(ValidateLookupTest, OnlyAWindowHasWindowBlocks) {
  queries_[0].window_blocks = 2;
  Refuses(Check(), {"window_blocks", "2"});
  queries_[0].match = storage::Match::kWindow;
  EXPECT_TRUE(Check().ok());
  queries_[0].window_blocks = 0;
  Refuses(Check(), {"window_blocks", "0"});
}

TEST_F(ValidateLookupTest, ShardsAreAbsentOrTheIdentitys) {
  EXPECT_TRUE(Check({.shards = 2}).ok());
  Refuses(Check({.shards = 1}), {"shards", "1", "2"});
}

TEST_F(ValidateLookupTest, APinLasts30SecondsAtMost) {
  EXPECT_TRUE(Check({.pin_ms = 30'000}).ok());
  Refuses(Check({.pin_ms = 30'001}), {"pin_ms", "30001", "30000"});
}

TEST_F(ValidateLookupTest, OnlyAStagedLookupWaits) {
  Refuses(Check({.stage = true}), {"answer_by_ms", "stage"});
  Refuses(Check({.answer_by_ms = 5}), {"answer_by_ms", "stage"});
  const absl::Duration deadline = absl::Milliseconds(50);
  EXPECT_TRUE(Check({.stage = true, .answer_by_ms = 49, .until_deadline = deadline}).ok());
  Refuses(Check({.stage = true, .answer_by_ms = 50, .until_deadline = deadline}),
          {"answer_by_ms", "50"});
}

TEST_F(ValidateLookupTest, TheEstimateIsANumber) {
  Refuses(Check({.recompute_ms_per_token = -1}), {"recompute_ms_per_token"});
  Refuses(Check({.recompute_ms_per_token = std::numeric_limits<double>::quiet_NaN()}),
          {"recompute_ms_per_token"});
}

TEST(Advice, WeighsLoadingAgainstRecomputingWhatIsWanted) {
  storage::LookupResult result;
  result.boundary_tokens = 1000;
  result.predicted_load_ms = 100;
  EXPECT_EQ(AdviceFor(result, 0, 0), 0u) << "no estimate";
  EXPECT_EQ(AdviceFor(result, 0, 0.2), 1u);
  EXPECT_EQ(AdviceFor(result, 900, 0.2), 2u) << "only 100 tokens are wanted: 20 ms";
  EXPECT_EQ(AdviceFor(result, 1000, 0.2), 2u) << "nothing is wanted";
}

TEST(Deadline, TheAnswerLeavesTimeForItsWay) {
  const absl::Time arrival = absl::FromUnixSeconds(1000);
  const absl::Time deadline = arrival + absl::Milliseconds(100);
  const auto by = [&](uint32_t answer_by_ms, absl::Duration transfer) {
    return EffectiveAnswerBy(arrival, answer_by_ms, deadline, transfer) - arrival;
  };
  EXPECT_EQ(by(0, absl::ZeroDuration()), absl::Milliseconds(95));
  EXPECT_EQ(by(0, absl::Milliseconds(30)), absl::Milliseconds(70));
  EXPECT_EQ(by(40, absl::Milliseconds(30)), absl::Milliseconds(40));
  EXPECT_EQ(by(99, absl::Milliseconds(30)), absl::Milliseconds(70));
  EXPECT_EQ(by(0, absl::Seconds(9)), absl::ZeroDuration()) << "never before the arrival";
}

TEST(Ttl, MillisecondsAreRoundedUpToSeconds) {
  EXPECT_EQ(TtlSeconds(0), 0u);
  EXPECT_EQ(TtlSeconds(1), 1u);
  EXPECT_EQ(TtlSeconds(1000), 1u);
  EXPECT_EQ(TtlSeconds(UINT32_MAX), 4294968u);
}

}  // namespace
}  // namespace kvgate::gateway
