// SPDX-License-Identifier: Apache-2.0
//
// Starts under a clock that jumped, without a checkpoint, with devices that do not belong.
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/faults/storage/fault_run.h"
#include "tests/faults/storage/fault_store.h"

namespace kvgate::faults {
namespace {

using storage::Durability;
using storage::MemoryMedium;
using storage::SetMode;

constexpr int64_t kDay = 86'400, kTenYears = 3'653 * kDay;

void PutThree(FaultStore& store) {
  store.Put("lasting", 5'000, Durability::kLogged);
  store.Put("long", 5'000, Durability::kLogged, SetMode::kOverwrite, 7'200);
  store.Put("short", 5'000, Durability::kLogged, SetMode::kOverwrite, 60);
}

TEST(Clock, AJumpOfTheWallWhileRunningExpiresAndRevivesNothing) {
  for (const int64_t jump : {kDay, -kDay, kTenYears, -kTenYears}) {
    FaultStore store({});
    store.clock().SetBoot(1);
    ASSERT_TRUE(store.Open());
    PutThree(store);
    store.clock().ShiftWall(jump);
    EXPECT_EQ(store.CheckAll(absl::StrCat("jump ", jump)), 3u);
    store.clock().Advance(absl::Seconds(61));
    EXPECT_EQ(store.Check("short", "expired"), 0u);
    store.clock().ShiftWall(-2 * jump);
    EXPECT_EQ(store.Check("short", "expired, wall back"), 0u);
    EXPECT_NE(store.Check("long", "still valid"), 0u);
  }
}

TEST(Clock, AJumpBetweenTwoStartsRevivesNothingAndKeepsWhatDoesNotExpire) {
  for (const uint8_t boot : {1, 2}) {
    for (const int64_t jump : {kDay, -kDay, kTenYears, -kTenYears}) {
      FaultStore store({});
      store.clock().SetBoot(1);
      ASSERT_TRUE(store.Open());
      PutThree(store);
      store.clock().Advance(absl::Seconds(61));
      EXPECT_EQ(store.Check("short", "expired"), 0u);
      store.Crash(MemoryMedium::kKill, 1);
      store.ForgiveLosses();
      store.clock().SetBoot(boot);
      store.clock().ShiftWall(jump);
      ASSERT_TRUE(store.Open());
      const std::string when = absl::StrCat("boot ", int{boot}, ", jump ", jump);
      EXPECT_EQ(store.Check("short", when), 0u) << when;
      EXPECT_NE(store.Check("lasting", when), 0u) << when;
      // In the same boot the wall clock is not asked at all.
      if (boot == 1) {
        EXPECT_NE(store.Check("long", when), 0u) << when;
      }
    }
  }
}

std::set<std::string> KeysOf(FaultStore& store) {
  std::set<std::string> keys;
  std::string cursor;
  do {
    const auto page = store.store().Scan(store.ns(), cursor, 50);
    EXPECT_TRUE(page.ok()) << page.status();
    if (!page.ok()) break;
    for (const auto& entry : page->entries) {
      keys.insert(absl::StrCat(entry.key, " version ", entry.version));
    }
    cursor = page->next_cursor;
  } while (!cursor.empty());
  return keys;
}

TEST(Sets, ALostCheckpointIsRebuiltToTheSameKeys) {
  ForEachSeed("rebuild", 8, 300, [&](uint64_t seed) {
    const std::string place = FaultDirectory(absl::StrCat("rebuild", seed));
    std::mt19937_64 random(seed);
    FaultStore store(
        {.devices = 2, .device_bytes = 16 << 20, .checkpoint_at = place, .roomy = true});
    ASSERT_TRUE(store.Open());
    for (int i = 0; i < 120; ++i) store.RandomWrite(random, 40, 60'000);
    ASSERT_TRUE(store.store().Close(absl::Minutes(1)).ok());
    ASSERT_TRUE(store.Open());
    const std::set<std::string> before = KeysOf(store);
    store.Close();
    std::filesystem::remove_all(place);
    ASSERT_TRUE(store.Open());
    EXPECT_EQ(KeysOf(store), before);
    store.CheckAll("after a rebuild");
    store.Close();
    std::filesystem::remove_all(place);
  });
}

TEST(Sets, DevicesThatDoNotBelongTogetherAreRefusedAndKeepWhatTheyHold) {
  FaultStore a({.devices = 2, .roomy = true}), b({.devices = 2});
  for (FaultStore* store : {&a, &b}) {
    ASSERT_TRUE(store->Open());
    for (int i = 0; i < 6; ++i) store->Put(absl::StrCat("key", i), 9'000, Durability::kLogged);
    ASSERT_TRUE(store->store().Close(absl::Minutes(1)).ok());
    store->Close();
  }
  const auto good = a.media();
  std::vector<std::byte> bytes(good[0]->bytes());
  good[0]->Peek(0, bytes);
  const auto copy = MemoryMedium::Create(good[0]->bytes());
  copy->Poke(0, bytes);
  using Media = std::vector<std::shared_ptr<MemoryMedium>>;
  const Media wrong[] = {{good[0], b.media()[1]},
                         {good[0], copy},
                         {good[0]},
                         {good[0], MemoryMedium::Create(8 << 20)},
                         {good[0], good[1], b.media()[0]}};
  for (const Media& media : wrong) {
    a.media() = media;
    const absl::Status refused = a.TryOpen();
    EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  }
  a.media() = {good[1], good[0]};
  ASSERT_TRUE(a.Open());
  EXPECT_EQ(a.CheckAll("after refusals"), 6u);
}

}  // namespace
}  // namespace kvgate::faults
