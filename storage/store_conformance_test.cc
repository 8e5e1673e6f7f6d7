// SPDX-License-Identifier: Apache-2.0
//
// What Store promises, on every kind of store that there is.
#include "proto/wire/checksum.h"
#include "storage/base/manual_clock.h"
#include "storage/io/memory_disk.h"
#include "storage/store_test_util.h"

namespace kvgate::storage {
namespace {

struct Kind {
  const char* name;
  absl::StatusOr<std::unique_ptr<Store>> (*open)(StoreOptions options, Clock* clock);
};

absl::StatusOr<std::unique_ptr<Store>> OpenMemoryOnly(StoreOptions options, Clock* clock) {
  return Store::OpenOn(options, clock, {});
}

absl::StatusOr<std::unique_ptr<Store>> OpenOnMemoryDisks(StoreOptions options, Clock* clock) {
  options.log.checkpoint = false;
  std::vector<std::unique_ptr<Disk>> disks;
  for (const char* name : {"a", "b"}) {
    disks.push_back(OpenMemoryDisk(MemoryMedium::Create(64 << 20), name));
  }
  return Store::OpenOn(options, clock, std::move(disks));
}

absl::StatusOr<std::unique_ptr<Store>> OpenOnFiles(StoreOptions options, Clock* clock) {
  static int opened = 0;
  const std::string base = ::testing::TempDir() + "/store" + std::to_string(opened++);
  options.log.directories = {base + "/a", base + "/b"};
  options.log.bytes_max = 128 << 20;
  return Store::Open(options, clock);
}

class StoreConformance : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override { Start(SmallOptions()); }

  void Start(const StoreOptions& options, uint32_t shards = 1, uint32_t groups = 1) {
    store_ = nullptr;
    auto store = GetParam().open(options, &clock_);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = std::move(*store);
    auto ns = store_->OpenNamespace("tenant", "", TestIdentity(shards, groups));
    ASSERT_TRUE(ns.ok()) << ns.status();
    ns_ = ns->id;
  }

  SetState PutChain(const std::vector<std::string>& keys, size_t bytes, uint8_t shard = 0,
                    uint8_t group = 0) {
    std::vector<std::string> values;
    SetRequest request;
    request.ns = ns_;
    request.shard = shard;
    request.group = group;
    for (const std::string& key : keys) values.push_back(ValueOf(key, shard, bytes));
    for (size_t i = 0; i < keys.size(); ++i) {
      request.items.push_back({keys[i], {BytesOf(values[i])}, std::nullopt, 0});
    }
    auto results = SetSync(*store_, request);
    EXPECT_TRUE(results.ok()) << results.status();
    for (const SetResult& result : *results) {
      if (result.state != SetState::kStored) return result.state;
    }
    return SetState::kStored;
  }

  LookupRequest LookupOf(const std::vector<std::string>& keys) {
    LookupRequest request;
    request.ns = ns_;
    LookupQuery query;
    query.keys = Views(keys);
    request.queries.push_back(query);
    return request;
  }

  ManualClock clock_;
  std::unique_ptr<Store> store_;
  NamespaceId ns_ = 0;
};

TEST_P(StoreConformance, AValueComesBackByteForByteWithItsChecksum) {
  for (const size_t bytes :
       {size_t{1}, size_t{4095}, size_t{4096}, size_t{65536}, size_t{1000001}}) {
    const std::string key = "key" + std::to_string(bytes);
    const std::string value = ValueOf(key, 1, bytes);
    EXPECT_EQ(PutOne(*store_, ns_, key, value).state, SetState::kStored);
    const GetResult got = GetOne(*store_, ns_, key);
    ASSERT_EQ(got.state, GetState::kOk);
    EXPECT_EQ(TextOf(got.block), value);
    EXPECT_EQ(got.block.value_crc(), wire::Crc32c(0, value.data(), value.size()));
  }
}

TEST_P(StoreConformance, AValueInPiecesIsOneValue) {
  const std::string value = ValueOf("pieces", 1, 100000);
  const std::string_view view = value;
  SetRequest request;
  request.ns = ns_;
  request.items = {
      {"pieces",
       {BytesOf(view.substr(0, 1)), BytesOf(view.substr(1, 70000)), BytesOf(view.substr(70001))},
       wire::Crc32c(0, value.data(), value.size()),
       0}};
  const auto results = SetSync(*store_, request);
  ASSERT_TRUE(results.ok());
  EXPECT_EQ(results->front().state, SetState::kStored);
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "pieces").block), value);
}

TEST_P(StoreConformance, AnUnknownKeyIsAMiss) {
  EXPECT_EQ(GetOne(*store_, ns_, "nobody").state, GetState::kMiss);
}

TEST_P(StoreConformance, NamespacesOfOtherTenantsAndIdentitiesDoNotMeet) {
  PutOne(*store_, ns_, "k", "mine");
  auto tenant = store_->OpenNamespace("other", "", TestIdentity());
  wire::Identity identity = TestIdentity();
  identity.weights_id = "weights-2";
  auto weights = store_->OpenNamespace("tenant", "", identity);
  ASSERT_TRUE(tenant.ok() && weights.ok());
  EXPECT_EQ(GetOne(*store_, tenant->id, "k").state, GetState::kMiss);
  EXPECT_EQ(GetOne(*store_, weights->id, "k").state, GetState::kMiss);
}

TEST_P(StoreConformance, OpenNamespaceIsIdempotentAndAnAliasKeepsItsIdentity) {
  auto first = store_->OpenNamespace("tenant", "prod", TestIdentity());
  auto again = store_->OpenNamespace("tenant", "prod", TestIdentity());
  ASSERT_TRUE(first.ok() && again.ok());
  EXPECT_EQ(first->id, ns_);
  EXPECT_EQ(again->id, ns_);
  wire::Identity other = TestIdentity();
  other.rope = "{}";
  const auto refused = store_->OpenNamespace("tenant", "prod", other);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()), ::testing::HasSubstr("rope"));
}

TEST_P(StoreConformance, IfAbsentKeepsTheFirstValueAndOverwriteReplacesIt) {
  PutOne(*store_, ns_, "k", "first");
  EXPECT_EQ(PutOne(*store_, ns_, "k", "second").state, SetState::kHeld);
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "k").block), "first");
  SetRequest overwrite;
  overwrite.mode = SetMode::kOverwrite;
  EXPECT_EQ(PutOne(*store_, ns_, "k", "third", overwrite).state, SetState::kStored);
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "k").block), "third");
}

TEST_P(StoreConformance, AProducerChecksumThatDoesNotMatchStoresNothingFromThereOn) {
  const std::string value = ValueOf("k", 1, 5000);
  const uint32_t right = wire::Crc32c(0, value.data(), value.size());
  SetRequest request;
  request.ns = ns_;
  request.items = {{"a", {BytesOf(value)}, right, 0},
                   {"b", {BytesOf(value)}, right ^ 1, 0},
                   {"c", {BytesOf(value)}, right, 0}};
  const auto results = SetSync(*store_, request);
  ASSERT_TRUE(results.ok());
  EXPECT_EQ((*results)[0].state, SetState::kStored);
  EXPECT_EQ((*results)[1].state, SetState::kDataLoss);
  EXPECT_EQ((*results)[2].state, SetState::kNotAdmitted);
  EXPECT_EQ(GetOne(*store_, ns_, "a").state, GetState::kOk);
  EXPECT_EQ(GetOne(*store_, ns_, "b").state, GetState::kMiss);
  EXPECT_EQ(GetOne(*store_, ns_, "c").state, GetState::kMiss);
}

TEST_P(StoreConformance, ADeletedKeyIsGoneAndMayBeSetAgain) {
  PutOne(*store_, ns_, "k", "old");
  DeleteRequest request;
  request.ns = ns_;
  request.keys = {"k", "never"};
  const auto found = DeleteSync(*store_, request);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(*found, ::testing::ElementsAre(true, false));
  EXPECT_EQ(GetOne(*store_, ns_, "k").state, GetState::kMiss);
  EXPECT_EQ(PutOne(*store_, ns_, "k", "new").state, SetState::kStored);
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "k").block), "new");
}

TEST_P(StoreConformance, DeleteOfOneShardLeavesTheOthers) {
  Start(SmallOptions(), /*shards=*/2);
  PutChain({"k"}, 100, 0);
  PutChain({"k"}, 100, 1);
  DeleteRequest request;
  request.ns = ns_;
  request.keys = {"k"};
  request.shard = 1;
  ASSERT_TRUE(DeleteSync(*store_, request).ok());
  EXPECT_EQ(GetOne(*store_, ns_, "k", 0).state, GetState::kOk);
  EXPECT_EQ(GetOne(*store_, ns_, "k", 1).state, GetState::kMiss);
}

TEST_P(StoreConformance, AnExpiredValueIsAMiss) {
  SetRequest request;
  request.ns = ns_;
  request.items = {{"k", {BytesOf("v")}, std::nullopt, 10}};
  ASSERT_TRUE(SetSync(*store_, request).ok());
  EXPECT_EQ(GetOne(*store_, ns_, "k").state, GetState::kOk);
  clock_.Advance(absl::Seconds(11));
  EXPECT_EQ(GetOne(*store_, ns_, "k").state, GetState::kMiss);
}

TEST_P(StoreConformance, PrefixOnlyEndsAtTheFirstMiss) {
  PutOne(*store_, ns_, "a", "1");
  PutOne(*store_, ns_, "c", "3");
  GetRequest request;
  request.ns = ns_;
  request.keys = {"a", "b", "c"};
  request.prefix_only = true;
  const auto results = GetSync(*store_, request);
  ASSERT_TRUE(results.ok());
  EXPECT_EQ((*results)[0].state, GetState::kOk);
  EXPECT_EQ((*results)[1].state, GetState::kMiss);
  EXPECT_EQ((*results)[2].state, GetState::kNotSent);
  EXPECT_FALSE((*results)[2].block);
}

TEST_P(StoreConformance, LookupCountsLeadingKeysAndRuns) {
  const auto keys = ChainKeys("chain", 6);
  PutChain({keys[0], keys[1], keys[2]}, 5000);
  PutChain({keys[4]}, 5000);
  const auto result = LookupSync(*store_, LookupOf(keys));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->groups[0].held, 3u);
  EXPECT_EQ(result->boundary_tokens, 48u);
  ASSERT_EQ(result->groups[0].runs.size(), 1u);
  EXPECT_EQ(result->groups[0].runs[0].count, 3u);
  EXPECT_EQ(result->groups[0].runs[0].value_bytes, 5000u);
  EXPECT_EQ(result->groups[0].runs[0].tier, Tier::kMemory);
  EXPECT_EQ(result->pin_token, 0u);
}

TEST_P(StoreConformance, MembershipGivesABitmapAndDoesNotBind) {
  const auto keys = ChainKeys("chain", 10);
  PutChain({keys[1]}, 100);
  PutChain({keys[9]}, 100);
  LookupRequest request = LookupOf(keys);
  request.queries[0].match = Match::kMembership;
  const auto result = LookupSync(*store_, request);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->groups[0].bitmap, std::string("\x02\x02", 2));
  EXPECT_EQ(result->boundary_tokens, 0u);
}

TEST_P(StoreConformance, AKeyIsHeldWhenAllItsShardsAre) {
  Start(SmallOptions(), /*shards=*/2);
  const auto keys = ChainKeys("chain", 3);
  PutChain(keys, 100, 0);
  PutChain({keys[0], keys[1]}, 100, 1);
  const auto result = LookupSync(*store_, LookupOf(keys));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->groups[0].held, 2u);
  EXPECT_EQ(result->groups[0].runs[0].value_bytes, 200u);
}

TEST_P(StoreConformance, SeveralGroupsMeetAtTheGreatestCommonBoundary) {
  Start(SmallOptions(), /*shards=*/1, /*groups=*/2);  // blocks of 16 and 32 tokens
  const auto full = ChainKeys("full", 8), window = ChainKeys("window", 4);
  PutChain({full.begin(), full.begin() + 7}, 100, 0, 0);
  PutChain({window[1], window[2]}, 100, 0, 1);  // tokens 32..96
  LookupRequest request = LookupOf(full);
  LookupQuery query;
  query.group = 1;
  query.keys = Views(window);
  query.match = Match::kWindow;
  query.window_blocks = 2;
  query.block_tokens = 32;
  request.queries[0].block_tokens = 16;
  request.queries.push_back(query);
  request.pin_ms = 1000;
  const auto result = LookupSync(*store_, request);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->boundary_tokens, 96u);
  EXPECT_EQ(result->groups[0].held, 7u);
  EXPECT_EQ(result->groups[1].first, 1u);
  EXPECT_EQ(result->groups[1].held, 2u);
  GetRequest get;
  get.ns = ns_;
  get.group = 1;
  get.handle = GetHandle{result->pin_token, 0, 4};
  const auto results = GetSync(*store_, get);
  ASSERT_TRUE(results.ok());
  EXPECT_EQ((*results)[0].state, GetState::kUnpinned);
  EXPECT_EQ(TextOf((*results)[1].block), ValueOf(window[1], 0, 100));
  EXPECT_EQ(TextOf((*results)[2].block), ValueOf(window[2], 0, 100));
  EXPECT_EQ((*results)[3].state, GetState::kUnpinned);
}

TEST_P(StoreConformance, FirstWantedCountsAsHeldAndIsNotPinned) {
  const auto keys = ChainKeys("chain", 4);
  PutChain({keys[2], keys[3]}, 100);
  LookupRequest request = LookupOf(keys);
  request.first_wanted_tokens = 40;  // two whole blocks
  request.pin_ms = 1000;
  const auto result = LookupSync(*store_, request);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->boundary_tokens, 64u);
  EXPECT_EQ(result->groups[0].runs[0].tier, Tier::kNone);
  EXPECT_EQ(result->groups[0].runs[0].count, 2u);
  GetRequest get;
  get.ns = ns_;
  get.handle = GetHandle{result->pin_token, 1, 2};
  const auto results = GetSync(*store_, get);
  ASSERT_TRUE(results.ok());
  EXPECT_EQ((*results)[0].state, GetState::kUnpinned);
  EXPECT_EQ((*results)[1].state, GetState::kOk);
}

TEST_P(StoreConformance, ATokenEndsByTimeAndByUnpinAndIsRenewedByPin) {
  const auto keys = ChainKeys("chain", 2);
  PutChain(keys, 100);
  LookupRequest request = LookupOf(keys);
  request.pin_ms = 1000;
  const uint64_t token = LookupSync(*store_, request)->pin_token;
  ASSERT_NE(token, 0u);
  GetRequest get;
  get.ns = ns_;
  get.handle = GetHandle{token, 0, 1};
  clock_.Advance(absl::Milliseconds(900));
  EXPECT_EQ(store_->Pin(ns_, token, 1000), 1000u);
  clock_.Advance(absl::Milliseconds(900));
  EXPECT_EQ(GetSync(*store_, get)->front().state, GetState::kOk);
  clock_.Advance(absl::Milliseconds(200));
  EXPECT_EQ(GetSync(*store_, get)->front().state, GetState::kStaleToken);
  EXPECT_EQ(store_->Pin(ns_, token, 1000), 0u);
  const uint64_t second = LookupSync(*store_, request)->pin_token;
  EXPECT_TRUE(store_->Unpin(ns_, second));
  EXPECT_FALSE(store_->Unpin(ns_, second));
  EXPECT_EQ(CounterOf(*store_, "pinned_memory_bytes"), 0);
}

TEST_P(StoreConformance, ATokenOfAnotherNamespaceIsStale) {
  const auto keys = ChainKeys("chain", 1);
  PutChain(keys, 100);
  LookupRequest request = LookupOf(keys);
  request.pin_ms = 1000;
  const uint64_t token = LookupSync(*store_, request)->pin_token;
  auto other = store_->OpenNamespace("other", "", TestIdentity());
  GetRequest get;
  get.ns = other->id;
  get.handle = GetHandle{token, 0, 1};
  EXPECT_EQ(GetSync(*store_, get)->front().state, GetState::kStaleToken);
}

TEST_P(StoreConformance, PinnedBytesHaveACapAndBeyondItThereIsNoToken) {
  const auto keys = ChainKeys("chain", 6);
  PutChain(keys, 512 << 10);  // 3 MiB of 8
  LookupRequest request = LookupOf(keys);
  request.pin_ms = 1000;
  const auto result = LookupSync(*store_, request);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->groups[0].held, 6u);
  EXPECT_EQ(result->pin_token, 0u);
  EXPECT_EQ(result->pin_ms, 0u);
}

TEST_P(StoreConformance, OfferAsksForWhatIsNeitherHeldNorOnItsWay) {
  PutOne(*store_, ns_, "held", "v");
  OfferRequest request;
  request.ns = ns_;
  request.keys = {"held", "new"};
  request.value_bytes = {1, 100};
  const auto first = store_->Offer(request);
  ASSERT_TRUE(first.ok());
  EXPECT_THAT(first->states, ::testing::ElementsAre(OfferState::kHeld, OfferState::kWanted));
  EXPECT_NE(first->ticket, 0u);
  const auto second = store_->Offer(request);
  EXPECT_THAT(second->states, ::testing::ElementsAre(OfferState::kHeld, OfferState::kPending));
  EXPECT_EQ(second->ticket, 0u);
  SetRequest set;
  set.ticket = first->ticket;
  EXPECT_EQ(PutOne(*store_, ns_, "new", "payload", set).state, SetState::kStored);
  EXPECT_THAT(store_->Offer(request)->states,
              ::testing::ElementsAre(OfferState::kHeld, OfferState::kHeld));
  EXPECT_EQ(CounterOf(*store_, "tickets_promised_bytes"), 0);
}

TEST_P(StoreConformance, AnUnusedTicketEndsAfterFiveSeconds) {
  OfferRequest request;
  request.ns = ns_;
  request.keys = {"new"};
  request.value_bytes = {100};
  ASSERT_NE(store_->Offer(request)->ticket, 0u);
  clock_.Advance(absl::Seconds(6));
  EXPECT_EQ(store_->Offer(request)->states[0], OfferState::kWanted);
}

TEST_P(StoreConformance, ScanSeesEveryBlockOnce) {
  std::vector<std::string> keys = ChainKeys("chain", 100);
  PutChain(keys, 100);
  std::vector<std::string> seen;
  std::string cursor;
  do {
    const auto page = store_->Scan(ns_, cursor, 7);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const ScanEntry& entry : page->entries) {
      seen.push_back(entry.key);
      EXPECT_EQ(entry.value_bytes, 100u);
      EXPECT_TRUE(entry.in_memory);
    }
    cursor = page->next_cursor;
  } while (!cursor.empty());
  EXPECT_THAT(seen, ::testing::UnorderedElementsAreArray(keys));
}

TEST_P(StoreConformance, TouchFindsTheLastKeyOnly) {
  const auto keys = ChainKeys("chain", 3);
  PutChain(keys, 100);
  EXPECT_TRUE(store_->Touch(ns_, keys[2], 0, {}));
  EXPECT_FALSE(store_->Touch(ns_, "nobody", 0, {}));
}

TEST_P(StoreConformance, BadArgumentsAreRefusedByFieldValueAndLimit) {
  const std::string long_key(1025, 'k');
  const auto message = [](const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  GetRequest get;
  get.ns = ns_;
  EXPECT_THAT(message(GetSync(*store_, get).status()), ::testing::HasSubstr("keys: 0"));
  get.keys = {long_key};
  EXPECT_THAT(message(GetSync(*store_, get).status()), ::testing::HasSubstr("1025 bytes"));
  get.keys.assign(1025, "k");
  EXPECT_THAT(message(GetSync(*store_, get).status()), ::testing::HasSubstr("1025"));
  get.keys = {"k"};
  get.shard = 1;
  EXPECT_THAT(message(GetSync(*store_, get).status()), ::testing::HasSubstr("shard = 1"));
  SetRequest set;
  set.ns = ns_;
  set.items = {{"k", {}, std::nullopt, 0}};
  EXPECT_THAT(message(SetSync(*store_, set).status()), ::testing::HasSubstr("value_bytes = 0"));
  GetRequest unknown;
  unknown.ns = 999;
  unknown.keys = {"k"};
  EXPECT_EQ(GetSync(*store_, unknown).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_P(StoreConformance, AfterCloseCallsAreRefusedAndReferencesStillHoldTheirBytes) {
  PutOne(*store_, ns_, "k", "value");
  const BlockRef block = GetOne(*store_, ns_, "k").block;
  ASSERT_TRUE(store_->Close(absl::Seconds(30)).ok());
  ASSERT_TRUE(store_->Close(absl::Seconds(30)).ok());
  GetRequest get;
  get.ns = ns_;
  get.keys = {"k"};
  EXPECT_EQ(GetSync(*store_, get).status().code(), absl::StatusCode::kUnavailable);
  store_ = nullptr;
  EXPECT_EQ(TextOf(block), "value");
}

INSTANTIATE_TEST_SUITE_P(Kinds, StoreConformance,
                         ::testing::Values(Kind{"MemoryOnly", OpenMemoryOnly},
                                           Kind{"LogOnMemoryDisks", OpenOnMemoryDisks},
                                           Kind{"LogOnFiles", OpenOnFiles}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace kvgate::storage
