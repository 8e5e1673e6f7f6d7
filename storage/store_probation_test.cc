// SPDX-License-Identifier: Apache-2.0
//
// What was read from disk once: it stays for ranks that drift, and not for its own sake.
#include "gtest/gtest.h"
#include "storage/store_log_fixture.h"

namespace kvgate::storage {
namespace {

class StoreProbation : public StoreLog {
 protected:
  // Younger blocks that are in memory only: they go before they push out what is protected.
  void Fill(size_t count, size_t bytes) {
    SetRequest request;
    request.ns = ns_;
    request.durability = Durability::kVolatile;
    std::vector<std::string> keys;
    for (size_t i = 0; i < count; ++i) keys.push_back("fill" + std::to_string(fills_++));
    const std::string value = ValueOf("fill", 0, bytes);
    for (const std::string& key : keys) {
      request.items.push_back({key, {BytesOf(value)}, std::nullopt, 0});
    }
    const auto results = SetSync(*store_, request);
    ASSERT_TRUE(results.ok()) << results.status();
    for (const SetResult& result : *results) ASSERT_EQ(result.state, SetState::kStored);
  }

  // In the log and out of memory.
  void PutOnDisk(const std::vector<std::string>& keys, size_t bytes) {
    for (size_t i = 0; i < keys.size(); i += 128) {
      const size_t end = std::min(keys.size(), i + 128);
      PutChain(
          {keys.begin() + static_cast<ptrdiff_t>(i), keys.begin() + static_cast<ptrdiff_t>(end)},
          bytes);
    }
    for (int i = 0; i < 3; ++i) Fill(1024, 8 << 10);
  }

  bool Resident(std::string_view key) {
    const auto explained = store_->Explain(ns_, key);
    EXPECT_TRUE(explained.ok()) << explained.status();
    return explained.ok() && !explained->held.empty() && explained->held[0].in_memory;
  }

  size_t fills_ = 0;
};

TEST_F(StoreProbation, EightReadersThatDriftByASecondReadEachBlockOnce) {
  // 1,300 blocks of 8 KiB, 50 a second, while so much is stored that memory is renewed in 0.7 s:
  // half of the readers come within 60 ms, the others 1 s later.
  constexpr size_t kBlocks = 1300, kReaders = 8, kDriftSteps = 50;
  const std::vector<std::string> keys = ChainKeys("drift", kBlocks);
  PutOnDisk(keys, 8 << 10);
  ASSERT_FALSE(Resident(keys[0]));
  const uint64_t before = medium_->Reads();
  for (size_t step = 0; step < kBlocks + kDriftSteps; ++step) {
    for (size_t reader = 0; reader < kReaders; ++reader) {
      const size_t behind = reader < kReaders / 2 ? reader : kDriftSteps;
      if (step < behind || step - behind >= kBlocks) continue;
      ASSERT_EQ(StateOf(keys[step - behind]), GetState::kOk) << step << " reader " << reader;
    }
    Fill(30, 8 << 10);
    clock_.Advance(absl::Milliseconds(20));
  }
  const double reads = static_cast<double>(medium_->Reads() - before) / kBlocks;
  std::printf("device reads a block: %.3f\n", reads);
  EXPECT_LE(reads, 1.05);
  EXPECT_EQ(CounterOf(*store_, "probation_ended_early_total"), 0);
}

TEST_F(StoreProbation, AScanOfTheDiskLeavesTheRestOfMemoryAlone) {
  const std::vector<std::string> keys = ChainKeys("scan", 2000);
  PutOnDisk(keys, 8 << 10);
  ASSERT_EQ(Put("cold", ValueOf("cold", 0, 8 << 10)).state, SetState::kStored);
  for (const std::string& key : keys) {
    ASSERT_EQ(StateOf(key), GetState::kOk);
    clock_.Advance(absl::Milliseconds(20));
  }
  EXPECT_TRUE(Resident("cold"));
  EXPECT_LE(CounterOf(*store_, "memory_probation_bytes"), 2 << 20);
}

TEST_F(StoreProbation, WhatIsUsedAgainAfterTheDriftIsKept) {
  const std::vector<std::string> keys = ChainKeys("kept", 2);
  PutOnDisk(keys, 8 << 10);
  for (const std::string& key : keys) ASSERT_EQ(StateOf(key), GetState::kOk);
  ASSERT_EQ(StateOf(keys[0]), GetState::kOk);  // another rank, at once
  EXPECT_EQ(CounterOf(*store_, "probation_promoted_total"), 0);
  clock_.Advance(absl::Milliseconds(1001));
  ASSERT_EQ(StateOf(keys[0]), GetState::kOk);
  EXPECT_EQ(CounterOf(*store_, "probation_promoted_total"), 1);
  Fill(20, 8 << 10);
  EXPECT_TRUE(Resident(keys[0]));
  EXPECT_FALSE(Resident(keys[1]));
}

TEST_F(StoreProbation, WhatIsReadFromDiskASecondTimeIsKept) {
  const std::vector<std::string> keys = ChainKeys("again", 1);
  PutOnDisk(keys, 8 << 10);
  ASSERT_EQ(StateOf(keys[0]), GetState::kOk);
  EXPECT_EQ(CounterOf(*store_, "memory_probation_bytes"), 8 << 10);
  clock_.Advance(absl::Milliseconds(1001));
  Fill(20, 8 << 10);
  ASSERT_FALSE(Resident(keys[0]));
  ASSERT_EQ(StateOf(keys[0]), GetState::kOk);
  EXPECT_EQ(CounterOf(*store_, "memory_probation_bytes"), 0);
  clock_.Advance(absl::Seconds(10));
  Fill(20, 8 << 10);
  EXPECT_TRUE(Resident(keys[0]));
}

TEST_F(StoreProbation, NoMoreThanAQuarterOfMemoryIsKeptForDriftAndWhatEndsEarlyIsCounted) {
  const std::vector<std::string> keys = ChainKeys("many", 400);  // 3.1 MiB of 8
  PutOnDisk(keys, 8 << 10);
  for (const std::string& key : keys) ASSERT_EQ(StateOf(key), GetState::kOk);
  // Space is made by 1/64 of memory at once, so that it may be above by so much.
  EXPECT_LE(CounterOf(*store_, "memory_probation_bytes"), (2 << 20) + (128 << 10) + (8 << 10));
  EXPECT_GE(CounterOf(*store_, "probation_ended_early_total"), 100);
}

}  // namespace
}  // namespace kvgate::storage
