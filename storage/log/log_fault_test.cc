// SPDX-License-Identifier: Apache-2.0
//
// Disks that fail, lie and rot; sets that do not belong together; a checkpoint that is lost.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "storage/log/checkpoint.h"
#include "storage/log/format.h"
#include "storage/log/log_harness.h"
#include "storage/log/log_test_macros.h"

namespace kvgate::storage {
namespace {

constexpr uint32_t kKiB = 1024;
constexpr uint64_t kSegment = 1 << 20;
constexpr auto kKill = MemoryMedium::kKill;

uint64_t OffsetOf(uint32_t segment, uint64_t page = 0) {
  return kSegmentsStart + segment * kSegment + page * kPageBytes;
}

void Flip(MemoryMedium& medium, uint64_t offset, uint8_t mask) {
  std::byte byte[1];
  medium.Peek(offset, byte);
  byte[0] ^= std::byte{mask};
  medium.Poke(offset, byte);
}

// ---- Errors of the device -------------------------------------------------------------------

TEST(LogFaultTest, AFailedWriteFailsItsRecordAndNothingElse) {
  for (const absl::Status& error :
       {absl::UnavailableError("EIO"), absl::ResourceExhaustedError("ENOSPC")}) {
    LogHarness log;
    ASSERT_OK(log.Open());
    ASSERT_OK(log.Put("before", 1, 9000));
    log.disk().Add({.kind = Fault::kError, .on_writes = true, .calls = 1, .error = error});
    EXPECT_EQ(log.Put("failed", 2, 9000).code(), error.code());
    ExpectMiss(log, "failed");
    ASSERT_OK(log.Put("after", 3, 9000));
    ExpectHeld(log, "before", 1);
    ExpectHeld(log, "after", 3);
    log.Crash(kKill, 1);
    ASSERT_OK(log.Open());
    ExpectHeld(log, "before", 1);
    ExpectMiss(log, "failed");
    ExpectHeld(log, "after", 3);
  }
}

TEST(LogFaultTest, AShortWriteLeavesNothingHalfVisible) {
  LogHarness log;
  ASSERT_OK(log.Open());
  log.disk().Add({.kind = Fault::kShort, .on_writes = true, .calls = 1});
  EXPECT_FALSE(log.Put("failed", 1, 100 * kKiB).ok());
  log.Crash(kKill, 1);
  ASSERT_OK(log.Open());
  ExpectMiss(log, "failed");
}

TEST(LogFaultTest, AFullDiskDoesNotCostWhatIsStored) {
  LogHarness log;
  ASSERT_OK(log.Open());
  for (int i = 0; i < 8; ++i) ASSERT_OK(log.Put(absl::StrCat("k", i), i + 1, 100 * kKiB));
  log.disk().Add({.kind = Fault::kError,
                  .on_writes = true,
                  .begin = kSegmentsStart,
                  .error = absl::ResourceExhaustedError("no space")});
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(log.Put("x", 100 + i, 100 * kKiB).ok());
  for (int i = 0; i < 8; ++i) ExpectHeld(log, absl::StrCat("k", i), i + 1);
  log.disk().Clear();
  ASSERT_OK(log.Put("healed", 200, 100 * kKiB));
  ExpectHeld(log, "healed", 200);
}

TEST(LogFaultTest, AFailedSyncAcknowledgesNothing) {
  LogHarness log;
  ASSERT_OK(log.Open());
  log.disk().Add({.kind = Fault::kError, .on_syncs = true, .calls = 1});
  EXPECT_TRUE(absl::IsUnavailable(log.Put("a", 1, 9000, {.device = true})));
  // What follows goes to another segment, which can be vouched for.
  ASSERT_OK(log.Put("b", 2, 9000, {.device = true}));
  log.Crash(MemoryMedium::kPowerCut, 7);
  ASSERT_OK(log.Open());
  ExpectHeld(log, "b", 2);
}

TEST(LogFaultTest, ADeviceThatFailsAgainAndAgainIsLeftAlone) {
  LogHarness log({.devices = 2});
  ASSERT_OK(log.Open());
  log.disk(0).Add({.kind = Fault::kError, .on_reads = true, .on_writes = true, .on_syncs = true});
  // Which failures come first, of appends or of the reclaim behind them, is up to the threads.
  constexpr int kPutsMax = 100'000;
  int failed = 0, version = 0;
  const auto left_alone = [&] {
    return log.counter("disk_devices_read_only") + log.counter("disk_devices_offline");
  };
  while (left_alone() == 0 && version < kPutsMax) {
    ++version;
    failed += !log.Put(absl::StrCat("k", version), version, 9000).ok();
  }
  EXPECT_EQ(left_alone(), 1);
  for (int i = 0; i < 60; ++i) {
    ++version;
    failed += !log.Put(absl::StrCat("k", version), version, 9000).ok();
  }
  EXPECT_LE(failed, 12);
  ASSERT_OK(log.Put("other disk", version + 1, 9000));
  ExpectHeld(log, "other disk", version + 1);
}

TEST(LogFaultTest, AReadErrorIsAnErrorAndNotBytes) {
  LogHarness log;
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("a", 1, 9000));
  log.disk().Add({.kind = Fault::kError, .on_reads = true, .calls = 1});
  EXPECT_TRUE(absl::IsUnavailable(log.Get("a").status()));
  ExpectHeld(log, "a", 1);
}

TEST(LogFaultTest, AMisdirectedWriteIsDetected) {
  LogHarness log;
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("a", 1, 9000));
  ASSERT_OK(log.Put("b", 2, 9000));
  log.disk().Add(
      {.kind = Fault::kMisdirect, .on_writes = true, .calls = 1, .shift = 3 * kPageBytes});
  ASSERT_OK(log.Put("c", 3, 9000));
  EXPECT_TRUE(absl::IsDataLoss(log.Get("c").status())) << log.Get("c").status().ToString();
  log.Crash(kKill, 1);
  ASSERT_OK(log.Open());
  ExpectHeld(log, "a", 1);
  ExpectHeld(log, "b", 2);
  ExpectMiss(log, "c");
}

TEST(LogFaultTest, ALostWriteIsDetected) {
  LogHarness log;
  ASSERT_OK(log.Open());
  log.disk().Add({.kind = Fault::kLost, .on_writes = true, .calls = 1});
  ASSERT_OK(log.Put("a", 1, 9000));
  EXPECT_TRUE(absl::IsDataLoss(log.Get("a").status()));
}

// ---- Rot on the medium ----------------------------------------------------------------------

TEST(LogFaultTest, EveryByteOfABatchFlippedIsAMissOrHarmless) {
  LogHarness log;
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("a", 1, 5000));
  log.Close();
  // Page 1 is the header of the batch, pages 2 and 3 its payload.
  for (uint64_t at = OffsetOf(0, 1); at < OffsetOf(0, 4); ++at) {
    LogHarness copy;
    std::vector<std::byte> bytes(2 << 20);
    log.medium().Peek(0, bytes);
    copy.medium().Poke(0, bytes);
    std::vector<std::byte> tail(kDeviceTailBytes);
    log.medium().Peek((8 << 20) - kDeviceTailBytes, tail);
    copy.medium().Poke((8 << 20) - kDeviceTailBytes, tail);
    Flip(copy.medium(), at, static_cast<uint8_t>(1 << (at % 8)));
    ASSERT_OK(copy.Open());
    ExpectMiss(copy, "a");
    if (HasFailure()) FAIL() << "byte " << at - OffsetOf(0, 1);
    if (at % 7 != 0) at += 6;  // every seventh, with a changing bit; format_test has all of them
  }
}

TEST(LogFaultTest, ARottenFooterIsReplacedByTheWalk) {
  for (uint64_t back : {1u, 100u, 255u, 256u, 4095u}) {
    LogHarness log;
    ASSERT_OK(log.Open());
    ASSERT_OK(log.Put("a", 1, 5000));
    ASSERT_OK(log.Put("b", 2, 5000));
    ASSERT_OK(log.Delete("b", 3));
    ASSERT_OK(log.log().Flush(true, absl::Minutes(1)));
    log.Close();
    Flip(log.medium(), OffsetOf(1) - back, 0x10);
    ASSERT_OK(log.Open());
    ExpectHeld(log, "a", 1);
    ExpectMiss(log, "b");
  }
}

TEST(LogFaultTest, ARottenSegmentHeaderIsReplacedByTheFooter) {
  LogHarness log;
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("a", 1, 5000));
  ASSERT_OK(log.log().Flush(true, absl::Minutes(1)));
  log.Close();
  Flip(log.medium(), OffsetOf(0) + 33, 1);
  ASSERT_OK(log.Open());
  EXPECT_EQ(log.counter("log_corrupt_headers_total"), 1);
  ExpectHeld(log, "a", 1);
  ASSERT_OK(log.Open());
  EXPECT_EQ(log.counter("log_corrupt_headers_total"), 0);
  ExpectHeld(log, "a", 1);
}

TEST(LogFaultTest, ARottenHeaderNeverBringsBackAnOlderLap) {
  LogHarness log;
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("old", 1, 5000));
  ASSERT_OK(log.FillUntilReclaimed(9, 10, 200 * kKiB));
  log.Close();
  for (uint32_t segment = 0; segment < 6; ++segment) Flip(log.medium(), OffsetOf(segment) + 34, 1);
  ASSERT_OK(log.Open());
  ExpectMiss(log, "old");
  for (int i = 0; i < 60; ++i) {
    const absl::StatusOr<uint64_t> held = log.Get(absl::StrCat("filler", i));
    EXPECT_TRUE(held.ok() || absl::IsNotFound(held.status())) << held.status().ToString();
  }
}

TEST(LogFaultTest, RottenSuperblocksAreOutvotedAndMended) {
  LogHarness log;
  std::vector<StoreEvent> events;
  log.options().log.events = [&](const StoreEvent& event) { events.push_back(event); };
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("a", 1, 5000));
  log.Close();
  const auto offsets = SuperblockOffsets(8 << 20);
  Flip(log.medium(), offsets[0] + 20, 1);
  Flip(log.medium(), offsets[2] + 90, 1);
  ASSERT_OK(log.Open());
  ExpectHeld(log, "a", 1);
  log.Close();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].kind, EventKind::kSuperblock);
  EXPECT_NE(events[0].text.find("written anew"), std::string::npos);
  EXPECT_EQ(events[1].details[1].second, absl::StrCat(offsets[2]));
  Flip(log.medium(), offsets[1] + 90, 1);
  Flip(log.medium(), offsets[3] + 90, 1);
  ASSERT_OK(log.Open());
  ExpectHeld(log, "a", 1);
  log.Close();
  for (const int copy : {0, 1, 3}) Flip(log.medium(), offsets[copy] + 90, 1);
  const absl::Status status = log.Open();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status.ToString();
  EXPECT_NE(status.message().find("disk0"), absl::string_view::npos);
}

// ---- Sets -----------------------------------------------------------------------------------

void ExpectRefused(const absl::Status& status, absl::string_view disk, absl::string_view text) {
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status.ToString();
  EXPECT_NE(status.message().find(disk), absl::string_view::npos) << status.message();
  EXPECT_NE(status.message().find(text), absl::string_view::npos) << status.message();
}

TEST(LogSetTest, ForeignContentsAreRefused) {
  LogHarness log;
  const std::string foreign(4096, 'f');
  log.medium().Poke(0, std::as_bytes(std::span(foreign)));
  ExpectRefused(log.Open(), "disk0", "not kvgate's");
}

TEST(LogSetTest, DisksOfTwoSetsAreRefused) {
  LogHarness a({.devices = 2}), b({.devices = 2});
  ASSERT_OK(a.Open());
  ASSERT_OK(b.Open());
  a.Close();
  b.Close();
  a.media()[1] = b.media()[1];
  ExpectRefused(a.Open(), "disk1", "belongs to set");
}

TEST(LogSetTest, ACopiedDiskIsRefused) {
  LogHarness log({.devices = 2});
  ASSERT_OK(log.Open());
  log.Close();
  log.media()[1] = MemoryMedium::Create(8 << 20);
  std::vector<std::byte> bytes(8 << 20);
  log.medium(0).Peek(0, bytes);
  log.medium(1).Poke(0, bytes);
  ExpectRefused(log.Open(), "disk1", "copy of disk0");
}

TEST(LogSetTest, AMissingDiskIsRefused) {
  LogHarness log({.devices = 2});
  ASSERT_OK(log.Open());
  log.Close();
  log.media().pop_back();
  ExpectRefused(log.Open(), "disk0", "one of a set of 2");
}

TEST(LogSetTest, ABlankDiskAmongUsedOnesIsRefused) {
  LogHarness log({.devices = 2});
  ASSERT_OK(log.Open());
  log.Close();
  log.media()[1] = MemoryMedium::Create(8 << 20);
  ExpectRefused(log.Open(), "disk1", "is empty, but disk0");
}

TEST(LogSetTest, DisksMayComeInAnotherOrder) {
  LogHarness log({.devices = 2});
  ASSERT_OK(log.Open());
  for (int i = 0; i < 10; ++i) ASSERT_OK(log.Put(absl::StrCat("k", i), i + 1, 5000));
  log.Close();
  std::swap(log.media()[0], log.media()[1]);
  ASSERT_OK(log.Open());
  for (int i = 0; i < 10; ++i) ExpectHeld(log, absl::StrCat("k", i), i + 1);
}

TEST(LogSetTest, ASmallDiskIsRefusedWithTheSizeThatItNeeds) {
  LogHarness log({.device_bytes = 4 << 20});
  const absl::Status status = log.Open();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status.ToString();
  EXPECT_NE(status.message().find("give 5373952 bytes"), absl::string_view::npos)
      << status.message();
}

// ---- Checkpoint -----------------------------------------------------------------------------

class LogCheckpointTest : public ::testing::Test {
 protected:
  void Fill(LogHarness& log) {
    ASSERT_OK(log.Open());
    for (int i = 0; i < 20; ++i) ASSERT_OK(log.Put(absl::StrCat("k", i), i + 1, 100 * kKiB));
    ASSERT_OK(log.Delete("k3", 100));
    ASSERT_OK(log.log().Flush(true, absl::Minutes(1)));
    log.Close();
  }
  void ExpectAll(LogHarness& log) {
    for (int i = 0; i < 20; ++i) {
      if (i != 3) ExpectHeld(log, absl::StrCat("k", i), i + 1);
    }
    ExpectMiss(log, "k3");
  }
};

TEST_F(LogCheckpointTest, AStartReadsTheCheckpointAndNoFooter) {
  LogHarness log({.checkpoint_dir = TestDirectory("used")});
  Fill(log);
  ASSERT_OK(log.Open());
  ExpectAll(log);
  EXPECT_EQ(log.counter("rocksdb_rebuilds_total"), 0);
  // Namespaces with their canonical identity come from it.
  ASSERT_EQ(log.log().Namespaces().size(), 1u);
  EXPECT_EQ(log.log().Namespaces()[0].identity, "id");
}

TEST_F(LogCheckpointTest, AGetReadsNoRocksDb) {
  LogHarness log({.checkpoint_dir = TestDirectory("get")});
  Fill(log);
  ASSERT_OK(log.Open());
  const double reads = log.counter("rocksdb_reads_total");
  ExpectAll(log);
  EXPECT_EQ(log.counter("rocksdb_reads_total"), reads);
}

TEST_F(LogCheckpointTest, ALostCheckpointIsRebuiltFromFooters) {
  LogHarness log({.checkpoint_dir = TestDirectory("lost")});
  Fill(log);
  std::filesystem::remove_all(log.options().checkpoint_dir);
  ASSERT_OK(log.Open());
  ExpectAll(log);
  EXPECT_EQ(log.log().NextNamespaceId(), kTestNamespace + 1);
  log.Close();
  // Rebuilt for good: now the footers may be lost.
  for (uint32_t segment = 0; segment < 6; ++segment) {
    Flip(log.medium(), OffsetOf(segment + 1) - 10, 1);
  }
  ASSERT_OK(log.Open());
  ExpectAll(log);
  EXPECT_EQ(log.counter("log_torn_batches_total"), 0);
}

TEST_F(LogCheckpointTest, ACorruptCheckpointIsRebuiltFromFooters) {
  LogHarness log({.checkpoint_dir = TestDirectory("corrupt")});
  Fill(log);
  for (const auto& entry : std::filesystem::directory_iterator(log.options().checkpoint_dir)) {
    const std::string name = entry.path().filename().string();
    if (name == "LOCK" || !entry.is_regular_file()) continue;
    std::ofstream(entry.path(), std::ios::binary | std::ios::trunc) << "rotten";
  }
  ASSERT_OK(log.Open());
  EXPECT_GE(log.counter("rocksdb_rebuilds_total"), 1);
  ExpectAll(log);
}

TEST_F(LogCheckpointTest, ACheckpointOfAnotherSetIsEmptied) {
  const std::string directory = TestDirectory("foreign");
  LogHarness other({.checkpoint_dir = directory});
  Fill(other);
  LogHarness log({.checkpoint_dir = directory});
  ASSERT_OK(log.Open());
  EXPECT_EQ(log.counter("rocksdb_rebuilds_total"), 1);
  EXPECT_EQ(log.index().size(), 0u);
}

TEST_F(LogCheckpointTest, ANamespaceKeepsAllItsAliases) {
  const std::string directory = TestDirectory("aliases");
  LogCounters counters;
  for (const std::vector<std::string>& aliases :
       std::vector<std::vector<std::string>>{{}, {"one"}, {"one", "two", std::string(128, 'x')}}) {
    {
      const auto checkpoint = Checkpoint::Open(directory, Uuid{1}, &counters);
      ASSERT_OK(checkpoint.status());
      ASSERT_OK((*checkpoint)
                    ->PutNamespace(
                        {.id = 7, .tenant = "tenant", .aliases = aliases, .identity = "identity"}));
    }
    const auto checkpoint = Checkpoint::Open(directory, Uuid{1}, &counters);
    ASSERT_OK(checkpoint.status());
    std::vector<NamespaceRecord> back;
    ASSERT_OK((*checkpoint)->Namespaces(&back));
    ASSERT_EQ(back.size(), 1u);
    EXPECT_EQ(back[0].aliases, aliases);
    EXPECT_EQ(back[0].identity, "identity");
    EXPECT_EQ(back[0].tenant, "tenant");
  }
}

TEST_F(LogCheckpointTest, AStaleRecordIsToldByItsLap) {
  // The checkpoint of an earlier moment: its records name laps that ended.
  LogHarness log({.checkpoint_dir = TestDirectory("stale")});
  Fill(log);
  const std::string kept = TestDirectory("stale_copy");
  std::filesystem::copy(log.options().checkpoint_dir, kept,
                        std::filesystem::copy_options::recursive);
  ASSERT_OK(log.Open());
  ASSERT_OK(log.FillUntilReclaimed(8, 1000, 200 * kKiB));
  ExpectMiss(log, "k0");
  log.Close();
  std::filesystem::remove_all(log.options().checkpoint_dir);
  std::filesystem::rename(kept, log.options().checkpoint_dir);
  ASSERT_OK(log.Open());
  ExpectMiss(log, "k0");
}

// ---- Clock ----------------------------------------------------------------------------------

TEST(LogClockTest, TheCacheClockGoesOn) {
  LogHarness log;
  ASSERT_OK(log.Open());
  const uint32_t before = log.clock().CacheSeconds();
  ASSERT_OK(log.Put("a", 1, 5000, {.expiry_s = before + 10}));
  log.Close();
  log.clock().Advance(absl::Hours(1));
  ASSERT_OK(log.Open());
  EXPECT_EQ(log.log().facts().cache_seconds, before + 3600);
  ExpectHeld(log, "a", 1);  // the store judges expiry
}

TEST(LogClockTest, InTheSameBootTheWallClockIsNotAsked) {
  for (const int64_t jump : {-1'000'000, 40 * 86400}) {
    LogHarness log;
    log.clock().SetBoot(1);
    ASSERT_OK(log.Open());
    const uint32_t before = log.clock().CacheSeconds();
    ASSERT_OK(log.Put("expiring", 1, 5000, {.expiry_s = before + 7200}));
    log.Close();
    log.clock().Advance(absl::Hours(1));
    log.clock().ShiftWall(jump);
    ASSERT_OK(log.Open());
    EXPECT_EQ(log.log().facts().cache_seconds, before + 3600);
    ExpectHeld(log, "expiring", 1);
    EXPECT_EQ(log.counter("log_ttl_dropped_total"), 0);
  }
}

TEST(LogClockTest, AfterAnotherBootTheWallClockCounts) {
  LogHarness log;
  log.clock().SetBoot(1);
  ASSERT_OK(log.Open());
  const uint32_t before = log.clock().CacheSeconds();
  ASSERT_OK(log.Put("expiring", 1, 5000, {.expiry_s = before + 7200}));
  log.Close();
  log.clock().SetBoot(2);
  log.clock().ShiftWall(600);
  ASSERT_OK(log.Open());
  EXPECT_EQ(log.log().facts().cache_seconds, before + 600);
  ExpectHeld(log, "expiring", 1);
}

TEST(LogClockTest, ASmallStepBackOfTheWallClockIsNoTimeAndALargeOneIsLost) {
  LogHarness log;
  log.clock().SetBoot(1);
  ASSERT_OK(log.Open());
  const uint32_t before = log.clock().CacheSeconds();
  ASSERT_OK(log.Put("expiring", 1, 5000, {.expiry_s = before + 7200}));
  log.Close();
  log.clock().SetBoot(2);
  log.clock().ShiftWall(-60);
  ASSERT_OK(log.Open());
  EXPECT_EQ(log.log().facts().cache_seconds, before);
  ExpectHeld(log, "expiring", 1);
  log.Close();
  log.clock().SetBoot(3);
  log.clock().ShiftWall(-61);
  ASSERT_OK(log.Open());
  ExpectMiss(log, "expiring");
  EXPECT_EQ(log.counter("log_ttl_dropped_total"), 1);
}

TEST(LogClockTest, AWallClockBeyondBeliefDropsExpiringValuesForGood) {
  LogHarness log;
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("expiring", 1, 5000, {.expiry_s = log.clock().CacheSeconds() + 10}));
  ASSERT_OK(log.Put("lasting", 2, 5000));
  log.Close();
  log.clock().Advance(absl::Hours(24 * 31));
  ASSERT_OK(log.Open());
  ExpectMiss(log, "expiring");
  ExpectHeld(log, "lasting", 2);
  ASSERT_OK(log.log().Flush(true, absl::Minutes(1)));
  ASSERT_OK(log.Open());
  ExpectMiss(log, "expiring");
}

}  // namespace
}  // namespace kvgate::storage
