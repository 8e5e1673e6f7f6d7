// SPDX-License-Identifier: Apache-2.0
#include "storage/log/kill_ring.h"

#include <gtest/gtest.h>

namespace kvgate::storage {
namespace {

RecordMeta Value(uint64_t hash, uint64_t version, uint8_t group = 0) {
  return {.ns = 1, .hash = {.lo = hash, .hi = 1}, .group = group, .version = version};
}

RecordMeta Tombstone(uint64_t hash, uint64_t version, bool all = false) {
  RecordMeta meta = Value(hash, version);
  meta.type = RecordType::kTombstone;
  meta.all_siblings = all;
  return meta;
}

TEST(KillRingTest, ATombstoneEndsVersionsUpToItsOwn) {
  KillRing ring(10);
  ring.Add(Tombstone(1, 5));
  EXPECT_TRUE(ring.Dies(Value(1, 4), 0));
  EXPECT_TRUE(ring.Dies(Value(1, 5), 0));
  EXPECT_FALSE(ring.Dies(Value(1, 6), 0));
  EXPECT_FALSE(ring.Dies(Value(2, 4), 0));
  EXPECT_FALSE(ring.Dies(Value(1, 4, 3), 0)) << "another group";
}

TEST(KillRingTest, ATombstoneOfAllSiblingsEndsEveryGroup) {
  KillRing ring(10);
  ring.Add(Tombstone(1, 5, true));
  EXPECT_TRUE(ring.Dies(Value(1, 4, 3), 0));
}

TEST(KillRingTest, AnOverwriteEndsVersionsBelowItsOwn) {
  KillRing ring(10);
  RecordMeta overwrite = Value(1, 5);
  overwrite.supersedes = true;
  ring.Add(overwrite);
  EXPECT_TRUE(ring.Dies(Value(1, 4), 0));
  EXPECT_FALSE(ring.Dies(overwrite, 0));
}

TEST(KillRingTest, AnotherNamespaceIsUnharmed) {
  KillRing ring(10);
  ring.Add(Tombstone(1, 5));
  RecordMeta other = Value(1, 4);
  other.ns = 2;
  EXPECT_FALSE(ring.Dies(other, 0));
}

TEST(KillRingTest, WhatLeftTheRingStillEndsWhatItMightConcern) {
  KillRing ring(2);
  const uint64_t before = ring.position();
  ring.Add(Tombstone(1, 5));
  ring.Add(Tombstone(2, 6));
  ring.Add(Tombstone(3, 7));  // the first leaves
  const uint64_t after = ring.position();
  EXPECT_TRUE(ring.Dies(Value(1, 5), 0));
  EXPECT_TRUE(ring.Dies(Value(9, 5), 0)) << "too old to be told apart";
  EXPECT_FALSE(ring.Dies(Value(9, 6), 0));
  // Reinserted values are old by nature: for them it counts when they were judged.
  EXPECT_TRUE(ring.Dies(Value(9, 1), before));
  EXPECT_FALSE(ring.Dies(Value(9, 1), after));
  EXPECT_TRUE(ring.Dies(Value(3, 1), after));
}

TEST(KillRingTest, ARenewedKillerOutlivesItsFirstAddition) {
  KillRing ring(2);
  ring.Add(Tombstone(1, 5));
  ring.Add(Tombstone(1, 8));
  ring.Add(Tombstone(2, 9));  // the first addition leaves, the second stays
  EXPECT_TRUE(ring.Dies(Value(1, 8), 0));
  EXPECT_FALSE(ring.Dies(Value(1, 10), 0));
}

}  // namespace
}  // namespace kvgate::storage
