// SPDX-License-Identifier: Apache-2.0
//
// The store and its log, with a log that the test holds by the hand.
#include "storage/fake_log.h"
#include "storage/store_impl.h"
#include "storage/store_test_util.h"

namespace kvgate::storage {
namespace {

using ::testing::ElementsAre;

class StoreLog : public ::testing::Test {
 protected:
  void SetUp() override { Restart(); }
  void TearDown() override {
    medium_->HoldReads(false);
    medium_->HoldAppends(false);
    medium_->ReleaseReads();
    medium_->ReleaseAppends();
  }

  void Restart(uint32_t shards = 1) {
    store_ = nullptr;
    auto store = std::make_unique<StoreImpl>(options_, &clock_);
    const absl::Status status = store->Start(
        [this](LogOwner* owner) -> absl::StatusOr<std::unique_ptr<Log>> {
          auto log = std::make_unique<FakeLog>(medium_, owner);
          log_ = log.get();
          return log;
        },
        {});
    ASSERT_TRUE(status.ok()) << status;
    store_ = std::move(store);
    auto ns = store_->OpenNamespace("tenant", "", TestIdentity(shards));
    ASSERT_TRUE(ns.ok()) << ns.status();
    ns_ = ns->id;
  }

  SetResult Put(std::string_view key, std::string_view value,
                Durability durability = Durability::kLogged, SetMode mode = SetMode::kIfAbsent) {
    SetRequest request;
    request.durability = durability;
    request.mode = mode;
    return PutOne(*store_, ns_, key, value, request);
  }

  // Values of one chain, in the log.
  void PutChain(const std::vector<std::string>& keys, size_t bytes) {
    SetRequest request;
    request.ns = ns_;
    request.durability = Durability::kLogged;
    std::vector<std::string> values;
    for (const std::string& key : keys) values.push_back(ValueOf(key, 0, bytes));
    for (size_t i = 0; i < keys.size(); ++i) {
      request.items.push_back({keys[i], {BytesOf(values[i])}, std::nullopt, 0});
    }
    const auto results = SetSync(*store_, request);
    ASSERT_TRUE(results.ok());
    for (const SetResult& result : *results) ASSERT_EQ(result.state, SetState::kStored);
  }

  bool InMemory(std::string_view key) {
    const auto page = store_->Scan(ns_, "", 1024);
    EXPECT_TRUE(page.ok() && page->next_cursor.empty());
    for (const ScanEntry& entry : page->entries) {
      if (entry.key == key) return entry.in_memory;
    }
    return false;
  }

  // Fills memory with other blocks until this one has left it.
  void PushOut(std::string_view key) {
    for (int i = 0; i < 200 && InMemory(key); ++i) {
      const std::string filler = "filler" + std::to_string(fillers_++);
      ASSERT_EQ(Put(filler, ValueOf(filler, 0, 512 << 10)).state, SetState::kStored);
    }
    ASSERT_FALSE(InMemory(key));
  }

  GetState StateOf(std::string_view key) { return GetOne(*store_, ns_, key).state; }

  StoreOptions options_ = SmallOptions();
  ManualClock clock_;
  std::shared_ptr<FakeLog::Medium> medium_ = std::make_shared<FakeLog::Medium>();
  std::unique_ptr<Store> store_;
  FakeLog* log_ = nullptr;  // the store's
  NamespaceId ns_ = 0;
  int fillers_ = 0;
};

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

TEST_F(StoreLog, LoggedIsAnsweredWhenTheAppendEnded) {
  medium_->HoldAppends(true);
  SetRequest request;
  request.ns = ns_;
  request.durability = Durability::kLogged;
  request.items = {{"k", {BytesOf("value")}, std::nullopt, 0}};
  Answer<std::vector<SetResult>> answer;
  store_->Set(request, answer.callback());
  EXPECT_FALSE(answer.ready());
  EXPECT_EQ(StateOf("k"), GetState::kOk);  // visible before it is durable
  medium_->HoldAppends(false);
  medium_->ReleaseAppends();
  EXPECT_EQ(answer.Wait()->front().durability, Durability::kLogged);
}

TEST_F(StoreLog, LoggedTimesOutAtAnswerByAndTheValueStaysInMemory) {
  medium_->HoldAppends(true);
  SetRequest request;
  request.ns = ns_;
  request.durability = Durability::kDevice;
  request.items = {{"k", {BytesOf("value")}, std::nullopt, 0}};
  request.answer_by = clock_.Now() + absl::Milliseconds(10);
  Answer<std::vector<SetResult>> answer;
  store_->Set(request, answer.callback());
  clock_.Advance(absl::Milliseconds(11));
  EXPECT_EQ(answer.Wait()->front().state, SetState::kTimedOut);
  EXPECT_EQ(StateOf("k"), GetState::kOk);
}

TEST_F(StoreLog, BufferedIsTheDefaultAndDoesNotWait) {
  medium_->HoldAppends(true);
  const SetResult result = Put("k", "value", Durability::kDefault);
  EXPECT_EQ(result.state, SetState::kStored);
  EXPECT_EQ(result.durability, Durability::kBuffered);
}

TEST_F(StoreLog, AFullQueueGrantsVolatileAndTheValueFollowsLater) {
  medium_->HoldAppends(true);
  const std::string big = ValueOf("x", 0, 1 << 20);
  SetRequest request;
  request.durability = Durability::kBuffered;
  request.answer_by = clock_.Now();  // does not wait for room
  for (const char* key : {"b0", "b1", "b2"}) {
    EXPECT_EQ(PutOne(*store_, ns_, key, big, request).durability, Durability::kBuffered);
  }
  // The queue's limit is half of 8 MiB: a fourth value does not fit with its overhead.
  const SetResult refused = PutOne(*store_, ns_, "late", big, request);
  EXPECT_EQ(refused.state, SetState::kStored);
  EXPECT_EQ(refused.durability, Durability::kVolatile);
  medium_->HoldAppends(false);
  medium_->ReleaseAppends();
  EXPECT_EQ(Put("after", "x").durability, Durability::kLogged);
  ASSERT_TRUE(store_->Close(absl::Seconds(30)).ok());
  std::vector<std::string> keys;
  for (const auto& record : medium_->Records()) keys.push_back(record.key);
  EXPECT_THAT(keys, ::testing::Contains("late"));
}

TEST_F(StoreLog, AboveAQuarterOfTheQueueBufferedWaitsForTheWriteOrForAnswerBy) {
  medium_->HoldAppends(true);
  const std::string big = ValueOf("x", 0, 1 << 20);
  EXPECT_EQ(Put("first", big, Durability::kBuffered).durability, Durability::kBuffered);
  SetRequest request;
  request.ns = ns_;
  request.items = {{"second", {BytesOf(big)}, std::nullopt, 0}};
  Answer<std::vector<SetResult>> second;
  store_->Set(request, second.callback());
  EXPECT_FALSE(second.ready());
  request.items[0].key = "third";
  request.answer_by = clock_.Now() + absl::Milliseconds(10);
  Answer<std::vector<SetResult>> third;
  store_->Set(request, third.callback());
  clock_.Advance(absl::Milliseconds(11));
  EXPECT_EQ(third.Wait()->front().durability, Durability::kBuffered);
  EXPECT_FALSE(second.ready());
  medium_->HoldAppends(false);
  medium_->ReleaseAppends();
  EXPECT_EQ(second.Wait()->front().durability, Durability::kBuffered);
}

TEST_F(StoreLog, AValueTooLargeForTheDiskStaysInMemoryUnlessTheDiskWasAskedFor) {
  const std::string big = ValueOf("big", 0, (1 << 20) + 1);
  const SetResult refused = Put("a", big, Durability::kLogged);
  EXPECT_EQ(refused.state, SetState::kTooLarge);
  EXPECT_EQ(StateOf("a"), GetState::kMiss);
  const SetResult kept = Put("b", big, Durability::kBuffered);
  EXPECT_EQ(kept.state, SetState::kStored);
  EXPECT_EQ(kept.durability, Durability::kVolatile);
  EXPECT_EQ(StateOf("b"), GetState::kOk);
}

TEST_F(StoreLog, BlocksOnTheirWayToTheLogDoNotLeaveMemory) {
  Put("k", ValueOf("k", 0, 1 << 20), Durability::kLogged);
  medium_->HoldAppends(true);
  Put("queued", ValueOf("queued", 0, 1 << 20), Durability::kBuffered);
  for (int i = 0; i < 20; ++i) {
    Put("volatile" + std::to_string(i), ValueOf("v", 0, 1 << 20), Durability::kVolatile);
  }
  EXPECT_TRUE(InMemory("queued"));
  EXPECT_FALSE(InMemory("k"));
}

TEST_F(StoreLog, WhatWasLoggedIsThereAfterARestartAndWhatWasDeletedIsNot) {
  const std::string value = ValueOf("kept", 0, 70000);
  Put("kept", value);
  Put("deleted", "value");
  Put("volatile", "value", Durability::kVolatile);
  DeleteRequest request;
  request.ns = ns_;
  request.keys = {"deleted"};
  EXPECT_THAT(*DeleteSync(*store_, request), ElementsAre(true));
  Restart();
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "kept").block), value);
  EXPECT_EQ(StateOf("deleted"), GetState::kMiss);
  EXPECT_EQ(StateOf("volatile"), GetState::kMiss);
  // Versions go on above those of the last run.
  EXPECT_EQ(Put("deleted", "again").state, SetState::kStored);
  Restart();
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "deleted").block), "again");
}

TEST_F(StoreLog, AVolatileOverwriteLeavesNoOldValueForTheNextRun) {
  Put("k", "old");
  EXPECT_EQ(Put("k", "new", Durability::kVolatile, SetMode::kOverwrite).state, SetState::kStored);
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "k").block), "new");
  PushOut("k");
  EXPECT_EQ(StateOf("k"), GetState::kMiss);
  Restart();
  EXPECT_EQ(StateOf("k"), GetState::kMiss);
}

TEST_F(StoreLog, AnOverwriteMarksThatItSupersedes) {
  Put("k", "old");
  Put("k", "new", Durability::kLogged, SetMode::kOverwrite);
  const auto records = medium_->Records();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_FALSE(records[0].meta.supersedes);
  EXPECT_TRUE(records[1].meta.supersedes);
  EXPECT_GT(records[1].meta.version, records[0].meta.version + 1);
}

TEST_F(StoreLog, AnOverwriteThatTheLogRefusedLeavesATombstone) {
  Put("k", "old");
  medium_->FailAppends({absl::UnavailableError("EIO")});
  EXPECT_EQ(Put("k", "new", Durability::kLogged, SetMode::kOverwrite).durability,
            Durability::kVolatile);
  ASSERT_TRUE(store_->Close(absl::Seconds(30)).ok());
  Restart();
  EXPECT_EQ(StateOf("k"), GetState::kMiss);
}

TEST_F(StoreLog, DeleteOfAllShardsIsOneTombstoneAndOfOneShardKillsOnlyThat) {
  Restart(/*shards=*/2);
  for (uint8_t shard = 0; shard < 2; ++shard) {
    SetRequest request;
    request.shard = shard;
    request.durability = Durability::kLogged;
    PutOne(*store_, ns_, "both", "value", request);
    PutOne(*store_, ns_, "one", "value", request);
  }
  DeleteRequest request;
  request.ns = ns_;
  request.keys = {"both"};
  ASSERT_TRUE(DeleteSync(*store_, request).ok());
  request.keys = {"one"};
  request.shard = 1;
  ASSERT_TRUE(DeleteSync(*store_, request).ok());
  Restart(/*shards=*/2);
  EXPECT_EQ(GetOne(*store_, ns_, "both", 0).state, GetState::kMiss);
  EXPECT_EQ(GetOne(*store_, ns_, "both", 1).state, GetState::kMiss);
  EXPECT_EQ(GetOne(*store_, ns_, "one", 0).state, GetState::kOk);
  EXPECT_EQ(GetOne(*store_, ns_, "one", 1).state, GetState::kMiss);
}

TEST_F(StoreLog, ADeleteThatIsNotDurableIsNotAcknowledged) {
  Put("k", "value");
  medium_->FailAppends({absl::UnavailableError("EIO")});
  DeleteRequest request;
  request.ns = ns_;
  request.keys = {"k"};
  EXPECT_EQ(DeleteSync(*store_, request).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(StateOf("k"), GetState::kMiss);
  medium_->HoldAppends(true);
  request.answer_by = clock_.Now() + absl::Milliseconds(5);
  Answer<std::vector<bool>> answer;
  store_->Delete(request, answer.callback());
  clock_.Advance(absl::Milliseconds(6));
  EXPECT_EQ(answer.Wait().status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(StoreLog, ATombstoneNeverOvertakesTheValueThatItKills) {
  for (int i = 0; i < 50; ++i) {
    const std::string key = "k" + std::to_string(i);
    Put(key, "value", Durability::kBuffered);
    DeleteRequest request;
    request.ns = ns_;
    request.keys = {key};
    ASSERT_TRUE(DeleteSync(*store_, request).ok());
  }
  uint64_t last = 0;
  for (const auto& record : medium_->Records()) {
    EXPECT_GT(record.meta.version, last);
    last = record.meta.version;
  }
}

TEST_F(StoreLog, ReclaimKeepsWhatWasUsedAndItsAncestorsRootFirst) {
  const auto used = ChainKeys("used", 3), idle = ChainKeys("idle", 3);
  PutChain(used, 100);
  PutChain(idle, 100);
  // Writing is not using; a hit of the leaf keeps the whole chain.
  Restart();
  EXPECT_EQ(StateOf(used[2]), GetState::kOk);
  Restart();  // forgets marks
  EXPECT_EQ(StateOf(used[2]), GetState::kOk);
  log_->ReclaimAll(1000);
  Restart();
  for (const auto& key : used) EXPECT_EQ(StateOf(key), GetState::kOk) << key;
  for (const auto& key : idle) EXPECT_EQ(StateOf(key), GetState::kMiss) << key;
}

TEST_F(StoreLog, AReclaimedBlockStaysInMemory) {
  Put("k", "value");
  log_->ReclaimAll(0);
  EXPECT_EQ(StateOf("k"), GetState::kOk);
  const auto page = store_->Scan(ns_, "", 10);
  ASSERT_EQ(page->entries.size(), 1u);
  EXPECT_FALSE(page->entries[0].on_disk);
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

TEST_F(StoreLog, ExpiryIsKeptOverARestart) {
  SetRequest request;
  request.durability = Durability::kLogged;
  request.ns = ns_;
  request.items = {{"k", {BytesOf("v")}, std::nullopt, 100}};
  ASSERT_TRUE(SetSync(*store_, request).ok());
  Restart();
  EXPECT_EQ(StateOf("k"), GetState::kOk);
  clock_.Advance(absl::Seconds(101));
  EXPECT_EQ(StateOf("k"), GetState::kMiss);
  Restart();
  EXPECT_EQ(StateOf("k"), GetState::kMiss);
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
