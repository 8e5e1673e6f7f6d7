// SPDX-License-Identifier: Apache-2.0
//
// The local door and its client transport together, over a real store: what goes over it.
#include <gmock/gmock.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "gateway/local/test_worker.h"
#include "proto/wire/checksum.h"

namespace kvgate::gateway {
namespace {

using client::Outcome;
using client::Reason;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LocalDoorTest : public ::testing::TestWithParam<size_t> {};

TEST_P(LocalDoorTest, ValueComesBackWhole) {
  TestDoor::Options options = TestDoor::DefaultOptions();
  options.memory_bytes = 192ull << 20;
  TestDoor door(options);
  Worker worker(door);
  const std::string value = ValueOf("k", GetParam());
  ASSERT_EQ(worker.Set("k", value), Reason::kOk) << worker.outcome().message;
  const auto got = worker.Get({"k"}, {value.size()});
  EXPECT_EQ(got.results[0].reason, Reason::kOk) << worker.outcome().message;
  EXPECT_EQ(got.results[0].tier, 1);
  EXPECT_EQ(got.results[0].value_bytes, value.size());
  EXPECT_EQ(got.results[0].crc32c, wire::Crc32c(0, value.data(), value.size()));
  EXPECT_TRUE(got.values[0] == value);
}
INSTANTIATE_TEST_SUITE_P(Sizes, LocalDoorTest,
                         ::testing::Values(1, 63, 4096, (64 << 10) - 1, 64 << 10, (64 << 10) + 1,
                                           2 << 20, 64 << 20));

TEST(LocalDoor, OpenAnswersLimitsAndIncarnation) {
  TestDoor door;
  Worker worker(door);
  EXPECT_EQ(worker.opened().incarnation, door.namespaces().incarnation());
  EXPECT_EQ(worker.transport().incarnation(), door.namespaces().incarnation());
  EXPECT_EQ(worker.opened().limits.key_bytes_max, 1024u);
  EXPECT_EQ(worker.opened().limits.keys_max, 1024u);
  EXPECT_THAT(worker.opened().root_group_keys, ElementsAre(256));
  EXPECT_EQ(worker.opened().local_socket, door.socket_path());
  EXPECT_EQ(worker.opened().identity_digest.size(), 32u);
}

TEST(LocalDoor, MissIsAnAnswer) {
  TestDoor door;
  Worker worker(door);
  const auto got = worker.Get({"nothing"}, {100});
  EXPECT_TRUE(worker.outcome().ok()) << worker.outcome().message;
  EXPECT_EQ(got.results[0].reason, Reason::kNotHeld);
}

TEST(LocalDoor, WrongTargetSizeIsToldAndNothingIsWritten) {
  TestDoor door;
  Worker worker(door);
  ASSERT_EQ(worker.Set("small", ValueOf("s", 1000)), Reason::kOk);
  ASSERT_EQ(worker.Set("large", ValueOf("l", 100'000)), Reason::kOk);
  const auto got = worker.Get({"small", "large", "small"}, {500, 99'999, 1000});
  EXPECT_EQ(got.results[0].reason, Reason::kWrongSize);
  EXPECT_EQ(got.results[0].value_bytes, 1000u);
  EXPECT_EQ(got.results[1].reason, Reason::kWrongSize);
  EXPECT_EQ(got.results[2].reason, Reason::kOk);
  EXPECT_EQ(got.values[0], std::string(500, '\xAA'));
  EXPECT_EQ(got.values[1], std::string(99'999, '\xAA'));
}

TEST(LocalDoor, ThousandKeysInOneBatch) {
  TestDoor door;
  Worker worker(door);
  std::vector<std::string> keys, values;
  std::vector<size_t> sizes;
  for (size_t i = 0; i < 1024; ++i) {
    keys.push_back(Key(i) + std::string(i % 900, 'x'));  // the list needs staging
    values.push_back(ValueOf(keys.back(), 1 + (i * 37) % 20'000));
    sizes.push_back(values.back().size());
  }
  EXPECT_THAT(worker.SetMany(keys, values), Each(Reason::kOk)) << worker.outcome().message;
  const auto got = worker.Get(keys, sizes);
  for (size_t i = 0; i < keys.size(); ++i) {
    ASSERT_EQ(got.results[i].reason, Reason::kOk) << i;
    ASSERT_TRUE(got.values[i] == values[i]) << i;
  }
  EXPECT_THAT(worker.SetMany(keys, values), Each(Reason::kAlreadyHeld));
  EXPECT_EQ(worker.transport().arena().bytes_in_use(), 0u);
}

TEST(LocalDoor, SetLargerThanStagingGoesInSeveralCommits) {
  TestDoor door;
  Worker worker(door, {}, 4 << 20);
  std::vector<std::string> keys, values;
  std::vector<size_t> sizes;
  for (size_t i = 0; i < 20; ++i) {
    keys.push_back(Key(i));
    values.push_back(ValueOf(keys.back(), 1 << 20));
    sizes.push_back(1 << 20);
  }
  EXPECT_THAT(worker.SetMany(keys, values), Each(Reason::kOk)) << worker.outcome().message;
  const auto got = worker.Get(keys, sizes);
  EXPECT_TRUE(got.values == values);
  // A value that cannot fit at all is dropped with a reason.
  EXPECT_EQ(worker.Set("big", ValueOf("b", 5 << 20)), Reason::kOverloaded);
  EXPECT_THAT(worker.outcome().message, HasSubstr("5242880"));
}

TEST(LocalDoor, PiecesAreFilledInOrder) {
  TestDoor door;
  Worker worker(door);
  const std::string value = ValueOf("k", 300'000);
  ASSERT_EQ(worker.Set("k", value), Reason::kOk);
  std::string first(100'001, 0), second(99'999, 0), third(100'000, 0);
  std::vector<std::span<std::byte>> pieces;
  for (std::string* part : {&first, &second, &third}) {
    pieces.push_back(std::as_writable_bytes(std::span(part->data(), part->size())));
  }
  const client::Pieces target(pieces);
  const std::string_view key = "k";
  client::GetRequest request;
  request.ns = worker.ns();
  request.keys = std::span(&key, 1);
  request.targets = std::span(&target, 1);
  client::GetResult result;
  const uint8_t verify = 1;
  const Outcome outcome =
      worker.transport().Get(request, DeadlineIn(kCallMs), {&verify, 1}, {&result, 1});
  EXPECT_TRUE(outcome.ok()) << outcome.message;
  EXPECT_EQ(result.reason, Reason::kOk);
  EXPECT_TRUE(first + second + third == value);
}

TEST(LocalDoor, RangeHasItsOwnChecksum) {
  TestDoor door;
  Worker worker(door);
  for (const size_t bytes : {size_t{10'000}, size_t{1'000'000}}) {
    const std::string key = "k" + std::to_string(bytes);
    const std::string value = ValueOf(key, bytes);
    ASSERT_EQ(worker.Set(key, value), Reason::kOk);
    const auto got = worker.Get({key}, {5000}, true, kCallMs, 3333, 5000);
    EXPECT_EQ(got.results[0].reason, Reason::kOk) << worker.outcome().message;
    EXPECT_TRUE(got.values[0] == value.substr(3333, 5000));
    EXPECT_EQ(got.results[0].crc32c, wire::Crc32c(0, value.data() + 3333, 5000));
    // One that ends beyond the value is a miss of that value.
    EXPECT_EQ(worker.Get({key}, {5000}, true, kCallMs, bytes - 10, 5000).results[0].reason,
              Reason::kNotHeld);
  }
}

TEST(LocalDoor, LookupPinsAndGetGoesByHandle) {
  TestDoor door;
  Worker scheduler(door), worker(door);
  std::vector<std::string> keys, values;
  for (size_t i = 0; i < 8; ++i) {
    keys.push_back(Key(i));
    values.push_back(ValueOf(keys.back(), 100'000 + i));
  }
  ASSERT_THAT(
      scheduler.SetMany({keys.begin(), keys.begin() + 6}, {values.begin(), values.begin() + 6}),
      Each(Reason::kOk));
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  client::GroupQuery query;
  query.keys = views;
  query.block_tokens = 16;
  client::LookupRequest request;
  request.ns = scheduler.ns();
  request.queries = std::span(&query, 1);
  request.pin_ms = 10'000;
  request.recompute_ms_per_token = 1;
  client::LookupReply reply;
  Outcome outcome = scheduler.transport().Lookup(request, DeadlineIn(kCallMs), &reply);
  ASSERT_TRUE(outcome.ok()) << outcome.message;
  ASSERT_EQ(reply.groups.size(), 1u);
  EXPECT_EQ(reply.groups[0].held, 6u);
  EXPECT_EQ(reply.boundary_tokens, 96u);
  EXPECT_EQ(reply.advice, 1);
  ASSERT_NE(reply.pin_token, 0u);

  // Another process of the tenant uses the token.
  client::GetRequest get;
  get.pin_token = reply.pin_token;
  get.first = 2;
  get.count = 4;
  const auto got = worker.GetBy(get, {100'002, 100'003, 100'004, 100'005});
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(got.results[i].reason, Reason::kOk) << worker.outcome().message;
    EXPECT_TRUE(got.values[i] == values[i + 2]);
  }
  uint32_t granted = 0;
  EXPECT_TRUE(worker.transport()
                  .Pin(worker.ns(), reply.pin_token, 5000, DeadlineIn(kCallMs), &granted)
                  .ok());
  EXPECT_GT(granted, 0u);
  EXPECT_FALSE(
      worker.transport().Pin(worker.ns(), reply.pin_token, 0, DeadlineIn(kCallMs), &granted).ok());
  EXPECT_TRUE(worker.transport().Unpin(worker.ns(), reply.pin_token, DeadlineIn(kCallMs)).ok());
  EXPECT_THAT(worker.GetBy(get, {100'002, 100'003, 100'004, 100'005}).results[0].reason,
              Reason::kStaleToken);
}

TEST(LocalDoor, LongLookupAnswersThroughStaging) {
  TestDoor door;
  Worker worker(door);
  std::vector<std::string> keys;
  for (size_t i = 0; i < 20'000; ++i) keys.push_back(Key(i));
  // Runs of one key each: sizes differ.
  std::vector<std::string> some(keys.begin(), keys.begin() + 1000), values;
  for (size_t i = 0; i < some.size(); ++i) values.push_back(ValueOf(some[i], 100 + i));
  ASSERT_THAT(worker.SetMany(some, values), Each(Reason::kOk));
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  client::GroupQuery query;
  query.keys = views;
  client::LookupRequest request;
  request.ns = worker.ns();
  request.queries = std::span(&query, 1);
  client::LookupReply reply;
  Outcome outcome = worker.transport().Lookup(request, DeadlineIn(kCallMs), &reply);
  ASSERT_TRUE(outcome.ok()) << outcome.message;
  EXPECT_EQ(reply.groups[0].held, 1000u);
  EXPECT_EQ(reply.groups[0].runs.size(), 1000u);
  query.match = 2;
  outcome = worker.transport().Lookup(request, DeadlineIn(kCallMs), &reply);
  ASSERT_TRUE(outcome.ok()) << outcome.message;
  EXPECT_EQ(reply.groups[0].bitmap.size(), 2500u);
  EXPECT_EQ(worker.transport().arena().bytes_in_use(), 0u);
}

TEST(LocalDoor, OfferDeleteTouch) {
  TestDoor door;
  Worker worker(door);
  ASSERT_EQ(worker.Set("a", "value"), Reason::kOk);
  const std::string_view keys[] = {"a", "b"};
  const uint64_t sizes[] = {5, 6};
  client::OfferRequest offer;
  offer.ns = worker.ns();
  offer.keys = keys;
  offer.value_bytes = sizes;
  client::OfferReply offered;
  Outcome outcome = worker.transport().Offer(offer, DeadlineIn(kCallMs), &offered);
  ASSERT_TRUE(outcome.ok()) << outcome.message;
  EXPECT_THAT(offered.states, ElementsAre(2, 1));  // HELD, WANTED
  EXPECT_NE(offered.ticket, 0u);
  EXPECT_TRUE(worker.transport().Touch(worker.ns(), "a", 0, {}, DeadlineIn(kCallMs)).ok());
  client::DeleteRequest del;
  del.ns = worker.ns();
  del.keys = keys;
  bool found[2] = {false, true};
  outcome = worker.transport().Delete(del, DeadlineIn(kCallMs), found);
  ASSERT_TRUE(outcome.ok()) << outcome.message;
  EXPECT_THAT(found, ElementsAre(true, false));
  EXPECT_EQ(worker.Get({"a"}, {5}).results[0].reason, Reason::kNotHeld);
  EXPECT_TRUE(worker.transport().Ping(DeadlineIn(kCallMs)).ok());
}

TEST(LocalDoor, ProducerCrcMismatchStoresNothing) {
  TestDoor door;
  Worker worker(door);
  const std::string value = ValueOf("k", 100'000);
  const std::span<const std::byte> piece = Bytes(value);
  client::SetEntry entry;
  entry.key = "k";
  entry.value = std::span(&piece, 1);
  entry.producer_crc = 12345;
  client::SetRequest request;
  request.ns = worker.ns();
  request.entries = std::span(&entry, 1);
  client::SetResult result;
  const Outcome outcome = worker.transport().Set(request, DeadlineIn(kCallMs), {&result, 1});
  EXPECT_TRUE(outcome.ok()) << outcome.message;
  EXPECT_EQ(result.reason, Reason::kDataLoss);
  EXPECT_EQ(worker.Get({"k"}, {value.size()}).results[0].reason, Reason::kNotHeld);
}

TEST(LocalDoor, StagingOfTheCallerGoesWithoutACopy) {
  TestDoor door;
  Worker worker(door);
  const std::string value = ValueOf("k", 1 << 20);
  std::byte* memory = worker.transport().AllocStaging(value.size());
  ASSERT_NE(memory, nullptr);
  EXPECT_TRUE(worker.transport().OwnsStaging(memory));
  std::memcpy(memory, value.data(), value.size());
  const std::span<const std::byte> piece(memory, value.size());
  client::SetEntry entry;
  entry.key = "k";
  entry.value = std::span(&piece, 1);
  client::SetRequest request;
  request.ns = worker.ns();
  request.entries = std::span(&entry, 1);
  client::SetResult result;
  const Outcome outcome = worker.transport().Set(request, DeadlineIn(kCallMs), {&result, 1});
  EXPECT_TRUE(outcome.ok()) << outcome.message;
  EXPECT_EQ(result.reason, Reason::kOk);
  EXPECT_EQ(worker.transport().copies().staged_bytes, 0u);
  worker.transport().FreeStaging(memory);
  EXPECT_EQ(worker.transport().arena().bytes_in_use(), 0u);
  EXPECT_TRUE(worker.Get({"k"}, {value.size()}).values[0] == value);
}

TEST(LocalDoor, UnknownNamespaceAndLimitsAreRefusedByName) {
  TestDoor door;
  Worker worker(door);
  const std::string long_key(1025, 'k');
  EXPECT_EQ(worker.Get({long_key}, {10}).results[0].reason, Reason::kRefused);
  EXPECT_THAT(worker.outcome().message, HasSubstr("1025"));
  worker.Get({}, {});
  EXPECT_EQ(worker.outcome().code, wire::Code::kOk);  // nothing was asked
  worker.Get({""}, {10});
  EXPECT_EQ(worker.outcome().code, wire::Code::kInvalidArgument);
  EXPECT_EQ(worker.Set("k", ""), Reason::kRefused);
  client::GetRequest request;
  const std::string_view key = "k";
  client::GetResult result;
  client::Pieces target;
  request.ns = 12345;
  request.keys = std::span(&key, 1);
  request.targets = std::span(&target, 1);
  const Outcome outcome = worker.transport().Get(request, DeadlineIn(kCallMs), {}, {&result, 1});
  EXPECT_EQ(outcome.code, wire::Code::kFailedPrecondition);
  EXPECT_THAT(outcome.message, HasSubstr("open again"));
  // Still served.
  EXPECT_EQ(worker.Set("k", "v"), Reason::kOk);
}

TEST(LocalDoor, NamespacesDoNotMix) {
  TestDoor door;
  Worker one(door), other(door, {}, 1 << 20, "weights-2");
  ASSERT_EQ(one.Set("k", "one"), Reason::kOk);
  EXPECT_EQ(other.Get({"k"}, {3}).results[0].reason, Reason::kNotHeld);
}

TEST(LocalDoor, GetOfThirtyTwoBlocksIsTwoMessagesOneReleaseAndOneCopy) {
  TestDoor door;
  Worker worker(door);
  std::vector<std::string> keys, values;
  for (size_t i = 0; i < 32; ++i) {
    keys.push_back(Key(i));
    values.push_back(ValueOf(keys.back(), 1 << 20));
  }
  ASSERT_THAT(worker.SetMany(keys, values), Each(Reason::kOk));
  const std::vector<size_t> sizes(32, 1 << 20);
  worker.Get(keys, sizes);  // maps the extents
  const auto& channel = worker.transport().channel().counters();
  const uint64_t sent = channel.sent, received = channel.received;
  const uint64_t copied = worker.transport().copies().copied_bytes;
  const double copied_out = door.Counter("local_copied_out_bytes_total");
  const auto got = worker.Get(keys, sizes);
  EXPECT_TRUE(got.values == values);
  EXPECT_EQ(channel.sent - sent, 2u);  // GET, RELEASE
  EXPECT_EQ(channel.received - received, 1u);
  EXPECT_EQ(worker.transport().copies().copied_bytes - copied, 32u << 20);
  EXPECT_EQ(door.Counter("local_copied_out_bytes_total"), copied_out);
  door.AwaitCounter("local_leases", 0);
}

TEST(LocalDoor, ManyThreadsOverOneConnection) {
  TestDoor door;
  Worker shared(door);
  std::atomic<int> wrong{0}, loaded{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 60; ++i) {
        const std::string key = "t" + std::to_string(t % 8) + "/" + std::to_string(i % 20);
        const std::string value = ValueOf(key, 1000 + (i % 20) * 15'000);
        std::vector<std::span<const std::byte>> piece = {Bytes(value)};
        client::SetEntry entry;
        entry.key = key;
        entry.value = piece;
        client::SetRequest set;
        set.ns = shared.ns();
        set.entries = std::span(&entry, 1);
        client::SetResult stored;
        if (!shared.transport().Set(set, DeadlineIn(kCallMs), {&stored, 1}).ok()) ++wrong;
        std::string target(value.size(), 0);
        std::span<std::byte> out = std::as_writable_bytes(std::span(target.data(), target.size()));
        const client::Pieces pieces(&out, 1);
        const std::string_view view = key;
        client::GetRequest get;
        get.ns = shared.ns();
        get.keys = std::span(&view, 1);
        get.targets = std::span(&pieces, 1);
        client::GetResult result;
        const uint8_t verify = i % 2;
        if (!shared.transport().Get(get, DeadlineIn(kCallMs), {&verify, 1}, {&result, 1}).ok()) {
          ++wrong;
        }
        if (result.reason == Reason::kOk) {
          ++loaded;
          if (target != value) ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(loaded, 16 * 60);
  EXPECT_EQ(shared.transport().arena().bytes_in_use(), 0u);
  door.AwaitCounter("local_leases", 0);
}

}  // namespace
}  // namespace kvgate::gateway
