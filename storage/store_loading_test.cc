// SPDX-License-Identifier: Apache-2.0
//
// A store that serves while its log is still being read: what is not known yet is NOT_READY, and
// what was changed meanwhile stays as it was changed.
#include <thread>

#include "storage/store_log_fixture.h"

namespace kvgate::storage {
namespace {

class StoreLoading : public StoreLog {
 protected:
  void SetUp() override {
    options_.serve_while_loading = true;
    StoreLog::SetUp();
  }
  void TearDown() override {
    medium_->HoldLoad(false);
    StoreLog::TearDown();
  }

  // A new start whose log hands nothing over until FinishLoading.
  void RestartLoading() {
    store_ = nullptr;
    medium_->HoldLoad(true);
    RestartAndWatch();
    ASSERT_TRUE(store_->facts().loading);
  }
  void RestartAndWatch() {
    Restart();
    loaded_ = std::make_unique<Answer<bool>>();
    store_->WhenLoaded([done = loaded_->callback()](const absl::Status& status) {
      done(status.ok() ? absl::StatusOr<bool>(true) : status);
    });
  }
  absl::Status FinishLoading() {
    medium_->HoldLoad(false);
    return loaded_->Wait().status();
  }

  std::unique_ptr<Answer<bool>> loaded_;
};

TEST_F(StoreLoading, AnUnknownKeyIsNotReadyUntilAllWasRead) {
  Put("k", "value");
  RestartLoading();
  EXPECT_EQ(StateOf("k"), GetState::kNotReady);
  EXPECT_EQ(StateOf("never"), GetState::kNotReady);
  ASSERT_TRUE(FinishLoading().ok());
  EXPECT_FALSE(store_->facts().loading);
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "k").block), "value");
  EXPECT_EQ(StateOf("never"), GetState::kMiss);
}

TEST_F(StoreLoading, ASetMeanwhileIsServedAndItsVersionIsHigher) {
  Put("k", "old");
  RestartLoading();
  EXPECT_EQ(Put("k", "new", Durability::kBuffered, SetMode::kOverwrite).state, SetState::kStored);
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "k").block), "new");
  ASSERT_TRUE(FinishLoading().ok());
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "k").block), "new");
  RestartAndWatch();
  ASSERT_TRUE(FinishLoading().ok());
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "k").block), "new");
}

TEST_F(StoreLoading, ADeleteMeanwhileEndsWhatIsReadLater) {
  Put("k", "value");
  Put("other", "value");
  RestartLoading();
  DeleteRequest request;
  request.ns = ns_;
  request.keys = {"k"};
  ASSERT_TRUE(DeleteSync(*store_, request).ok());
  ASSERT_TRUE(FinishLoading().ok());
  EXPECT_EQ(StateOf("k"), GetState::kMiss);
  EXPECT_EQ(StateOf("other"), GetState::kOk);
  RestartAndWatch();
  ASSERT_TRUE(FinishLoading().ok());
  EXPECT_EQ(StateOf("k"), GetState::kMiss);
}

TEST_F(StoreLoading, AValueIsNotServedBeforeTheTombstoneThatIsReadAfterIt) {
  Put("deleted", "old");
  Put("overwritten", "old");
  Put("kept", "value");
  DeleteRequest request;
  request.ns = ns_;
  request.keys = {"deleted"};
  ASSERT_TRUE(DeleteSync(*store_, request).ok());
  Put("overwritten", "new", Durability::kLogged, SetMode::kOverwrite);
  medium_->LoadBeforeHold(3);
  RestartLoading();
  // All three values are in the index now, and none of what ends two of them.
  while (store_->Scan(ns_, "", 10)->entries.size() < 3) std::this_thread::yield();
  for (const char* key : {"deleted", "overwritten", "kept"}) {
    EXPECT_EQ(StateOf(key), GetState::kNotReady) << key;
    LookupRequest lookup;
    lookup.ns = ns_;
    LookupQuery& query = lookup.queries.emplace_back();
    query.keys = {key};
    query.block_tokens = 16;
    const auto found = LookupSync(*store_, lookup);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found->groups[0].held, 0) << key;
  }
  EXPECT_EQ(Put("deleted", "again").state, SetState::kStored);
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "deleted").block), "again");
  ASSERT_TRUE(FinishLoading().ok());
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "deleted").block), "again");
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "overwritten").block), "new");
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "kept").block), "value");
}

TEST_F(StoreLoading, AnOverwriteThatIsEvictedMeanwhileDoesNotUncoverTheOldValue) {
  Put("k", "old");
  RestartLoading();
  EXPECT_EQ(Put("k", "new", Durability::kVolatile, SetMode::kOverwrite).state, SetState::kStored);
  for (int i = 0; i < 40; ++i) {
    const std::string filler = "filler" + std::to_string(i);
    Put(filler, ValueOf(filler, 0, 512 << 10), Durability::kVolatile);
  }
  EXPECT_EQ(StateOf("k"), GetState::kNotReady);
  ASSERT_TRUE(FinishLoading().ok());
  EXPECT_EQ(StateOf("k"), GetState::kMiss);
}

TEST_F(StoreLoading, AValueThatExpiresMeanwhileDoesNotUncoverAnOlderOne) {
  Put("k", "old");
  RestartLoading();
  SetRequest brief;
  brief.mode = SetMode::kOverwrite;
  brief.ns = ns_;
  brief.items = {{"k", {BytesOf("brief")}, std::nullopt, /*ttl_s=*/5}};
  ASSERT_TRUE(SetSync(*store_, brief).ok());
  clock_.Advance(absl::Seconds(6));
  EXPECT_EQ(StateOf("k"), GetState::kNotReady);
  ASSERT_TRUE(FinishLoading().ok());
  EXPECT_EQ(StateOf("k"), GetState::kMiss);
}

TEST_F(StoreLoading, AnEndDuringLoadingAnswersWhoWaits) {
  Put("k", "value");
  RestartLoading();
  store_->Close(absl::Milliseconds(1)).IgnoreError();
  store_ = nullptr;  // does not wait for the log
  EXPECT_EQ(loaded_->Wait().status().code(), absl::StatusCode::kCancelled);
}

TEST_F(StoreLoading, WithoutAWholeCheckpointAStartReadsAllFirst) {
  Put("k", "value");
  {
    absl::MutexLock lock(&medium_->mu);
    medium_->namespaces_known = false;
  }
  Restart();
  EXPECT_FALSE(store_->facts().loading);
  EXPECT_EQ(StateOf("k"), GetState::kOk);
}

}  // namespace
}  // namespace kvgate::storage
