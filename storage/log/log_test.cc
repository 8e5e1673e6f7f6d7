// SPDX-License-Identifier: Apache-2.0
#include "storage/log/log.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "storage/log/format.h"
#include "storage/log/log_harness.h"
#include "storage/log/log_test_macros.h"

namespace kvgate::storage {
namespace {

constexpr uint32_t kKiB = 1024;
constexpr auto kKill = MemoryMedium::kKill;
constexpr auto kPowerCut = MemoryMedium::kPowerCut;

// ---- Append, read, recover ------------------------------------------------------------------

TEST(LogTest, WhatWasAppendedIsRead) {
  LogHarness log;
  ASSERT_OK(log.Open());
  for (uint32_t bytes : {1u, 4095u, 4096u, 4097u, 70000u, 200000u, 256 * kKiB}) {
    ASSERT_OK(log.Put(absl::StrCat("key", bytes), bytes, bytes));
    ExpectHeld(log, absl::StrCat("key", bytes), bytes);
  }
}

TEST(LogTest, RecordsSurviveACleanRestart) {
  LogHarness log;
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("a", 1, 5000));
  ASSERT_OK(log.Put("b", 2, 200 * kKiB));
  ASSERT_OK(log.log().Flush(false, absl::Minutes(1)));
  ASSERT_OK(log.Open());
  ExpectHeld(log, "a", 1);
  ExpectHeld(log, "b", 2);
  EXPECT_EQ(log.log().facts().version_max, 2u);
}

TEST(LogTest, LoggedRecordsSurviveKill) {
  LogHarness log;
  ASSERT_OK(log.Open());
  for (int i = 0; i < 20; ++i) ASSERT_OK(log.Put(absl::StrCat("k", i), i + 1, 3000 + i * 777));
  log.Crash(kKill, 1);
  ASSERT_OK(log.Open());
  for (int i = 0; i < 20; ++i) ExpectHeld(log, absl::StrCat("k", i), i + 1);
}

TEST(LogTest, DeviceRecordsSurvivePowerCut) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    LogHarness log;
    ASSERT_OK(log.Open());
    ASSERT_OK(log.Put("logged", 1, 9000));
    ASSERT_OK(log.Put("durable", 2, 9000, {.device = true}));
    ASSERT_OK(log.Put("later", 3, 9000));
    log.Crash(kPowerCut, seed);
    ASSERT_OK(log.Open());
    ExpectHeld(log, "logged", 1);  // earlier in the same segment
    ExpectHeld(log, "durable", 2);
    const absl::StatusOr<uint64_t> later = log.Get("later");
    EXPECT_TRUE(later.ok() || absl::IsNotFound(later.status())) << later.status().ToString();
  }
}

TEST(LogTest, ManySmallRecordsShareBatches) {
  HarnessOptions options;
  options.log.flush_delay_ms = 1000;
  LogHarness log(options);
  ASSERT_OK(log.Open());
  absl::BlockingCounter left(60);
  for (int i = 0; i < 60; ++i) {
    log.PutLater(absl::StrCat("k", i), i + 1, 100, {}, [&](const absl::Status& status) {
      EXPECT_OK(status);
      left.DecrementCount();
    });
  }
  left.Wait();
  EXPECT_EQ(log.counter("log_batches_total"), 1);
  for (int i = 0; i < 60; ++i) ExpectHeld(log, absl::StrCat("k", i), i + 1);
}

TEST(LogTest, FlushDoesNotWaitForTheDelay) {
  HarnessOptions options;
  options.log.flush_delay_ms = 1000 * 1000;
  LogHarness log(options);
  ASSERT_OK(log.Open());
  bool ended = false;
  log.PutLater("k", 1, 100, {}, [&](const absl::Status& status) { ended = status.ok(); });
  ASSERT_OK(log.log().Flush(false, absl::Minutes(1)));
  EXPECT_TRUE(ended);
}

TEST(LogTest, SealedSegmentsAreRecoveredFromFooters) {
  LogHarness log;
  ASSERT_OK(log.Open());
  for (int i = 0; i < 12; ++i) ASSERT_OK(log.Put(absl::StrCat("k", i), i + 1, 100 * kKiB));
  ASSERT_OK(log.log().Flush(true, absl::Minutes(1)));
  EXPECT_EQ(log.counter("log_segments_open"), 0);
  log.Crash(kPowerCut, 3);
  ASSERT_OK(log.Open());
  EXPECT_EQ(log.counter("log_torn_records_total"), 0);
  for (int i = 0; i < 12; ++i) ExpectHeld(log, absl::StrCat("k", i), i + 1);
}

TEST(LogTest, DeletedRecordsStayDeleted) {
  LogHarness log;
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("a", 1, 5000));
  ASSERT_OK(log.Put("b", 2, 5000));
  ASSERT_OK(log.Delete("a", 3));
  log.Crash(kKill, 1);
  ASSERT_OK(log.Open());
  ExpectMiss(log, "a");
  ExpectHeld(log, "b", 2);
}

TEST(LogTest, ATombstoneOfAllSiblingsEndsEveryGroupAndShard) {
  LogHarness log;
  ASSERT_OK(log.Open());
  ASSERT_OK(log.Put("a", 1, 5000, {.group = 0, .shard = 1}));
  ASSERT_OK(log.Put("a", 2, 5000, {.group = 2, .shard = 0}));
  ASSERT_OK(log.Delete("a", 3, false, true));
  log.Crash(kKill, 1);
  ASSERT_OK(log.Open());
  EXPECT_TRUE(absl::IsNotFound(log.Get("a", 0, 1).status()));
  EXPECT_TRUE(absl::IsNotFound(log.Get("a", 2, 0).status()));
}

TEST(LogTest, AValueOvertakenByItsDeleteIsNotWritten) {
  HarnessOptions options;
  options.log.flush_delay_ms = 1000 * 1000;
  LogHarness log(options);
  ASSERT_OK(log.Open());
  absl::Status put, del;
  AppendRequest tombstone;
  tombstone.meta = {
      .type = RecordType::kTombstone, .ns = kTestNamespace, .hash = log.HashOf("a"), .version = 5};
  tombstone.done = [&](const absl::StatusOr<Place>& place) { del = place.status(); };
  log.log().Append(std::move(tombstone));
  log.PutLater("a", 4, 5000, {}, [&](const absl::Status& status) { put = status; });
  ASSERT_OK(log.log().Flush(false, absl::Minutes(1)));
  EXPECT_OK(del);
  EXPECT_TRUE(absl::IsAborted(put)) << put.ToString();
}

TEST(LogTest, TheFullKeyIsFoundAgain) {
  LogHarness log;
  ASSERT_OK(log.Open());
  const std::string key(1024, 'k');
  ASSERT_OK(log.Put("first", 1, 5000));
  ASSERT_OK(log.Put(key, 2, 5000));
  const auto held = log.index().Find(log.HashOf(key));
  ASSERT_TRUE(held.has_value());
  const absl::StatusOr<std::string> read = log.log().ReadKey(held->place, held->meta.hash);
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(*read, key);
  EXPECT_TRUE(absl::IsNotFound(log.log().ReadKey(held->place, log.HashOf("other")).status()));
}

TEST(LogTest, BadAppendsAreRefusedByName) {
  LogHarness log;
  ASSERT_OK(log.Open());
  EXPECT_TRUE(absl::IsInvalidArgument(log.Put("big", 1, 256 * kKiB + 1)));
  EXPECT_TRUE(absl::IsInvalidArgument(log.Put(std::string(1025, 'k'), 1, 10)));
  EXPECT_TRUE(absl::IsInvalidArgument(log.Put("version", 0, 10)));
  EXPECT_TRUE(absl::IsInvalidArgument(log.Put("version", kVersionMax + 1, 10)));
  EXPECT_EQ(log.counter("log_batches_total"), 0);
}

TEST(LogTest, AFullWriteQueueRefuses) {
  HarnessOptions options;
  options.log.write_queue_bytes_max = 300 * kKiB;
  LogHarness log(options);
  ASSERT_OK(log.Open());
  log.disk().Add({.kind = Fault::kDelay, .on_writes = true});
  absl::Status first;
  absl::Notification first_ended;
  log.PutLater("a", 1, 200 * kKiB, {}, [&](const absl::Status& status) {
    first = status;
    first_ended.Notify();
  });
  absl::Status second;
  log.PutLater("b", 2, 200 * kKiB, {}, [&](const absl::Status& status) { second = status; });
  EXPECT_TRUE(absl::IsResourceExhausted(second)) << second.ToString();
  log.disk().Clear();
  log.disk().Release();
  first_ended.WaitForNotification();
  EXPECT_OK(first);
}

}  // namespace
}  // namespace kvgate::storage
