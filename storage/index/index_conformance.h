// SPDX-License-Identifier: Apache-2.0
//
// What every Index promises, as a typed suite. An implementation joins with a struct that has
// `static std::unique_ptr<Index> New(uint64_t blocks_max)` and one INSTANTIATE_TYPED_TEST_SUITE_P.
#pragma once

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/index/index.h"

namespace kvgate::storage {

template <typename Factory>
class IndexConformance : public ::testing::Test {
 protected:
  static IndexEntry Entry(uint64_t hash, uint64_t version, uint8_t group = 0, uint8_t shard = 0,
                          uint32_t ns = 1) {
    IndexEntry entry;
    entry.id = {ns, {hash, ~hash}, group, shard};
    entry.version = version;
    entry.length = 100;
    entry.memory_slot = 5;
    return entry;
  }
  std::unique_ptr<Index> index_ = Factory::New(1000);
};

TYPED_TEST_SUITE_P(IndexConformance);

TYPED_TEST_P(IndexConformance, FindsWhatWasPutAndNothingElse) {
  Index& index = *this->index_;
  IndexEntry entry = this->Entry(1, 10);
  entry.crc = 77;
  entry.expiry_s = 9;
  entry.parent = {3, 4};
  entry.depth = 100;
  EXPECT_EQ(index.Put(entry), Index::PutResult::kNew);
  const auto found = index.Find(entry.id);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->crc, 77u);
  EXPECT_EQ(found->expiry_s, 9u);
  EXPECT_EQ(found->parent, (wire::Hash128{3, 4}));
  EXPECT_EQ(found->depth, 100u);
  EXPECT_FALSE(index.Find(this->Entry(2, 0).id));
  EXPECT_FALSE(index.Find(this->Entry(1, 0, 0, 0, /*ns=*/2).id));
  EXPECT_FALSE(index.Find(this->Entry(1, 0, 1).id));
  EXPECT_FALSE(index.Find(this->Entry(1, 0, 0, 1).id));
  // Half a hash is not the hash.
  BlockId other = entry.id;
  other.hash.hi ^= 1;
  EXPECT_FALSE(index.Find(other));
}

TYPED_TEST_P(IndexConformance, ALowerOrEqualVersionDoesNotReplace) {
  Index& index = *this->index_;
  index.Put(this->Entry(1, 10));
  EXPECT_EQ(index.Put(this->Entry(1, 9)), Index::PutResult::kOlder);
  EXPECT_EQ(index.Put(this->Entry(1, 10)), Index::PutResult::kOlder);
  EXPECT_EQ(index.Put(this->Entry(1, 11)), Index::PutResult::kReplaced);
  EXPECT_EQ(index.Find(this->Entry(1, 0).id)->version, 11u);
  EXPECT_EQ(index.size(), 1u);
}

TYPED_TEST_P(IndexConformance, EraseNamesTheVersion) {
  Index& index = *this->index_;
  index.Put(this->Entry(1, 10));
  EXPECT_FALSE(index.Erase(this->Entry(1, 0).id, 9));
  EXPECT_TRUE(index.Erase(this->Entry(1, 0).id, 10));
  EXPECT_FALSE(index.Erase(this->Entry(1, 0).id, 10));
  EXPECT_EQ(index.size(), 0u);
}

TYPED_TEST_P(IndexConformance, APlaceChangesOnlyFromThePlaceAndVersionNamed) {
  Index& index = *this->index_;
  const BlockId id = this->Entry(1, 0).id;
  const Place a{1, 2}, b{3, 4};
  index.Put(this->Entry(1, 10));
  EXPECT_FALSE(index.SetPlace(id, 9, Place{}, a));
  EXPECT_TRUE(index.SetPlace(id, 10, Place{}, a));
  EXPECT_FALSE(index.SetPlace(id, 10, Place{}, b));
  index.MarkHit(id);
  EXPECT_TRUE(index.SetPlace(id, 10, a, b));
  EXPECT_EQ(index.Find(id)->place, b);
  EXPECT_FALSE(index.Find(id)->hit);  // hits are counted since the last write
}

TYPED_TEST_P(IndexConformance, AMemorySlotChangesOnlyFromTheSlotAndVersionNamed) {
  Index& index = *this->index_;
  const BlockId id = this->Entry(1, 0).id;
  index.Put(this->Entry(1, 10));
  EXPECT_FALSE(index.SetMemorySlot(id, 10, 6, 7));
  EXPECT_FALSE(index.SetMemorySlot(id, 9, 5, 7));
  EXPECT_TRUE(index.SetMemorySlot(id, 10, 5, kNoMemorySlot));
  EXPECT_EQ(index.Find(id)->memory_slot, kNoMemorySlot);
}

TYPED_TEST_P(IndexConformance, MarkHitTellsWhatItWas) {
  Index& index = *this->index_;
  const BlockId id = this->Entry(1, 0).id;
  EXPECT_FALSE(index.MarkHit(id).has_value());
  index.Put(this->Entry(1, 10));
  EXPECT_EQ(index.MarkHit(id), false);
  EXPECT_EQ(index.MarkHit(id), true);
}

TYPED_TEST_P(IndexConformance, SiblingsAreAllGroupsAndShardsOfOneKey) {
  Index& index = *this->index_;
  for (const auto& [group, shard] : {std::pair{1, 0}, {0, 2}, {0, 0}, {0, 1}}) {
    index.Put(this->Entry(1, 10, static_cast<uint8_t>(group), static_cast<uint8_t>(shard)));
  }
  index.Put(this->Entry(1, 10, 0, 0, /*ns=*/2));
  index.Put(this->Entry(2, 10));
  std::vector<std::pair<int, int>> seen;
  for (const IndexEntry& entry : index.Siblings(1, {1, ~uint64_t{1}})) {
    seen.emplace_back(entry.id.group, entry.id.shard);
  }
  EXPECT_THAT(seen, ::testing::ElementsAre(std::pair(0, 0), std::pair(0, 1), std::pair(0, 2),
                                           std::pair(1, 0)));
}

TYPED_TEST_P(IndexConformance, AFullIndexRefusesNewEntriesOnly) {
  auto index = TypeParam::New(3);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_EQ(index->Put(this->Entry(i, 1)), Index::PutResult::kNew);
  EXPECT_EQ(index->Put(this->Entry(3, 1)), Index::PutResult::kFull);
  EXPECT_EQ(index->Put(this->Entry(2, 2)), Index::PutResult::kReplaced);
  index->Erase(this->Entry(0, 0).id, 1);
  EXPECT_EQ(index->Put(this->Entry(3, 1)), Index::PutResult::kNew);
}

TYPED_TEST_P(IndexConformance, AScanSeesWhatStaysExactlyOnceWhileOthersComeAndGo) {
  Index& index = *this->index_;
  for (uint64_t i = 0; i < 300; ++i) index.Put(this->Entry(i * 977, 1));
  std::multiset<uint64_t> seen;
  std::string cursor;
  uint64_t churn = 1'000'003;
  do {
    const auto page = index.Scan(&cursor, 7);
    EXPECT_LE(page.size(), 7u);
    for (const IndexEntry& entry : page) seen.insert(entry.id.hash.lo);
    index.Put(this->Entry(churn, 1));
    if (churn > 1'000'010) index.Erase(this->Entry(churn - 5, 0).id, 1);
    ++churn;
  } while (!cursor.empty());
  for (uint64_t i = 0; i < 300; ++i) EXPECT_EQ(seen.count(i * 977), 1u) << i;
}

TYPED_TEST_P(IndexConformance, AForeignCursorEndsTheScan) {
  this->index_->Put(this->Entry(1, 1));
  for (std::string cursor : {std::string("x"), std::string(27, '\xff'), std::string(1000, 'a')}) {
    EXPECT_FALSE(this->index_->KnowsCursor(cursor));
    EXPECT_TRUE(this->index_->Scan(&cursor, 10).empty());
    EXPECT_TRUE(cursor.empty());
  }
  this->index_->Put(this->Entry(2, 1));
  std::string own;
  EXPECT_TRUE(this->index_->KnowsCursor(own));
  this->index_->Scan(&own, 1);
  EXPECT_TRUE(this->index_->KnowsCursor(own));
}

TYPED_TEST_P(IndexConformance, EntriesAreCountedByNamespace) {
  Index& index = *this->index_;
  IndexEntry other = this->Entry(1, 1);
  other.id.ns += 1;
  index.Put(this->Entry(1, 1));
  index.Put(this->Entry(1, 2));  // replaces
  index.Put(this->Entry(2, 1));
  index.Put(other);
  EXPECT_EQ(index.EntriesOf(other.id.ns - 1), 2u);
  EXPECT_EQ(index.EntriesOf(other.id.ns), 1u);
  EXPECT_FALSE(index.Erase(other.id, 7));
  EXPECT_TRUE(index.Erase(other.id, 1));
  EXPECT_EQ(index.EntriesOf(other.id.ns), 0u);
  EXPECT_EQ(index.EntriesOf(other.id.ns - 1), 2u);
}

TYPED_TEST_P(IndexConformance, ConcurrentWritersOfOneBlockLeaveTheHighestVersion) {
  Index& index = *this->index_;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 2000; ++i) index.Put(this->Entry(1, 1 + i * 4 + t));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(index.Find(this->Entry(1, 0).id)->version, 8000u);
  EXPECT_EQ(index.size(), 1u);
}

REGISTER_TYPED_TEST_SUITE_P(IndexConformance, FindsWhatWasPutAndNothingElse,
                            ALowerOrEqualVersionDoesNotReplace, EraseNamesTheVersion,
                            APlaceChangesOnlyFromThePlaceAndVersionNamed,
                            AMemorySlotChangesOnlyFromTheSlotAndVersionNamed, MarkHitTellsWhatItWas,
                            SiblingsAreAllGroupsAndShardsOfOneKey, AFullIndexRefusesNewEntriesOnly,
                            AScanSeesWhatStaysExactlyOnceWhileOthersComeAndGo,
                            AForeignCursorEndsTheScan, EntriesAreCountedByNamespace,
                            ConcurrentWritersOfOneBlockLeaveTheHighestVersion);

}  // namespace kvgate::storage
