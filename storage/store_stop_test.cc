// SPDX-License-Identifier: Apache-2.0
//
// Closing a store while its device hangs: it ends by its limit, and who waits hears what there is.
#include <thread>

#include "absl/time/clock.h"
#include "storage/store_disk_fixture.h"

namespace kvgate::storage {
namespace {

constexpr absl::Duration kLimit = absl::Milliseconds(50);

class StoreStop : public StoreOnDisk {
 protected:
  void Hang() {
    faulty_->Add({.kind = Fault::kDelay, .on_reads = true, .on_writes = true, .on_syncs = true});
  }
  void WaitUntilItHangs() {
    const absl::Time limit = absl::Now() + absl::Seconds(60);
    while (faulty_->held() == 0) {
      ASSERT_LT(absl::Now(), limit) << "nothing went to the device";
      std::this_thread::yield();
    }
  }
  SetRequest OneLogged(std::string_view key) {
    SetRequest request;
    request.ns = ns_;
    request.durability = Durability::kLogged;
    request.items.push_back({.key = key, .value = {BytesOf("value")}});
    return request;
  }
};

TEST_F(StoreStop, ASetThatWaitsForTheDeviceHearsThatItTimedOut) {
  Hang();
  Answer<std::vector<SetResult>> answer;
  store_->Set(OneLogged("k"), answer.callback());
  WaitUntilItHangs();
  EXPECT_FALSE(answer.ready());
  EXPECT_FALSE(store_->Close(kLimit).ok());
  const auto results = answer.Wait();
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ(results->front().state, SetState::kTimedOut);
  EXPECT_EQ(results->front().durability, Durability::kBuffered);
  EXPECT_EQ(SetSync(*store_, OneLogged("later")).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(StoreStop, AGetThatWaitsForTheDeviceHearsNotReady) {
  ASSERT_EQ(SetSync(*store_, OneLogged("k"))->front().state, SetState::kStored);
  ASSERT_TRUE(store_->Close(absl::Seconds(60)).ok());
  Restart();
  Hang();
  GetRequest request;
  request.ns = ns_;
  request.keys = {"k"};
  Answer<std::vector<GetResult>> answer;
  store_->Get(request, answer.callback());
  WaitUntilItHangs();
  EXPECT_FALSE(answer.ready());
  EXPECT_FALSE(store_->Close(kLimit).ok());
  EXPECT_EQ(answer.Wait()->front().state, GetState::kNotReady);
}

TEST_F(StoreStop, ADeleteThatWaitsForTheDeviceFails) {
  ASSERT_EQ(SetSync(*store_, OneLogged("k"))->front().state, SetState::kStored);
  Hang();
  DeleteRequest request;
  request.ns = ns_;
  request.keys = {"k"};
  Answer<std::vector<bool>> answer;
  store_->Delete(request, answer.callback());
  WaitUntilItHangs();
  EXPECT_FALSE(store_->Close(kLimit).ok());
  EXPECT_FALSE(answer.Wait().ok());
}

TEST_F(StoreStop, ACloseMayBeAskedAgainWhenTheDeviceIsBack) {
  Hang();
  Answer<std::vector<SetResult>> answer;
  store_->Set(OneLogged("k"), answer.callback());
  WaitUntilItHangs();
  EXPECT_FALSE(store_->Close(kLimit).ok());
  ComeBack();
  EXPECT_TRUE(store_->Close(absl::Seconds(60)).ok());
  Restart();
  EXPECT_EQ(TextOf(GetOne(*store_, ns_, "k").block), "value");
}

}  // namespace
}  // namespace kvgate::storage
