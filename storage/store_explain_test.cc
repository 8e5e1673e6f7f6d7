// SPDX-License-Identifier: Apache-2.0
//
// A miss has a reason that people can ask for; a request's use and a namespace's use are told.
#include "storage/store_history.h"
#include "storage/store_log_fixture.h"

namespace kvgate::storage {
namespace {

class StoreExplain : public StoreLog {
 protected:
  Explanation Explain(std::string_view key) {
    auto explanation = store_->Explain(ns_, key);
    EXPECT_TRUE(explanation.ok()) << explanation.status();
    return explanation.ok() ? *explanation : Explanation{};
  }
  // The newest reason, or 0.
  int Reason(std::string_view key) {
    const Explanation explanation = Explain(key);
    return explanation.events.empty() ? 0 : static_cast<int>(explanation.events[0].departure);
  }
};

TEST_F(StoreExplain, AHeldBlockIsToldWithTierAndSize) {
  Put("k", "value");
  const Explanation explanation = Explain("k");
  ASSERT_EQ(explanation.held.size(), 1u);
  EXPECT_TRUE(explanation.held[0].in_memory);
  EXPECT_TRUE(explanation.held[0].on_disk);
  EXPECT_EQ(explanation.held[0].value_bytes, 5u);
  EXPECT_TRUE(explanation.events.empty());
}

TEST_F(StoreExplain, AKeyThatWasNeverStoredHasNoEventSinceTheStart) {
  const Explanation explanation = Explain("never");
  EXPECT_TRUE(explanation.held.empty());
  EXPECT_TRUE(explanation.events.empty());
  EXPECT_LE(explanation.remembered_since, clock_.Now());
}

TEST_F(StoreExplain, EachWayToLeaveIsTold) {
  Put("deleted", "value");
  DeleteRequest request;
  request.ns = ns_;
  request.keys = {"deleted"};
  ASSERT_TRUE(DeleteSync(*store_, request).ok());
  EXPECT_EQ(Reason("deleted"), static_cast<int>(Departure::kDeleted));

  Put("volatile", "value", Durability::kVolatile);
  PushOut("volatile");
  EXPECT_EQ(Reason("volatile"), static_cast<int>(Departure::kEvicted));

  Put("reclaimed", "value");
  PushOut("reclaimed");
  log_->ReclaimAll(0);
  EXPECT_EQ(Reason("reclaimed"), static_cast<int>(Departure::kReclaimed));

  Put("corrupt", "value");
  PushOut("corrupt");
  medium_->FlipReads(2);
  EXPECT_EQ(StateOf("corrupt"), GetState::kCorrupt);
  EXPECT_EQ(Reason("corrupt"), static_cast<int>(Departure::kCorrupt));

  const std::string large(2 << 20, 'x');  // over the log's limit
  EXPECT_EQ(Put("large", large).state, SetState::kTooLarge);
  EXPECT_EQ(Reason("large"), static_cast<int>(Departure::kRefused));
}

TEST_F(StoreExplain, AnExpiredBlockIsTold) {
  SetRequest request;
  request.ns = ns_;
  request.items = {{"k", {BytesOf("value")}, std::nullopt, 5}};
  ASSERT_TRUE(SetSync(*store_, request).ok());
  EXPECT_EQ(Explain("k").held[0].expires_in_s, 5u);
  clock_.Advance(absl::Seconds(6));
  // Also when nobody has asked for it since.
  EXPECT_EQ(Reason("k"), static_cast<int>(Departure::kExpired));
  EXPECT_EQ(CounterOf(*store_, "expired_total"), 1);
  EXPECT_EQ(StateOf("k"), GetState::kMiss);
  EXPECT_EQ(Reason("k"), static_cast<int>(Departure::kExpired));
}

TEST_F(StoreExplain, ABlockThatCameAfterTheDeadlineIsTold) {
  Put("k", "value");
  PushOut("k");
  medium_->HoldReads(true);
  GetRequest request;
  request.ns = ns_;
  request.keys = {"k"};
  request.answer_by = clock_.Now() + absl::Milliseconds(5);
  Answer<std::vector<GetResult>> answer;
  store_->Get(request, answer.callback());
  clock_.Advance(absl::Milliseconds(10));
  ASSERT_TRUE(answer.Wait().ok());
  medium_->HoldReads(false);
  medium_->ReleaseReads();
  while (CounterOf(*store_, "loads_in_flight") > 0) std::this_thread::yield();
  EXPECT_EQ(Reason("k"), static_cast<int>(Departure::kLate));
  EXPECT_EQ(Explain("k").held.size(), 1u);
}

TEST_F(StoreExplain, AnotherIdentityThatHoldsTheKeyIsNamedWithTheFieldThatDiffers) {
  wire::Identity other = TestIdentity();
  other.weights_id = "weights-2";
  const auto there = store_->OpenNamespace("tenant", "prod", other);
  ASSERT_TRUE(there.ok());
  PutOne(*store_, there->id, "k", "value");
  const Explanation explanation = Explain("k");
  ASSERT_EQ(explanation.elsewhere.size(), 1u);
  EXPECT_EQ(explanation.elsewhere[0].alias, "prod");
  EXPECT_EQ(explanation.elsewhere[0].field, "weights_id");
  EXPECT_EQ(explanation.elsewhere[0].here, "weights-1");
  EXPECT_EQ(explanation.elsewhere[0].there, "weights-2");
}

TEST_F(StoreExplain, AnotherTenantsBlockIsNeverToldOf) {
  const auto there = store_->OpenNamespace("another tenant", "", TestIdentity());
  ASSERT_TRUE(there.ok());
  PutOne(*store_, there->id, "k", "value");
  EXPECT_TRUE(Explain("k").elsewhere.empty());
}

// The check that the origin project made of a peer: memory a token is
// 2 (K and V) x layers x KV heads x head dimension x bytes an element.
TEST_F(StoreExplain, BytesATokenOfARequestFollowFromTheModel) {
  constexpr uint64_t kLayers = 16, kKvHeads = 4, kHeadDim = 64, kElementBytes = 2;
  constexpr uint64_t kBytesAToken = 2 * kLayers * kKvHeads * kHeadDim * kElementBytes;
  constexpr uint64_t kBlockTokens = 16;  // of TestIdentity's group 0
  const std::vector<std::string> keys = ChainKeys("request", 5);
  PutChain(keys, kBytesAToken * kBlockTokens);
  // A Set names one parent; a chain of one call is linked by its order.
  EXPECT_TRUE(
      store_->Touch(ns_, keys.back(), 0, {.prompt_tokens = 80, .output_tokens = 3, .turn = 2}));
  const std::vector<RequestUse> recent = store_->RecentRequests(10);
  ASSERT_EQ(recent.size(), 1u);
  EXPECT_EQ(recent[0].blocks, 5u);
  EXPECT_EQ(recent[0].tokens, 5 * kBlockTokens);
  EXPECT_EQ(recent[0].bytes / recent[0].tokens, kBytesAToken);
  EXPECT_EQ(recent[0].prompt_tokens, 80u);
  EXPECT_EQ(recent[0].turn, 2u);
}

TEST_F(StoreExplain, HitsAreCountedInTokensByTierAndInTheTimeTheySave) {
  const std::vector<std::string> keys = ChainKeys("c", 3);
  PutChain(keys, 1000);
  LookupRequest lookup;
  lookup.ns = ns_;
  lookup.queries = {{.group = 0, .keys = Views(keys), .block_tokens = 16}};
  lookup.recompute_ms_per_token = 0.5;
  ASSERT_TRUE(LookupSync(*store_, lookup).ok());
  GetOne(*store_, ns_, keys[0]);
  PushOut(keys[1]);
  GetOne(*store_, ns_, keys[1]);
  EXPECT_EQ(CounterOf(*store_, "hit_tokens_memory_total"), 16);
  EXPECT_EQ(CounterOf(*store_, "hit_tokens_disk_total"), 16);
  EXPECT_EQ(CounterOf(*store_, "recompute_saved_us_total"), 2 * 16 * 500);
  const std::vector<NamespaceUse> uses = store_->NamespaceUses();
  ASSERT_EQ(uses.size(), 1u);
  EXPECT_EQ(uses[0].lookups, 1u);
  EXPECT_EQ(uses[0].keys_asked, 3u);
  EXPECT_EQ(uses[0].keys_held, 3u);
  EXPECT_EQ(uses[0].hit_tokens_memory, 16u);
}

TEST_F(StoreExplain, TheAgeOfWhatIsEvictedIsTheTimeSinceItsLastUse) {
  Put("k", "value", Durability::kVolatile);
  clock_.Advance(absl::Seconds(50));
  GetOne(*store_, ns_, "k");
  clock_.Advance(absl::Seconds(7));
  PushOut("k");
  EXPECT_EQ(CounterOf(*store_, "eviction_age_seconds_total"), 7);
}

TEST(History, ForgetsTheOldestAndSaysSinceWhenItIsWhole) {
  const absl::Time start = absl::FromUnixSeconds(1000);
  History history(start, /*departures_max=*/4);
  const BlockId id{1, wire::Hash128{7, 7}, 0, 0};
  history.RecordDeparture(id, Departure::kEvicted, start + absl::Seconds(1));
  for (int i = 2; i <= 5; ++i) {
    history.RecordDeparture({1, wire::Hash128{static_cast<uint64_t>(i), 0}, 0, 0},
                            Departure::kEvicted, start + absl::Seconds(i));
  }
  Explanation explanation;
  history.Explain(1, id.hash, &explanation);
  EXPECT_TRUE(explanation.events.empty());
  EXPECT_EQ(explanation.remembered_since, start + absl::Seconds(1));
}

}  // namespace
}  // namespace kvgate::storage
