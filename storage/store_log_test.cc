// SPDX-License-Identifier: Apache-2.0
//
// From the log into memory: shared, verified, late, dropped, moved, pinned and staged reads.
#include "storage/store_log_fixture.h"

namespace kvgate::storage {
namespace {

TEST_F(StoreLog, ABlockPushedOutOfMemoryComesBackFromDisk) {
  const std::string value = ValueOf("k", 1, 100000);
  const SetResult set = Put("k", value);
  EXPECT_EQ(set.state, SetState::kStored);
  EXPECT_EQ(set.durability, Durability::kLogged);
  PushOut("k");
  const GetResult first = GetOne(*store_, ns_, "k");
  EXPECT_EQ(first.tier, Tier::kDisk);
  EXPECT_EQ(TextOf(first.block), value);
  EXPECT_EQ(GetOne(*store_, ns_, "k").tier, Tier::kMemory);
}

TEST_F(StoreLog, GetsOfOneBlockShareOneRead) {
  Put("k", "value");
  PushOut("k");
  const uint64_t before = medium_->Reads();
  medium_->HoldReads(true);
  GetRequest request;
  request.ns = ns_;
  request.keys = {"k"};
  Answer<std::vector<GetResult>> first, second;
  store_->Get(request, first.callback());
  store_->Get(request, second.callback());
  medium_->ReleaseReads();
  EXPECT_EQ(TextOf(first.Wait()->front().block), "value");
  EXPECT_EQ(TextOf(second.Wait()->front().block), "value");
  EXPECT_EQ(medium_->Reads() - before, 1u);
}

TEST_F(StoreLog, AChangedBitIsReadAgainAndThenAMiss) {
  Put("once", "value");
  Put("always", "value");
  PushOut("once");
  PushOut("always");
  medium_->FlipReads(1);
  EXPECT_EQ(StateOf("once"), GetState::kOk);
  medium_->FlipReads(2);
  EXPECT_EQ(StateOf("always"), GetState::kCorrupt);
  EXPECT_EQ(StateOf("always"), GetState::kMiss);
  EXPECT_EQ(CounterOf(*store_, "corrupt_total"), 1);
}

TEST_F(StoreLog, ADeviceErrorIsAMissAndTheBlockStaysKnown) {
  Put("k", "value");
  PushOut("k");
  medium_->FailReads({absl::UnavailableError("EIO")});
  EXPECT_EQ(StateOf("k"), GetState::kIoError);
  EXPECT_EQ(StateOf("k"), GetState::kOk);
}

TEST_F(StoreLog, AReadThatTheDeviceHasNoTimeForIsNotReadyAndIsTriedByTheNextCall) {
  ASSERT_EQ(Put("a", ValueOf("a", 0, 100'000)).state, SetState::kStored);
  PushOut("a");
  medium_->FailReads({absl::ResourceExhaustedError("slower than the read has time")});
  EXPECT_EQ(StateOf("a"), GetState::kNotReady);
  EXPECT_EQ(StateOf("a"), GetState::kOk);
}

TEST_F(StoreLog, WhatIsNotThereByAnswerByIsNotReadyAndLandsInMemoryLater) {
  Put("a", "in memory");
  Put("k", "slow");
  PushOut("k");
  Put("a2", "in memory");
  medium_->HoldReads(true);
  GetRequest request;
  request.ns = ns_;
  request.keys = {"a2", "k"};
  request.answer_by = clock_.Now() + absl::Milliseconds(50);
  Answer<std::vector<GetResult>> answer;
  store_->Get(request, answer.callback());
  EXPECT_FALSE(answer.ready());
  clock_.Advance(absl::Milliseconds(51));
  const auto results = answer.Wait();
  ASSERT_TRUE(results.ok());
  EXPECT_EQ((*results)[0].state, GetState::kOk);
  EXPECT_EQ((*results)[1].state, GetState::kNotReady);
  const uint64_t reads = medium_->Reads();
  // A second call joins the read that goes on.
  Answer<std::vector<GetResult>> second;
  request.answer_by = absl::InfiniteFuture();
  store_->Get(request, second.callback());
  medium_->ReleaseReads();
  EXPECT_EQ(second.Wait()->at(1).state, GetState::kOk);
  EXPECT_EQ(medium_->Reads(), reads);
  EXPECT_EQ(GetOne(*store_, ns_, "k").tier, Tier::kMemory);
}

TEST_F(StoreLog, AReadDroppedAtOneDeadlineIsTriedAgainForALongerOne) {
  Put("k", "value");
  PushOut("k");
  medium_->FailReads({absl::DeadlineExceededError("dropped from the queue")});
  EXPECT_EQ(StateOf("k"), GetState::kOk);
}

TEST_F(StoreLog, AReadWhoseSegmentIsGoneLooksAgainOnce) {
  Put("moved", "value");
  Put("gone", "value");
  PushOut("moved");
  PushOut("gone");
  EXPECT_TRUE(store_->Touch(ns_, "moved", 0, {}));
  medium_->HoldReads(true);
  GetRequest request;
  request.ns = ns_;
  request.keys = {"gone", "moved"};
  Answer<std::vector<GetResult>> answer;
  store_->Get(request, answer.callback());  // marks both as hit; only one is reinserted
  log_->ReclaimAll(0);
  medium_->HoldReads(false);
  medium_->ReleaseReads();
  const auto results = answer.Wait();
  ASSERT_TRUE(results.ok());
  EXPECT_EQ((*results)[0].state, GetState::kMiss);
  EXPECT_EQ((*results)[1].state, GetState::kMiss);
}

TEST_F(StoreLog, AReadFollowsAReinsertedBlock) {
  Put("moved", "value");
  PushOut("moved");
  medium_->HoldReads(true);
  GetRequest request;
  request.ns = ns_;
  request.keys = {"moved"};
  Answer<std::vector<GetResult>> answer;
  store_->Get(request, answer.callback());
  log_->ReclaimAll(1000);
  medium_->HoldReads(false);
  medium_->ReleaseReads();
  EXPECT_EQ(TextOf(answer.Wait()->front().block), "value");
}

TEST_F(StoreLog, ADeleteDuringAReadWins) {
  Put("k", "value");
  PushOut("k");
  medium_->HoldReads(true);
  GetRequest get;
  get.ns = ns_;
  get.keys = {"k"};
  Answer<std::vector<GetResult>> answer;
  store_->Get(get, answer.callback());
  DeleteRequest request;
  request.ns = ns_;
  request.keys = {"k"};
  ASSERT_TRUE(DeleteSync(*store_, request).ok());
  medium_->HoldReads(false);
  medium_->ReleaseReads();
  EXPECT_EQ(answer.Wait()->front().state, GetState::kMiss);
  EXPECT_EQ(StateOf("k"), GetState::kMiss);
}

TEST_F(StoreLog, AnOverwriteDuringAReadIsNotUndoneByIt) {
  Put("k", "old");
  PushOut("k");
  medium_->HoldReads(true);
  GetRequest get;
  get.ns = ns_;
  get.keys = {"k"};
  Answer<std::vector<GetResult>> answer;
  store_->Get(get, answer.callback());
  EXPECT_EQ(Put("k", "new", Durability::kLogged, SetMode::kOverwrite).state, SetState::kStored);
  medium_->HoldReads(false);
  medium_->ReleaseReads();
  ASSERT_TRUE(answer.Wait().ok());
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "k").block), "new");
}

TEST_F(StoreLog, APinnedBlockOnDiskSurvivesReclaimOutsideTheBudget) {
  const auto keys = ChainKeys("chain", 2);
  PutChain(keys, 1000);
  PushOut(keys[0]);
  PushOut(keys[1]);
  LookupRequest request;
  request.ns = ns_;
  request.queries.resize(1);
  request.queries[0].keys = Views(keys);
  request.pin_ms = 1000;
  const auto result = LookupSync(*store_, request);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->groups[0].runs[0].tier, Tier::kDisk);
  EXPECT_GT(result->predicted_load_ms, 0);
  ASSERT_NE(result->pin_token, 0u);
  log_->ReclaimAll(0);
  GetRequest get;
  get.ns = ns_;
  get.handle = GetHandle{result->pin_token, 0, 2};
  const auto results = GetSync(*store_, get);
  ASSERT_TRUE(results.ok());
  EXPECT_EQ(TextOf((*results)[0].block), ValueOf(keys[0], 0, 1000));
  EXPECT_EQ(TextOf((*results)[1].block), ValueOf(keys[1], 0, 1000));
  // By key as well, although the handle knew only a checksum of the key.
  EXPECT_EQ(GetOne(*store_, ns_, keys[0]).tier, Tier::kMemory);
}

TEST_F(StoreLog, PinnedBlocksStayInMemoryUntilTheTokenEnds) {
  const auto keys = ChainKeys("chain", 2);
  PutChain(keys, 100000);
  LookupRequest request;
  request.ns = ns_;
  request.queries.resize(1);
  request.queries[0].keys = Views(keys);
  request.pin_ms = 1000;
  const auto result = LookupSync(*store_, request);
  ASSERT_NE(result->pin_token, 0u);
  for (int i = 0; i < 30; ++i) {
    Put("other" + std::to_string(i), ValueOf("o", 0, 512 << 10));
  }
  EXPECT_TRUE(InMemory(keys[0]));
  EXPECT_TRUE(InMemory(keys[1]));
  clock_.Advance(absl::Seconds(2));
  PushOut(keys[0]);
}

TEST_F(StoreLog, AChainPinnedOnDiskMayBeLargerThanMemoryAndIsLoadedInBatches) {
  options_.log.bytes_max = uint64_t{1} << 30;  // 51 MiB of pins on disk, 2 MiB in memory
  Restart();
  const auto keys = ChainKeys("chain", 24);
  for (const auto& key : keys) {
    ASSERT_EQ(Put(key, ValueOf(key, 0, 512 << 10)).durability, Durability::kLogged);
  }
  for (const auto& key : keys) PushOut(key);
  LookupRequest request;
  request.ns = ns_;
  request.queries.resize(1);
  request.queries[0].keys = Views(keys);
  request.pin_ms = 30000;
  const auto pinned = LookupSync(*store_, request);
  ASSERT_TRUE(pinned.ok());
  ASSERT_NE(pinned->pin_token, 0u);
  EXPECT_EQ(CounterOf(*store_, "pinned_disk_bytes"), 24 * (512 << 10));
  for (int round = 0; round < 2; ++round) {
    for (uint32_t first = 0; first < keys.size(); first += 4) {
      GetRequest get;
      get.ns = ns_;
      get.handle = GetHandle{pinned->pin_token, first, 4};
      const auto results = GetSync(*store_, get);
      ASSERT_TRUE(results.ok());
      for (uint32_t i = 0; i < 4; ++i) {
        ASSERT_EQ(TextOf((*results)[i].block), ValueOf(keys[first + i], 0, 512 << 10));
      }
    }
    for (int i = 0; i < 8; ++i) {
      const std::string other = "other" + std::to_string(round * 8 + i);
      EXPECT_EQ(Put(other, ValueOf(other, 0, 512 << 10)).state, SetState::kStored);
    }
  }
  // What others need is taken down to the cap and not below it.
  for (int i = 0; i < 24; ++i) {
    const std::string more = "more" + std::to_string(i);
    EXPECT_EQ(Put(more, ValueOf(more, 0, 512 << 10)).state, SetState::kStored);
  }
  EXPECT_EQ(CounterOf(*store_, "pinned_memory_bytes"), 2 << 20);
  EXPECT_EQ(CounterOf(*store_, "pinned_disk_bytes"), 20 * (512 << 10));
}

TEST_F(StoreLog, WhatAStagedTokenPinsStaysWhilePinnedBlocksOfDiskComeAndGo) {
  options_.log.bytes_max = uint64_t{1} << 30;
  Restart();
  const auto keys = ChainKeys("chain", 24);
  for (const auto& key : keys) {
    ASSERT_EQ(Put(key, ValueOf(key, 0, 512 << 10)).durability, Durability::kLogged);
  }
  for (const auto& key : keys) PushOut(key);
  LookupRequest request;
  request.ns = ns_;
  request.queries.resize(1);
  request.queries[0].keys = Views(keys);
  request.pin_ms = 30000;
  const auto on_disk = LookupSync(*store_, request);
  ASSERT_NE(on_disk->pin_token, 0u);
  request.stage = true;
  request.queries[0].keys.resize(3);
  const auto staged = LookupSync(*store_, request);
  ASSERT_TRUE(staged.ok());
  ASSERT_EQ(staged->groups[0].held, 3u);
  ASSERT_NE(staged->pin_token, 0u);
  for (uint32_t first = 3; first < keys.size(); ++first) {
    GetRequest get;
    get.ns = ns_;
    get.handle = GetHandle{on_disk->pin_token, first, 1};
    ASSERT_EQ(GetSync(*store_, get)->front().state, GetState::kOk);
  }
  for (int i = 0; i < 20; ++i) Put("other" + std::to_string(i), ValueOf("o", 0, 512 << 10));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(InMemory(keys[i])) << i;
  // The cap is in use up to its last block: a second staged chain of that size gets no token.
  request.queries[0].keys = {keys[3], keys[4]};
  const auto refused = LookupSync(*store_, request);
  ASSERT_TRUE(refused.ok());
  EXPECT_EQ(refused->groups[0].held, 2u);
  EXPECT_EQ(refused->pin_token, 0u);
}

TEST_F(StoreLog, BlocksThatSomebodyHoldsStayInMemory) {
  Put("k", ValueOf("k", 0, 100000));
  BlockRef block = GetOne(*store_, ns_, "k").block;
  for (int i = 0; i < 30; ++i) {
    Put("other" + std::to_string(i), ValueOf("o", 0, 512 << 10));
  }
  EXPECT_TRUE(InMemory("k"));
  block = BlockRef();
  PushOut("k");
}

TEST_F(StoreLog, AStagedLookupBringsTheChainIntoMemoryAndPinsIt) {
  const auto keys = ChainKeys("chain", 3);
  PutChain(keys, 1000);
  for (const auto& key : keys) PushOut(key);
  LookupRequest request;
  request.ns = ns_;
  request.queries.resize(1);
  request.queries[0].keys = Views(keys);
  request.pin_ms = 1000;
  request.stage = true;
  const auto result = LookupSync(*store_, request);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->groups[0].held, 3u);
  EXPECT_EQ(result->groups[0].runs[0].tier, Tier::kMemory);
  EXPECT_EQ(result->boundary_tokens, 48u);
  ASSERT_NE(result->pin_token, 0u);
  for (const auto& key : keys) EXPECT_TRUE(InMemory(key));
}

TEST_F(StoreLog, AStagedLookupCountsOnlyWhatCameByAnswerBy) {
  const auto keys = ChainKeys("chain", 2);
  PutChain(keys, 1000);
  PushOut(keys[0]);
  PushOut(keys[1]);
  EXPECT_EQ(StateOf(keys[0]), GetState::kOk);  // the head is in memory again
  medium_->HoldReads(true);
  LookupRequest request;
  request.ns = ns_;
  request.queries.resize(1);
  request.queries[0].keys = Views(keys);
  request.pin_ms = 1000;
  request.stage = true;
  request.answer_by = clock_.Now() + absl::Milliseconds(20);
  Answer<LookupResult> answer;
  store_->Lookup(request, answer.callback());
  EXPECT_FALSE(answer.ready());
  clock_.Advance(absl::Milliseconds(21));
  const auto result = answer.Wait();
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->groups[0].held, 1u);
  EXPECT_EQ(result->boundary_tokens, 16u);
  EXPECT_NE(result->pin_token, 0u);
}

TEST_F(StoreLog, EveryAliasOfAnIdentityKeepsItOverARestart) {
  for (const char* alias : {"prod", "canary"}) {
    ASSERT_TRUE(store_->OpenNamespace("tenant", alias, TestIdentity()).ok());
  }
  Restart();
  wire::Identity other = TestIdentity();
  other.layout = "another";
  for (const char* alias : {"prod", "canary"}) {
    const auto refused = store_->OpenNamespace("tenant", alias, other);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition) << alias;
    const auto again = store_->OpenNamespace("tenant", alias, TestIdentity());
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->id, ns_);
    EXPECT_EQ(again->alias, "prod");
  }
}

TEST_F(StoreLog, ATenantHasABoundedNumberOfNamespaces) {
  options_.namespaces_a_tenant_max = 2;
  Restart();
  wire::Identity identity = TestIdentity();
  for (const char* layout : {"b", "c"}) {
    identity.layout = layout;
    const bool fits = layout == std::string("b");
    const auto opened = store_->OpenNamespace("tenant", "", identity);
    EXPECT_EQ(opened.ok(), fits) << opened.status();
    EXPECT_TRUE(store_->OpenNamespace("another", "", identity).ok());
  }
  EXPECT_TRUE(store_->OpenNamespace("tenant", "", TestIdentity()).ok());
}

// `layout` makes it another identity.
wire::Identity IdentityOf(const std::string& layout) {
  wire::Identity identity = TestIdentity();
  identity.layout = layout;
  return identity;
}

TEST_F(StoreLog, AtTheLimitAnIdleEmptyNamespaceMakesRoom) {
  options_.namespaces_a_tenant_max = 3;  // one is the fixture's
  options_.namespace_idle_s = 100;
  Restart();
  const auto named = store_->OpenNamespace("tenant", "name", IdentityOf("named"));
  const auto empty = store_->OpenNamespace("tenant", "", IdentityOf("empty"));
  ASSERT_TRUE(named.ok() && empty.ok());
  clock_.Advance(absl::Seconds(99));
  EXPECT_EQ(store_->OpenNamespace("tenant", "", IdentityOf("next")).status().code(),
            absl::StatusCode::kResourceExhausted);
  clock_.Advance(absl::Seconds(1));
  const auto next = store_->OpenNamespace("tenant", "", IdentityOf("next"));
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_NE(next->id, empty->id);
  EXPECT_EQ(store_->OpenNamespace("tenant", "name", IdentityOf("other")).status().code(),
            absl::StatusCode::kFailedPrecondition);
  // Who comes back gets the same id, now and after a restart.
  clock_.Advance(absl::Seconds(100));
  EXPECT_EQ(store_->OpenNamespace("tenant", "", IdentityOf("empty"))->id, empty->id);
  Restart();
  EXPECT_EQ(store_->OpenNamespace("tenant", "", IdentityOf("empty"))->id, empty->id);
}

TEST_F(StoreLog, WhatHoldsBlocksOrWasUsedIsNotCollected) {
  options_.namespaces_a_tenant_max = 2;
  options_.namespace_idle_s = 100;
  Restart();
  ASSERT_EQ(Put("k", "value").state, SetState::kStored);
  const auto second = store_->OpenNamespace("tenant", "", IdentityOf("second"));
  ASSERT_TRUE(second.ok());
  clock_.Advance(absl::Seconds(1000));
  (void)store_->Touch(second->id, "k", 0, {});
  EXPECT_FALSE(store_->OpenNamespace("tenant", "", IdentityOf("third")).ok());
  clock_.Advance(absl::Seconds(100));
  EXPECT_TRUE(store_->OpenNamespace("tenant", "", IdentityOf("third")).ok());
  EXPECT_EQ(StateOf("k"), GetState::kOk);
}

TEST_F(StoreLog, TheLogKnowsABoundedNumberOfNamespaces) {
  options_.namespaces_max = 2;
  options_.namespace_idle_s = 1;
  Restart();
  int opened = 1;  // the fixture's
  for (int i = 0; i < 20; ++i) {
    clock_.Advance(absl::Seconds(1));
    opened += store_->OpenNamespace("tenant", "", IdentityOf(std::to_string(i))).ok();
  }
  EXPECT_EQ(opened, 8);
  EXPECT_TRUE(store_->OpenNamespace("tenant", "", IdentityOf("3")).ok());
}

TEST_F(StoreLog, AnIdentityHasABoundedNumberOfAliases) {
  for (size_t i = 0; i < kAliasesMax; ++i) {
    ASSERT_TRUE(store_->OpenNamespace("tenant", "a" + std::to_string(i), TestIdentity()).ok());
  }
  EXPECT_EQ(store_->OpenNamespace("tenant", "more", TestIdentity()).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(store_->OpenNamespace("tenant", "a7", TestIdentity()).ok());
}

TEST_F(StoreLog, AnIndexThatFillsUpAsksTheLogForAReclaim) {
  options_.index_blocks_max = 32;
  Restart();
  for (int i = 0; i < 31; ++i) Put("k" + std::to_string(i), "value");
  EXPECT_GE(medium_->ReclaimsAsked(), 1u);
  EXPECT_EQ(Put("k31", "value").state, SetState::kStored);
  EXPECT_EQ(Put("one too many", "value").state, SetState::kNoSpace);
  EXPECT_EQ(Put("k7", "other", Durability::kLogged, SetMode::kOverwrite).state, SetState::kStored);
  log_->ReclaimAll(0);
  EXPECT_EQ(Put("one too many", "value").state, SetState::kStored);
}

TEST_F(StoreLog, AnIndexFullOfBlocksInMemoryOnlyLeavesTheDiskAlone) {
  options_.index_blocks_max = 32;
  Restart();
  for (int i = 0; i < 5; ++i) Put("kept" + std::to_string(i), "value");
  for (int i = 0; i < 26; ++i) Put("k" + std::to_string(i), "value", Durability::kVolatile);
  EXPECT_EQ(medium_->ReclaimsAsked(), 0u);
  for (int i = 0; i < 40; ++i) Put("more" + std::to_string(i), "value", Durability::kVolatile);
  EXPECT_EQ(medium_->ReclaimsAsked(), 0u);
  EXPECT_EQ(StateOf("kept0"), GetState::kOk);
}

TEST_F(StoreLog, AFullIndexGivesUpColdBlocksThatAreOnlyInMemory) {
  options_.index_blocks_max = 32;
  Restart();
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(Put("k" + std::to_string(i), "value", Durability::kVolatile).state,
              SetState::kStored);
  }
  EXPECT_EQ(StateOf("k0"), GetState::kMiss);
  EXPECT_EQ(StateOf("k39"), GetState::kOk);
  EXPECT_EQ(CounterOf(*store_, "index_entries"), 32);
}

TEST_F(StoreLog, CloseAnswersCallsThatWaitForADeadDisk) {
  Put("k", "value");
  PushOut("k");
  medium_->HoldReads(true);
  GetRequest request;
  request.ns = ns_;
  request.keys = {"k"};
  Answer<std::vector<GetResult>> answer;
  store_->Get(request, answer.callback());
  ASSERT_TRUE(store_->Close(absl::Milliseconds(1)).ok());
  EXPECT_EQ(answer.Wait()->front().state, GetState::kNotReady);
}

}  // namespace
}  // namespace kvgate::storage
