// SPDX-License-Identifier: Apache-2.0
//
// Reclaim: what is written again, what is forgotten, and that nothing deleted comes back.
#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "storage/log/log_harness.h"
#include "storage/log/log_test_macros.h"

namespace kvgate::storage {
namespace {

constexpr uint32_t kKiB = 1024;
constexpr auto kKill = MemoryMedium::kKill;
constexpr auto kPowerCut = MemoryMedium::kPowerCut;

TEST(LogReclaimTest, TheOldestRecordsGoAndTheNewestStay) {
  LogHarness log;
  ASSERT_OK(log.Open());
  for (int i = 0; i < 100; ++i) ASSERT_OK(log.Put(absl::StrCat("k", i), i + 1, 200 * kKiB));
  EXPECT_GT(log.counter("log_reclaimed_segments_total"), 5);
  ExpectMiss(log, "k0");
  ExpectHeld(log, "k99", 100);
  log.Crash(kKill, 1);
  ASSERT_OK(log.Open());
  ExpectMiss(log, "k0");
  ExpectHeld(log, "k99", 100);
}

TEST(LogReclaimTest, HotRecordsAreWrittenAgainWithTheirVersion) {
  LogHarness log;
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("hot", 1, 50 * kKiB, {.producer = 77}));
  log.index().Keep(log.HashOf("hot"));
  ASSERT_OK(log.FillUntilReclaimed(20, 2, 200 * kKiB));
  ExpectHeld(log, "hot", 1);
  EXPECT_GT(log.index().moved(), 1u);
  EXPECT_EQ(log.index().Find(log.HashOf("hot"))->meta.producer, 77u);
  EXPECT_EQ(log.counter("log_reinserted_records_total"), static_cast<double>(log.index().moved()));
  log.Crash(kPowerCut, 4);
  ASSERT_OK(log.Open());
  ExpectHeld(log, "hot", 1);
}

TEST(LogReclaimTest, ReinsertionStaysWithinItsBudget) {
  LogHarness log;
  ASSERT_OK(log.Open());
  uint64_t version = 1;
  for (int i = 0; i < 400; ++i) {
    const std::string key = absl::StrCat("k", i);
    log.index().Keep(log.HashOf(key));
    ASSERT_OK(log.Put(key, version++, 20 * kKiB));
  }
  const double reclaimed = log.counter("log_reclaimed_segments_total");
  ASSERT_GT(reclaimed, 4);
  EXPECT_GT(log.counter("log_reinserted_bytes_total"), 0);
  EXPECT_LE(log.counter("log_reinserted_bytes_total"), 0.11 * (reclaimed + 1) * (1 << 20));
}

TEST(LogReclaimTest, PinnedRecordsAreWrittenAgainOutsideTheBudget) {
  HarnessOptions options;
  options.log.reinsert_share_max = 0;
  LogHarness log(options);
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("pinned", 1, 150 * kKiB));
  ASSERT_OK(log.Put("hot", 2, 50 * kKiB));
  log.index().Keep(log.HashOf("pinned"), true);
  log.index().Keep(log.HashOf("hot"));
  ASSERT_OK(log.FillUntilReclaimed(10, 3, 200 * kKiB));
  ExpectHeld(log, "pinned", 1);
  ExpectMiss(log, "hot");
}

TEST(LogReclaimTest, ACorruptRecordIsNotWrittenAgain) {
  LogHarness log;
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("hot", 1, 50 * kKiB));
  log.index().Keep(log.HashOf("hot"));
  const Place place = log.index().Find(log.HashOf("hot"))->place;
  const std::byte wrong[1] = {std::byte{0x5a}};
  log.medium().Poke((1 << 20) + (uint64_t{place.segment} << 20) + place.first_page * 4096 + 99,
                    wrong);
  ASSERT_OK(log.FillUntilReclaimed(4, 2, 200 * kKiB));
  ExpectMiss(log, "hot");
  EXPECT_GE(log.counter("log_corrupt_records_total"), 1);
}

TEST(LogReclaimTest, AnAskReclaimsTheOldestSegmentAlthoughThereIsSpace) {
  LogHarness log;
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("old", 1, 200 * kKiB));
  ASSERT_OK(log.log().Flush(/*seal=*/true, absl::Seconds(60)));
  ASSERT_OK(log.Put("young", 2, 200 * kKiB));
  log.log().ReclaimSoon();
  while (log.counter("log_reclaimed_segments_total") < 1) std::this_thread::yield();
  ExpectMiss(log, "old");
  ExpectHeld(log, "young", 2);
  EXPECT_EQ(log.counter("log_reclaims_asked_total"), 1);
}

TEST(LogReclaimTest, AsksSealWhatIsOpenWhenNothingElseIsThere) {
  LogHarness log;
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("only", 1, 200 * kKiB));
  while (log.counter("log_reclaimed_segments_total") < 1) {
    log.log().ReclaimSoon();
    std::this_thread::yield();
  }
  ExpectMiss(log, "only");
  EXPECT_EQ(log.counter("log_seals_total"), 1);
}

TEST(LogReclaimTest, ADeleteOutlivesWhatItDeletes) {
  // The value is kept alive by reinsertion until its delete; its tombstone must outlive every copy.
  for (uint64_t laps : {1u, 2u, 5u, 9u, 14u}) {
    LogHarness log;
    ASSERT_OK(log.Open());
    ASSERT_OK(log.Put("a", 1, 50 * kKiB));
    log.index().Keep(log.HashOf("a"));
    ASSERT_OK(log.FillUntilReclaimed(3, 10, 200 * kKiB));
    ASSERT_OK(log.Delete("a", 1000));
    ASSERT_OK(log.FillUntilReclaimed(laps, 2000, 200 * kKiB));
    log.Crash(kKill, laps);
    ASSERT_OK(log.Open());
    ExpectMiss(log, "a");
  }
}

// Two disks: the old value lies in the younger segment, of a disk that is then left alone, while
// what ended it is reclaimed on the other one.
class OldValueOnAnotherDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(log_.Open());
    ASSERT_OK(log_.Put("first disk", 1, 5000));
    ASSERT_OK(log_.Put("a", 2, 5000));
    ASSERT_EQ(log_.index().Find(log_.HashOf("a"))->place.segment / (1 << 20), 1u);
  }
  void ReclaimTheFirstDisk() {
    log_.disk(1).Add({.kind = Fault::kError, .on_writes = true});
    for (int i = 0; log_.counter("log_reclaimed_segments_total") < 8; ++i) {
      ASSERT_LT(i, 200);
      log_.Put(absl::StrCat("filler", i), 100 + i, 200 * kKiB).IgnoreError();
    }
    ExpectMiss(log_, "first disk");
    log_.Crash(kKill, 1);
    ASSERT_OK(log_.Open());
  }
  LogHarness log_{{.devices = 2}};
};

TEST_F(OldValueOnAnotherDisk, ItsDeleteOutlivesIt) {
  ASSERT_OK(log_.Delete("a", 3));
  ReclaimTheFirstDisk();
  ExpectMiss(log_, "a");
  EXPECT_GE(log_.counter("log_tombstones_live"), 1);
}

TEST_F(OldValueOnAnotherDisk, ADroppedOverwriteLeavesATombstone) {
  ASSERT_OK(log_.Put("a", 3, 5000, {.supersedes = true}));
  ASSERT_EQ(log_.index().Find(log_.HashOf("a"))->place.segment / (1 << 20), 0u);
  ReclaimTheFirstDisk();
  ExpectMiss(log_, "a");
  EXPECT_GE(log_.counter("log_tombstones_live"), 1);
}

TEST(LogReclaimTest, TombstonesAreForgottenOnceNothingOlderLives) {
  LogHarness log;
  ASSERT_OK(log.Open());
  for (int i = 0; i < 50; ++i) ASSERT_OK(log.Delete(absl::StrCat("k", i), i + 1));
  ASSERT_OK(log.FillUntilReclaimed(12, 100, 200 * kKiB));
  EXPECT_EQ(log.counter("log_dropped_tombstones_total"), 50);
  EXPECT_EQ(log.counter("log_tombstones_live"), 0);
}

TEST(LogReclaimTest, ADeleteDuringReclaimStopsTheCopy) {
  LogHarness log;
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("a", 1, 50 * kKiB));
  log.index().Keep(log.HashOf("a"));
  absl::Notification deleted;
  // After the verdict "keep", before the copy is placed.
  log.index().OnJudge([&](std::span<const RecordMeta> records) {
    for (const RecordMeta& record : records) {
      if (record.hash == log.HashOf("a") && !deleted.HasBeenNotified()) {
        EXPECT_OK(log.Delete("a", 1000));
        deleted.Notify();
      }
    }
  });
  ASSERT_OK(log.FillUntilReclaimed(3, 2, 200 * kKiB));
  ASSERT_TRUE(deleted.HasBeenNotified());
  EXPECT_GE(log.counter("log_append_aborted_total"), 1);
  EXPECT_EQ(log.counter("log_reinserted_records_total"), 0);
  ASSERT_OK(log.FillUntilReclaimed(10, 2000, 200 * kKiB));
  log.Crash(kKill, 1);
  ASSERT_OK(log.Open());
  ExpectMiss(log, "a");
}

TEST(LogReclaimTest, AReadInFlightHoldsItsSegment) {
  LogHarness log;
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("a", 1, 50 * kKiB));
  const auto held = *log.index().Find(log.HashOf("a"));
  const int fault = log.disk().Add({.kind = Fault::kDelay,
                                    .on_reads = true,
                                    .begin = (1 << 20) + held.place.first_page * 4096ull,
                                    .end = (1 << 20) + held.place.first_page * 4096ull + 4096,
                                    .calls = 1});
  AlignedBuffer buffer(52 * kKiB);
  absl::Notification ended;
  absl::Status status;
  log.log().Read(held.place, 50 * kKiB, buffer.span(), absl::InfiniteFuture(),
                 [&](absl::Status result) {
                   status = std::move(result);
                   ended.Notify();
                 });
  ASSERT_EQ(log.disk().struck(fault), 1u);
  ASSERT_OK(log.FillUntilReclaimed(8, 2, 200 * kKiB));
  EXPECT_EQ(log.counter("log_segments_closing"), 1);
  log.disk().Release();
  ended.WaitForNotification();
  EXPECT_OK(status);
  const AlignedBuffer expected = ValueOf("a", 1, 50 * kKiB);
  EXPECT_TRUE(std::equal(expected.span().begin(), expected.span().end(), buffer.span().begin()));
  // A read that begins now is told that it comes too late.
  absl::Notification late;
  log.log().Read(held.place, 50 * kKiB, buffer.span(), absl::InfiniteFuture(),
                 [&](absl::Status result) {
                   EXPECT_TRUE(absl::IsAborted(result)) << result.ToString();
                   late.Notify();
                 });
  late.WaitForNotification();
}

TEST(LogReclaimTest, SeveralDevicesFillInTurnAndAreReclaimedEach) {
  LogHarness log({.devices = 3});
  ASSERT_OK(log.Open());
  for (int i = 0; i < 150; ++i) ASSERT_OK(log.Put(absl::StrCat("k", i), i + 1, 200 * kKiB));
  for (uint32_t device = 0; device < 3; ++device) {
    EXPECT_GT(log.medium(device).calls().written_bytes, 40 * 200 * kKiB) << device;
  }
  log.Crash(kKill, 1);
  ASSERT_OK(log.Open());
  for (int i = 140; i < 150; ++i) ExpectHeld(log, absl::StrCat("k", i), i + 1);
}

}  // namespace
}  // namespace kvgate::storage
