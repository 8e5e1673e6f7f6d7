// SPDX-License-Identifier: Apache-2.0
#include "storage/memory/memory_table.h"

#include <cstring>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/wire/checksum.h"
#include "storage/memory/recent_reads.h"

namespace kvgate::storage {
namespace {

std::vector<uint32_t> OrderOf(const EvictionPolicy& policy) {
  std::vector<uint32_t> order;
  for (uint32_t s = policy.First(); s != EvictionPolicy::kNone; s = policy.Next(s)) {
    order.push_back(s);
  }
  return order;
}

TEST(LruPolicy, TheLeastRecentlyTouchedGoesFirst) {
  auto policy = NewLruPolicy();
  for (const uint32_t slot : {0u, 1u, 2u, 7u}) policy->Add(slot);
  policy->Touch(0);
  EXPECT_THAT(OrderOf(*policy), ::testing::ElementsAre(1, 2, 7, 0));
  policy->Remove(2);
  EXPECT_THAT(OrderOf(*policy), ::testing::ElementsAre(1, 7, 0));
  policy->Add(2);
  EXPECT_THAT(OrderOf(*policy), ::testing::ElementsAre(1, 7, 0, 2));
}

TEST(LruPolicy, AChainTouchedFromTailToHeadLosesItsLeafFirst) {
  auto policy = NewLruPolicy();
  for (uint32_t slot = 0; slot < 4; ++slot) policy->Add(slot);  // 0 is the head
  for (uint32_t slot = 4; slot-- > 0;) policy->Touch(slot);
  EXPECT_THAT(OrderOf(*policy), ::testing::ElementsAre(3, 2, 1, 0));
}

TEST(LruPolicyDeathTest, TouchingWhatIsNotThereIsABug) {
  auto policy = NewLruPolicy();
  policy->Add(1);
  EXPECT_DEATH(policy->Touch(0), "check failed");
}

class MemoryTableTest : public ::testing::Test {
 protected:
  MemorySlot Slot(std::string_view value) {
    PoolBuffer buffer = pool_->Allocate(value.size());
    std::memcpy(buffer.memory().data(), value.data(), value.size());
    MemorySlot slot;
    const uint32_t crc = wire::Crc32c(0x1234, value.data(), value.size());
    slot.block = std::make_shared<const MemoryBlock>(
        std::move(buffer), static_cast<uint32_t>(value.size()), crc, 0x1234);
    return slot;
  }

  std::shared_ptr<Pool> pool_ = [] {
    PoolOptions options;
    options.bytes_max = 1 << 20;
    return std::move(*Pool::Create(options));
  }();
  MemoryTable table_{NewLruPolicy()};
};

TEST_F(MemoryTableTest, ValueCrcIsThatOfTheBytesAlone) {
  const uint32_t slot = table_.Add(Slot("some value"));
  EXPECT_EQ(table_.at(slot).block->value_crc(), wire::Crc32c(0, "some value", 10));
}

TEST_F(MemoryTableTest, RemovedBytesLiveAsLongAsSomebodyHoldsThem) {
  const uint32_t slot = table_.Add(Slot("value"));
  BlockRef block(table_.at(slot).block);
  table_.Remove(slot);
  EXPECT_EQ(table_.blocks(), 0u);
  EXPECT_EQ(std::memcmp(block.bytes().data(), "value", 5), 0);
  EXPECT_EQ(pool_->stats().used_bytes, kPageBytes);
  block = BlockRef();
  EXPECT_EQ(pool_->stats().used_bytes, 0u);
}

TEST_F(MemoryTableTest, SlotsAreUsedAgainAndBytesAreCounted) {
  const uint32_t first = table_.Add(Slot("12345"));
  table_.Add(Slot("123"));
  EXPECT_EQ(table_.value_bytes(), 8u);
  EXPECT_EQ(table_.page_bytes(), 2 * kPageBytes);
  table_.Remove(first);
  EXPECT_EQ(table_.value_bytes(), 3u);
  EXPECT_EQ(table_.Add(Slot("x")), first);
}

TEST_F(MemoryTableTest, ABlockOnProbationIsOutsideThePolicyUntilItIsPromoted) {
  const absl::Time now = absl::UnixEpoch();
  const uint32_t kept = table_.Add(Slot("kept"));
  const uint32_t first = table_.AddOnProbation(Slot("first"), now);
  const uint32_t second = table_.AddOnProbation(Slot("second"), now);
  table_.Touch(first, 1);
  EXPECT_THAT(table_.probation(), ::testing::ElementsAre(first, second));
  EXPECT_EQ(table_.probation_bytes(), 8192u);
  EXPECT_THAT(OrderOf(table_.policy()), ::testing::ElementsAre(kept));
  table_.Promote(first);
  EXPECT_THAT(OrderOf(table_.policy()), ::testing::ElementsAre(kept, first));
  table_.Remove(second);
  EXPECT_THAT(table_.probation(), ::testing::IsEmpty());
  EXPECT_EQ(table_.probation_bytes(), 0u);
}

TEST(RecentReads, RemembersAsManyAsItHasPlacesAndForgetsTheOldestOfASet) {
  RecentReads reads(4);
  const auto block = [](uint64_t i) { return BlockId{1, {i * 8, i * 8}, 0, 0}; };
  EXPECT_FALSE(reads.Note(block(1)));
  EXPECT_TRUE(reads.Note(block(1)));
  BlockId other_shard = block(1);
  other_shard.shard = 1;
  EXPECT_FALSE(reads.Note(other_shard));
  for (uint64_t i = 2; i < 12; ++i) EXPECT_FALSE(reads.Note(block(i)));
  EXPECT_FALSE(reads.Note(block(1)));
  EXPECT_TRUE(reads.Note(block(11)));
}

}  // namespace
}  // namespace kvgate::storage
