// SPDX-License-Identifier: Apache-2.0
//
// The slab index beyond the suite: what a block costs, ghosts, and a long random walk beside a map.
#include <map>
#include <random>

#include "storage/index/bucket_table.h"
#include "storage/index/index_conformance.h"
#include "storage/index/slot_slab.h"

namespace kvgate::storage {
namespace {

struct Slab {
  static std::unique_ptr<Index> New(uint64_t blocks_max) { return NewSlabIndex(blocks_max); }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Slab, IndexConformance, Slab);

IndexEntry Block(uint64_t hash, uint64_t version, uint64_t parent = 0, uint8_t shard = 0) {
  IndexEntry entry;
  entry.id = {1, {hash, hash + 1}, 0, shard};
  entry.version = version;
  entry.length = 4096;
  if (parent != 0) entry.parent = {parent, parent + 1};
  return entry;
}

BlockId IdOf(uint64_t hash, uint8_t shard = 0) { return Block(hash, 1, 0, shard).id; }

TEST(SlabIndex, ABlockCostsAtMost64BytesAtEverySize) {
  constexpr uint64_t kBlocks = 1'000'000;
  auto index = NewSlabIndex(kBlocks);
  std::mt19937_64 random(1);
  double worst = 0;
  for (uint64_t i = 1; i <= kBlocks; ++i) {
    ASSERT_EQ(index->Put(Block(random() | 1, 1)), Index::PutResult::kNew);
    // Below that the table of partitions and the last chunk of slots tell more than the blocks.
    if (i >= 500'000 && i % 10'000 == 0) {
      worst = std::max(worst, static_cast<double>(index->MemoryBytes()) / static_cast<double>(i));
    }
  }
  EXPECT_LE(worst, 64.0 + 1.0 * (2 << 20) / 500'000.0);
  EXPECT_LE(static_cast<double>(index->MemoryBytes()) / kBlocks, 65.0);
  RecordProperty("bytes_a_block", std::to_string(worst));
}

TEST(SlabIndex, AParentThatLeavesFirstIsAGhostUntilItsLastChildIsGone) {
  auto index = NewSlabIndex(100);
  index->Put(Block(1, 1));
  index->Put(Block(2, 1, 1));
  index->Put(Block(3, 1, 1));
  EXPECT_TRUE(index->Erase(IdOf(1), 1));
  EXPECT_FALSE(index->Find(IdOf(1)));
  EXPECT_EQ(index->size(), 2u);
  EXPECT_EQ(index->slots(), 3u);
  EXPECT_EQ(index->Find(IdOf(2))->parent, (wire::Hash128{1, 2}));
  EXPECT_TRUE(index->Erase(IdOf(2), 1));
  EXPECT_EQ(index->slots(), 2u);
  EXPECT_TRUE(index->Erase(IdOf(3), 1));
  EXPECT_EQ(index->slots(), 0u);
  EXPECT_EQ(index->EntriesOf(1), 0u);
}

TEST(SlabIndex, AParentThatComesLaterTakesItsGhostsPlace) {
  auto index = NewSlabIndex(100);
  index->Put(Block(2, 1, 1));
  EXPECT_EQ(index->slots(), 2u);
  EXPECT_EQ(index->size(), 1u);
  // A ghost has no version: any block takes its place.
  EXPECT_EQ(index->Put(Block(1, 1)), Index::PutResult::kNew);
  EXPECT_EQ(index->slots(), 2u);
  EXPECT_TRUE(index->Erase(IdOf(2), 1));
  EXPECT_TRUE(index->Find(IdOf(1)));
}

TEST(SlabIndex, AGhostIsNobodysSiblingAndNotScanned) {
  auto index = NewSlabIndex(100);
  index->Put(Block(2, 1, 1));
  EXPECT_TRUE(index->Siblings(1, {1, 2}).empty());
  EXPECT_FALSE(index->MarkHit(IdOf(1)));
  EXPECT_FALSE(index->SetPlace(IdOf(1), 0, Place{}, Place{1, 1}));
  EXPECT_FALSE(index->SetMemorySlot(IdOf(1), 0, kNoMemorySlot, 1));
  EXPECT_FALSE(index->Erase(IdOf(1), 0));
  std::string cursor;
  EXPECT_EQ(index->Scan(&cursor, 10).size(), 1u);
}

TEST(SlabIndex, CyclesOfParentsEndWithTheirBlocks) {
  auto index = NewSlabIndex(100);
  index->Put(Block(1, 1, 1));  // its own parent
  index->Put(Block(2, 1, 3));
  index->Put(Block(3, 1, 2));
  for (const uint64_t hash : {1, 2, 3}) EXPECT_TRUE(index->Erase(IdOf(hash), 1));
  EXPECT_EQ(index->slots(), 0u);
}

TEST(SlabIndex, ReplacingMovesTheLinkToTheNewParent) {
  auto index = NewSlabIndex(100);
  index->Put(Block(9, 1, 1));
  EXPECT_EQ(index->Put(Block(9, 2, 1)), Index::PutResult::kReplaced);  // the same ghost stays
  EXPECT_EQ(index->slots(), 2u);
  EXPECT_EQ(index->Put(Block(9, 3, 5)), Index::PutResult::kReplaced);
  EXPECT_EQ(index->slots(), 2u);
  EXPECT_EQ(index->Find(IdOf(9))->parent, (wire::Hash128{5, 6}));
}

TEST(SlabIndex, WithoutASlotForAGhostTheChainEnds) {
  auto index = NewSlabIndex(1);
  EXPECT_EQ(index->Put(Block(2, 1, 1)), Index::PutResult::kNew);
  EXPECT_TRUE(index->Find(IdOf(2))->parent.zero());
  EXPECT_EQ(index->Put(Block(1, 1)), Index::PutResult::kFull);
}

TEST(SlabIndex, TheLongestBlockIs64MiB) {
  auto index = NewSlabIndex(10);
  IndexEntry entry = Block(1, 1);
  entry.length = 64 << 20;
  entry.hit = true;
  index->Put(entry);
  EXPECT_EQ(index->Find(IdOf(1))->length, 64u << 20);
  EXPECT_TRUE(index->Find(IdOf(1))->hit);
}

TEST(SlabIndex, DepthIsExactBelow128AndRoundedDownBeyond) {
  for (uint32_t depth = 0; depth < 128; ++depth) EXPECT_EQ(DecodeDepth(EncodeDepth(depth)), depth);
  uint32_t before = 0;
  for (uint32_t depth = 128; depth < 80'000; depth += 7) {
    const uint32_t back = DecodeDepth(EncodeDepth(depth));
    EXPECT_LE(back, depth);
    EXPECT_LE(before, back);
    if (depth < 65'152 + 512) {
      EXPECT_LT(depth - back, 512u);
    }
    before = back;
  }
}

// Few names, so that slots, ghosts and partitions are used again and again.
TEST(SlabIndex, ARandomWalkAgreesWithAMap) {
  auto index = NewSlabIndex(5000);
  std::map<BlockId, IndexEntry> model;
  std::mt19937_64 random(7);
  for (int step = 0; step < 400'000; ++step) {
    const uint64_t name = 1 + random() % 3000;
    const auto shard = static_cast<uint8_t>(random() % 2);
    const BlockId id = IdOf(name, shard);
    const auto held = model.find(id);
    switch (random() % 4) {
      case 0:
      case 1: {
        const uint64_t parent = random() % 3 == 0 ? 0 : 1 + random() % 3000;
        const IndexEntry entry = Block(name, 1 + step, parent, shard);
        const auto result = index->Put(entry);
        if (result == Index::PutResult::kFull) {
          ASSERT_EQ(held, model.end());
          break;
        }
        ASSERT_EQ(result == Index::PutResult::kNew, held == model.end());
        model[id] = entry;
        break;
      }
      case 2:
        ASSERT_EQ(index->Erase(id, held == model.end() ? 1 : held->second.version),
                  held != model.end());
        model.erase(id);
        break;
      default: {
        const auto found = index->Find(id);
        ASSERT_EQ(found.has_value(), held != model.end());
        if (!found) break;
        ASSERT_EQ(found->version, held->second.version);
        // A chain may end where no ghost could be had.
        ASSERT_TRUE(found->parent == held->second.parent || found->parent.zero());
      }
    }
    ASSERT_EQ(index->size(), model.size());
  }
  for (const auto& [id, entry] : model) ASSERT_TRUE(index->Erase(id, entry.version));
  EXPECT_EQ(index->slots(), 0u);
}

TEST(BucketTable, FindsEverySlotAmongEqualHashesAndTags) {
  BucketTable table(10);
  std::vector<uint64_t> hashes;
  for (uint32_t slot = 0; slot < 300; ++slot) hashes.push_back(slot % 3);  // all collide
  struct Hashes final : BucketTable::Slots {
    explicit Hashes(const std::vector<uint64_t>& all) : of(all) {}
    uint64_t HashOf(uint32_t slot) const override { return of[slot]; }
    void Prefetch(uint32_t) const override {}
    const std::vector<uint64_t>& of;
  };
  const Hashes hash_of(hashes);
  for (uint32_t slot = 0; slot < 300; ++slot) table.Insert(hashes[slot], slot, hash_of);
  for (uint32_t slot = 0; slot < 300; slot += 2) table.Erase(hashes[slot], slot, hash_of);
  for (uint32_t slot = 0; slot < 300; ++slot) {
    const uint32_t found = table.Find(hashes[slot], [&](uint32_t at) { return at == slot; });
    EXPECT_EQ(found, slot % 2 == 1 ? slot : kNoSlot) << slot;
  }
}

}  // namespace
}  // namespace kvgate::storage
