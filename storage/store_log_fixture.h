// SPDX-License-Identifier: Apache-2.0
//
// Fixture: the store and its log, with a log that the test holds by the hand. Test-only.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/manual_clock.h"
#include "storage/fake_log.h"
#include "storage/store_impl.h"
#include "storage/store_test_util.h"

namespace kvgate::storage {

// A store over a FakeLog, and verbs for its tests.
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

}  // namespace kvgate::storage
