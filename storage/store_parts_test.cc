// SPDX-License-Identifier: Apache-2.0
//
// Parts of the store that stand alone: pin tokens, tickets, recovery's merge, timers, options.
#include <algorithm>
#include <atomic>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/manual_clock.h"
#include "storage/store_pins.h"
#include "storage/store_random.h"
#include "storage/store_recovery.h"
#include "storage/store_test_util.h"
#include "storage/store_threads.h"
#include "storage/store_tickets.h"

namespace kvgate::storage {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1000);

BlockId Id(uint64_t hash, uint8_t shard = 0) { return {1, {hash, hash}, 0, shard}; }

PinGrant Grant(std::vector<uint64_t> blocks, bool staged = false, bool in_memory = true,
               const std::string& tenant = "t") {
  PinGrant grant;
  grant.ns = 1;
  grant.tenant = tenant;
  grant.expires = kNow + absl::Seconds(10);
  grant.staged = staged;
  for (const uint64_t hash : blocks) grant.blocks.push_back({Id(hash), 100, in_memory});
  return grant;
}

TEST(PinTable, ABlockStaysPinnedWhileAnyTokenCoversIt) {
  PinTable pins({10, 1000, 1000});
  const uint64_t first = pins.Add(Grant({1, 2}), kNow);
  const uint64_t second = pins.Add(Grant({2, 3}), kNow);
  EXPECT_EQ(pins.memory_bytes(), 300u);
  EXPECT_TRUE(pins.Remove(1, first, kNow));
  EXPECT_FALSE(pins.IsPinned(Id(1)));
  EXPECT_TRUE(pins.IsPinned(Id(2)));
  EXPECT_TRUE(pins.Remove(1, second, kNow));
  EXPECT_FALSE(pins.IsPinned(Id(2)));
  EXPECT_EQ(pins.memory_bytes(), 0u);
}

TEST(PinTable, BytesHaveCapsInMemoryAndOnDiskAndAreCountedOnce) {
  PinTable pins({10, 250, 100});
  EXPECT_NE(pins.Add(Grant({1, 2}), kNow), 0u);
  EXPECT_NE(pins.Add(Grant({1, 2}), kNow), 0u);  // nothing new
  EXPECT_EQ(pins.Add(Grant({3}), kNow), 0u);
  EXPECT_NE(pins.Add(Grant({4}, false, /*in_memory=*/false), kNow), 0u);
  EXPECT_EQ(pins.Add(Grant({5}, false, /*in_memory=*/false), kNow), 0u);
  pins.Moved(Id(4), /*in_memory=*/true);
  EXPECT_EQ(pins.memory_bytes(), 300u);
  EXPECT_EQ(pins.disk_bytes(), 0u);
}

TEST(PinTable, AFullTableReplacesTokensOfThatTenantButNeverStagedOnes) {
  PinTable pins({2, 10000, 0});
  const uint64_t other = pins.Add(Grant({9}, false, true, "other"), kNow);
  const uint64_t staged = pins.Add(Grant({1}, /*staged=*/true), kNow);
  const uint64_t plain = pins.Add(Grant({2}), kNow);
  const uint64_t third = pins.Add(Grant({3}), kNow);
  EXPECT_NE(third, 0u);
  EXPECT_EQ(pins.Find(1, plain, kNow), nullptr);
  EXPECT_NE(pins.Find(1, staged, kNow), nullptr);
  EXPECT_NE(pins.Find(1, other, kNow), nullptr);
  EXPECT_NE(pins.Add(Grant({4}, /*staged=*/true), kNow), 0u);
  EXPECT_EQ(pins.Add(Grant({5}), kNow), 0u);  // both are staged
  EXPECT_EQ(pins.replaced(), 2u);
}

TEST(PinTable, AOneTokenTableReplacesItsOnlyToken) {
  PinTable pins({1, 10000, 0});
  const uint64_t first = pins.Add(Grant({1}), kNow);
  const uint64_t second = pins.Add(Grant({2}), kNow);
  EXPECT_NE(second, 0u);
  EXPECT_EQ(pins.Find(1, first, kNow), nullptr);
  EXPECT_EQ(pins.tokens(), 1u);
}

TEST(PinTable, TokensEndByTimeAndBelongToOneNamespace) {
  PinTable pins({10, 10000, 0});
  const uint64_t token = pins.Add(Grant({1}), kNow);
  EXPECT_EQ(pins.Find(2, token, kNow), nullptr);
  EXPECT_TRUE(pins.Renew(1, token, kNow + absl::Seconds(20), kNow));
  EXPECT_NE(pins.Find(1, token, kNow + absl::Seconds(15)), nullptr);
  EXPECT_EQ(pins.Find(1, token, kNow + absl::Seconds(20)), nullptr);
  EXPECT_FALSE(pins.Renew(1, token, kNow + absl::Seconds(90), kNow + absl::Seconds(21)));
  EXPECT_FALSE(pins.IsPinned(Id(1)));
}

TEST(TicketTable, PromisedKeysArePendingUntilTheyAreSettledOrTheTicketEnds) {
  TicketTable tickets(1000);
  const uint64_t ticket = tickets.Add("t", {{Id(1), 400}, {Id(2), 500}}, kNow);
  EXPECT_TRUE(tickets.IsPending(Id(1)));
  EXPECT_FALSE(tickets.HasRoom(200));
  tickets.Settle(ticket, Id(1));
  tickets.Settle(ticket, Id(1));
  tickets.Settle(12345, Id(2));  // a foreign ticket
  EXPECT_FALSE(tickets.IsPending(Id(1)));
  EXPECT_TRUE(tickets.IsPending(Id(2)));
  EXPECT_EQ(tickets.promised_bytes(), 500u);
  tickets.Expire(kNow + kTicketLife);
  EXPECT_FALSE(tickets.IsPending(Id(2)));
  EXPECT_EQ(tickets.promised_bytes(), 0u);
  EXPECT_EQ(tickets.tickets(), 0u);
}

TEST(TicketTable, ATenantHasALimitAndAnotherIsNotTouchedByIt) {
  TicketTable tickets(1 << 30);
  for (uint32_t i = 0; i < kTicketsMax; ++i) {
    ASSERT_NE(tickets.Add("t", {{Id(i + 1), 1}}, kNow), 0u);
  }
  EXPECT_EQ(tickets.Add("t", {{Id(1 << 20), 1}}, kNow), 0u);
  EXPECT_NE(tickets.Add("other", {{Id(1 << 20), 1}}, kNow), 0u);
}

RecoveredRecord Value(uint64_t hash, uint64_t version, uint32_t segment, uint8_t shard = 0) {
  RecoveredRecord record;
  record.meta.ns = 1;
  record.meta.hash = {hash, hash};
  record.meta.shard = shard;
  record.meta.version = version;
  record.meta.length = 1;
  record.place = {segment, 1};
  return record;
}

RecoveredRecord Tombstone(uint64_t hash, uint64_t version, bool all, uint8_t shard = 0) {
  RecoveredRecord record = Value(hash, version, 999, shard);
  record.meta.type = RecordType::kTombstone;
  record.meta.all_siblings = all;
  record.place = {};
  return record;
}

TEST(RecoveryMerge, TheResultDoesNotDependOnTheOrder) {
  std::vector<RecoveredRecord> records = {
      Value(1, 10, 1),        Value(1, 12, 3),         Value(1, 12, 2),  // reinserted once
      Value(2, 20, 4),        Tombstone(2, 20, false), Value(3, 30, 5),
      Value(3, 31, 6, 1),     Tombstone(3, 30, true),  Value(4, 40, 7),
      Tombstone(4, 41, true), Value(4, 42, 8),         Tombstone(5, 50, false, 1),
      Value(5, 49, 9),
  };
  std::sort(records.begin(), records.end(),
            [](const auto& a, const auto& b) { return a.place.segment < b.place.segment; });
  for (int rotation = 0; rotation < static_cast<int>(records.size()); ++rotation) {
    std::rotate(records.begin(), records.begin() + 1, records.end());
    auto index = NewSlabIndex(100);
    RecoveryMerge merge(index.get());
    for (const RecoveredRecord& record : records) merge.Add({&record, 1});
    EXPECT_EQ(index->Find(Id(1))->version, 12u);
    EXPECT_FALSE(index->Find(Id(2)));
    EXPECT_FALSE(index->Find(Id(3)));
    EXPECT_TRUE(index->Find(Id(3, 1)));
    EXPECT_EQ(index->Find(Id(4))->version, 42u);
    EXPECT_TRUE(index->Find(Id(5)));
    EXPECT_EQ(merge.version_max(), 50u);
  }
}

TEST(RecoveryMerge, OfTwoCopiesTheLaterStays) {
  for (const uint32_t last : {2, 3}) {
    auto index = NewSlabIndex(100);
    RecoveryMerge merge(index.get());
    const std::vector<RecoveredRecord> records = {Value(1, 12, 5 - last), Value(1, 12, last)};
    merge.Add(records);
    EXPECT_EQ(index->Find(Id(1))->place.segment, last);
  }
}

TEST(RecoveryMerge, WhatDoesNotFitIsCounted) {
  auto index = NewSlabIndex(1);
  RecoveryMerge merge(index.get());
  const std::vector<RecoveredRecord> records = {Value(1, 1, 1), Value(2, 2, 2)};
  merge.Add(records);
  EXPECT_EQ(merge.dropped(), 1u);
}

TEST(RecoveryMerge, AnOlderVersionNeverTakesThePlaceOfOneThatDidNotFit) {
  auto index = NewSlabIndex(1);
  RecoveryMerge merge(index.get());
  RecoveredRecord tombstone = Value(1, 9, 9);
  tombstone.meta.type = RecordType::kTombstone;
  const std::vector<RecoveredRecord> records = {Value(1, 1, 1), Value(2, 8, 2), tombstone,
                                                Value(2, 7, 3)};
  merge.Add(records);
  EXPECT_FALSE(index->Find(Id(1)));
  EXPECT_FALSE(index->Find(Id(2)));
}

TEST(Timers, RunInTheOrderOfTheirTimeUnlessCancelled) {
  ManualClock clock;
  Timers timers(&clock);
  std::vector<int> ran;
  Answer<int> last;
  const auto in = [&clock](int ms) { return clock.Now() + absl::Milliseconds(ms); };
  timers.Schedule(in(30), [&] {
    ran.push_back(3);
    last.callback()(0);
  });
  timers.Schedule(in(10), [&] { ran.push_back(1); });
  const auto second = timers.Schedule(in(20), [&] { ran.push_back(2); });
  EXPECT_TRUE(timers.Cancel(second));
  EXPECT_FALSE(timers.Cancel(second));
  clock.Advance(absl::Milliseconds(40));
  ASSERT_TRUE(last.Wait().ok());
  EXPECT_THAT(ran, ::testing::ElementsAre(1, 3));
}

TEST(Timers, StopDropsWhatIsNotDue) {
  ManualClock clock;
  Timers timers(&clock);
  bool ran = false;
  timers.Schedule(clock.Now() + absl::Hours(1), [&] { ran = true; });
  timers.Stop();
  EXPECT_FALSE(ran);
}

TEST(Workers, StopRunsWhatWasPostedAndLaterWorkRunsAtOnce) {
  Workers workers(2);
  std::atomic<int> ran{0};
  for (int i = 0; i < 100; ++i) workers.Post([&] { ++ran; });
  workers.Stop();
  EXPECT_EQ(ran, 100);
  workers.Post([&] { ++ran; });
  EXPECT_EQ(ran, 101);
}

TEST(StoreOptions, DefaultsAreValidAndBadFieldsAreNamed) {
  EXPECT_TRUE(StoreOptions().Validate().ok());
  const auto refused = [](void (*change)(StoreOptions*), const char* field) {
    StoreOptions options;
    change(&options);
    const absl::Status status = options.Validate();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(field));
  };
  refused([](StoreOptions* o) { o->memory.bytes_max = 1000; }, "memory.bytes_max = 1000");
  refused([](StoreOptions* o) { o->memory.extent_bytes = 5000; }, "memory.extent_bytes = 5000");
  refused([](StoreOptions* o) { o->memory.extent_bytes = 1ull << 40; }, "memory.extent_bytes");
  refused([](StoreOptions* o) { o->log.directories = {"a", "a"}; }, "named twice");
  refused([](StoreOptions* o) { o->log.directories = {""}; }, "log.directories");
  refused([](StoreOptions* o) { o->log.reinsert_share_max = 2; }, "log.reinsert_share_max");
  refused([](StoreOptions* o) { o->log.write_queue_bytes_max = 0; }, "log.write_queue_bytes_max");
  refused([](StoreOptions* o) { o->log.segment_bytes = 5; }, "log.segment_bytes");
  refused([](StoreOptions* o) { o->disk.queue_depth = 0; }, "disk.queue_depth");
  refused([](StoreOptions* o) { o->namespaces_max = 0; }, "namespaces_max");
  refused([](StoreOptions* o) { o->namespaces_a_tenant_max = 0; }, "namespaces_a_tenant_max");
  refused([](StoreOptions* o) { o->pin_tokens_max = 0; }, "pin_tokens_max");
  refused([](StoreOptions* o) { o->pinned_share_max = 0.9; }, "pinned_share_max");
  refused([](StoreOptions* o) { o->index_blocks_max = 0; }, "index_blocks_max");
}

TEST(Random, ValuesAreNotZeroAndDiffer) {
  const uint64_t a = RandomNonZero64(), b = RandomNonZero64();
  EXPECT_NE(a, 0u);
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace kvgate::storage
