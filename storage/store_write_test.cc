// SPDX-License-Identifier: Apache-2.0
//
// From memory into the log: durability, queues, tombstones, restarts, reclaim.
#include "storage/store_log_fixture.h"

namespace kvgate::storage {
namespace {

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
  EXPECT_THAT(*DeleteSync(*store_, request), ::testing::ElementsAre(true));
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

TEST_F(StoreLog, AnOfferWantsNoMoreThanItsCallerHasRoomFor) {
  ASSERT_EQ(Put("held", "value").state, SetState::kStored);
  OfferRequest request;
  request.ns = ns_;
  request.keys = {"held", "a", "b", "c"};
  request.value_bytes = {60, 60, 60, 10};
  request.bytes_max = 100;
  auto offered = store_->Offer(request);
  ASSERT_TRUE(offered.ok()) << offered.status();
  // Full attention: nothing after the first that does not fit.
  EXPECT_EQ(offered->states,
            (std::vector<OfferState>{OfferState::kHeld, OfferState::kWanted,
                                     OfferState::kNotAdmitted, OfferState::kNotAdmitted}));
  EXPECT_EQ(offered->keys_beyond, 2u);
  request.keys = {"held", "other"};
  request.value_bytes = {60, 60};
  request.bytes_max = 0;
  offered = store_->Offer(request);
  ASSERT_TRUE(offered.ok()) << offered.status();
  EXPECT_EQ(offered->states,
            (std::vector<OfferState>{OfferState::kHeld, OfferState::kNotAdmitted}));
  EXPECT_EQ(offered->ticket, 0u);
}

}  // namespace
}  // namespace kvgate::storage
