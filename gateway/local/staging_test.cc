// SPDX-License-Identifier: Apache-2.0
//
// Staging that grows: who gets how much of it, what a client does with it, and what liars get.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "gateway/local/raw_client.h"
#include "gateway/local/test_worker.h"

namespace kvgate::gateway {
namespace {

using client::Reason;
using ::testing::Each;
using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kInvalidArgument = 3, kResourceExhausted = 8;

// The door of a daemon with `memory: 256MiB`: its total is an eighth of that.
TestDoor::Options SmallDoor() {
  TestDoor::Options options = TestDoor::DefaultOptions();
  options.memory_bytes = 224 * kMiB;
  options.door.staging_bytes_total = 32 * kMiB;
  return options;
}

// Stores `count` values of `bytes` in one Set.
std::vector<Reason> Save(Worker& worker, const std::string& name, size_t count, size_t bytes) {
  std::vector<std::string> keys, values;
  for (size_t i = 0; i < count; ++i) {
    keys.push_back(name + std::to_string(i));
    values.push_back(ValueOf(keys.back(), bytes));
  }
  const std::vector<Reason> reasons = worker.SetMany(keys, values);
  const std::vector<size_t> sizes(count, bytes);
  if (worker.outcome().ok()) {
    EXPECT_TRUE(worker.Get(keys, sizes).values == values) << name;
  }
  return reasons;
}

TEST(Staging, FirstPartIsSmallAndGrowsWithWhatIsStored) {
  TestDoor door(SmallDoor());
  Worker worker(door, {}, 32 * kMiB);
  EXPECT_EQ(door.Counter("local_staging_bytes"), 4 * kMiB);
  EXPECT_THAT(Save(worker, "small", 1, kMiB), Each(Reason::kOk));
  EXPECT_EQ(door.Counter("local_staging_bytes"), 4 * kMiB);
  EXPECT_EQ(worker.transport().growths_asked(), 0u);
  EXPECT_THAT(Save(worker, "large", 8, 2 * kMiB), Each(Reason::kOk)) << worker.outcome().message;
  EXPECT_EQ(door.Counter("local_staging_bytes"), 16 * kMiB);
  EXPECT_EQ(door.Counter("local_staging_granted_bytes_total"), 16 * kMiB);
  EXPECT_EQ(worker.transport().arena().bytes(), 16 * kMiB + local::kControlBytes);
  EXPECT_EQ(worker.transport().arena().bytes_in_use(), 0u);
}

TEST(Staging, TwoEnginesOfASmallDaemonBothSave) {
  TestDoor door(SmallDoor());
  Worker one(door, {}, 32 * kMiB);
  EXPECT_THAT(Save(one, "one", 16, 2 * kMiB), Each(Reason::kOk)) << one.outcome().message;
  Worker two(door, {}, 32 * kMiB);
  EXPECT_THAT(Save(two, "two", 16, 2 * kMiB), Each(Reason::kOk)) << two.outcome().message;
  EXPECT_THAT(Save(two, "long", 1, 8 * kMiB), Each(Reason::kOk)) << two.outcome().message;
  EXPECT_LE(door.Counter("local_staging_bytes"), 32 * kMiB);
}

TEST(Staging, ThirdAtTheLimitDropsIsCountedAndServedOnceThereIsRoom) {
  TestDoor::Options options = SmallDoor();
  options.door.staging_bytes_total = 8 * kMiB;
  TestDoor door(options);
  auto one = std::make_unique<Worker>(door, client::LocalHooks{}, 32 * kMiB);
  Worker two(door, {}, 32 * kMiB), three(door, {}, 32 * kMiB);
  EXPECT_EQ(door.Counter("local_staging_bytes"), 8 * kMiB);
  EXPECT_EQ(door.Counter("local_staging_refused_total"), 1);  // the third's HELLO
  EXPECT_THAT(Save(three, "three", 1, 2 * kMiB), Each(Reason::kOverloaded));
  EXPECT_THAT(three.outcome().message, HasSubstr("no staging memory for a value of 2097152"));
  EXPECT_EQ(door.Counter("local_staging_refused_total"), 2);
  EXPECT_GE(door.Counter("local_staging_refused_bytes_total"), 2 * kMiB);
  EXPECT_THAT(Save(two, "two", 1, 2 * kMiB), Each(Reason::kOk));
  // What the first had comes back when it leaves.
  one.reset();
  door.AwaitCounter("local_staging_bytes", 4 * kMiB);
  EXPECT_THAT(Save(three, "three", 1, 2 * kMiB), Each(Reason::kOk)) << three.outcome().message;
}

TEST(Staging, OneValueIsHeldThoughItIsMoreThanAShare) {
  TestDoor door(SmallDoor());
  Worker worker(door, {}, 64 * kMiB);
  EXPECT_THAT(Save(worker, "huge", 1, 24 * kMiB), Each(Reason::kOk)) << worker.outcome().message;
  EXPECT_LE(door.Counter("local_staging_bytes"), 32 * kMiB);
}

TEST(Staging, AClientGetsNoMoreThanItsWish) {
  TestDoor door;
  Worker worker(door, {}, 6 * kMiB);
  EXPECT_THAT(Save(worker, "k", 16, kMiB), Each(Reason::kOk));
  EXPECT_THAT(Save(worker, "big", 1, 8 * kMiB), Each(Reason::kOverloaded));
  EXPECT_EQ(door.Counter("local_staging_bytes"), 6 * kMiB);
  EXPECT_EQ(worker.transport().growths_asked(), 0u);  // it had its wish from the first
}

TEST(Staging, AllocationThatFoundNoRoomHasSomeAfterTheNextSet) {
  TestDoor door(SmallDoor());
  Worker worker(door, {}, 32 * kMiB);
  EXPECT_EQ(worker.transport().AllocStaging(10 * kMiB), nullptr);  // it does not wait
  EXPECT_THAT(Save(worker, "k", 1, 1000), Each(Reason::kOk));
  std::byte* memory = worker.transport().AllocStaging(10 * kMiB);
  ASSERT_NE(memory, nullptr);
  // Over the border between two parts it is one piece of memory here and there.
  const std::string value = ValueOf("border", 10 * kMiB);
  std::memcpy(memory, value.data(), value.size());
  const std::span<const std::byte> piece(memory, value.size());
  client::SetEntry entry;
  entry.key = "border";
  entry.value = std::span(&piece, 1);
  client::SetRequest request;
  request.ns = worker.ns();
  request.entries = std::span(&entry, 1);
  client::SetResult result;
  EXPECT_TRUE(worker.transport().Set(request, DeadlineIn(kCallMs), {&result, 1}).ok());
  EXPECT_EQ(result.reason, Reason::kOk);
  EXPECT_EQ(worker.transport().copies().staged_bytes, 1000u);
  EXPECT_TRUE(worker.Get({"border"}, {value.size()}).values[0] == value);
  worker.transport().FreeStaging(memory);
}

TEST(Staging, ManyThreadsAskForMoreOneAtATime) {
  TestDoor door(SmallDoor());
  Worker worker(door, {}, 32 * kMiB);
  std::vector<std::thread> threads;
  std::atomic<int> stored{0};
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      const std::string key = "t" + std::to_string(t), value = ValueOf(key, 2 * kMiB);
      const std::span<const std::byte> piece = Bytes(value);
      client::SetEntry entry;
      entry.key = key;
      entry.value = std::span(&piece, 1);
      client::SetRequest request;
      request.ns = worker.ns();
      request.entries = std::span(&entry, 1);
      client::SetResult result;
      (void)worker.transport().Set(request, DeadlineIn(kCallMs), {&result, 1});
      stored += result.reason == Reason::kOk ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(stored, 6);
  EXPECT_LE(door.Counter("local_staging_bytes"), 16 * kMiB);
}

TEST(Staging, ClientOfVersionOneGetsItAllAtHello) {
  TestDoor door(SmallDoor());
  RawClient old(door);
  old.Greet(1, 32 * kMiB);
  EXPECT_EQ(old.staging_bytes(), 24 * kMiB + local::kControlBytes);
}

class HostileGrowth : public ::testing::Test {
 protected:
  void SetUp() override { client_.Greet(2, 16 * kMiB); }

  // 2 MiB more than there are, for a value of that size.
  local::GrowStaging Ask() const { return {client_.staging_bytes(), 2 * kMiB, 2 * kMiB, 2 * kMiB}; }
  Packet Grow(const local::GrowStaging& ask) {
    Packet packet = client_.Ask(Op::kGrowStaging, Raw(ask));
    for (int fd : packet.fds) close(fd);
    return packet;
  }
  void ExpectRefusedAndClosed(const local::GrowStaging& ask, const std::string& text) {
    const Packet packet = Grow(ask);
    EXPECT_EQ(packet.code(), kInvalidArgument);
    EXPECT_THAT(packet.rest, HasSubstr(text));
    EXPECT_TRUE(client_.Receive().ended);
    door_.AwaitCounter("local_staging_bytes", 0);
  }

  TestDoor door_{SmallDoor()};
  RawClient client_{door_};
};

TEST_F(HostileGrowth, PartsAreSealedAndAnsweredAgain) {
  for (int i = 0; i < 3; ++i) {
    Packet packet = client_.Ask(Op::kGrowStaging, Raw(Ask()));
    ASSERT_EQ(packet.code(), 0u) << packet.rest;
    local::GrowStagingOk ok;
    ASSERT_EQ(packet.rest.size(), sizeof(ok));
    std::memcpy(&ok, packet.rest.data(), sizeof(ok));
    EXPECT_EQ(ok.offset, client_.staging_bytes());
    EXPECT_EQ(ok.bytes, 2 * kMiB);
    ASSERT_EQ(packet.fds.size(), 1u);
    EXPECT_EQ(fcntl(packet.fds[0], F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    EXPECT_NE(ftruncate(packet.fds[0], 4096), 0);
    close(packet.fds[0]);
  }
  // Three questions with the same `have_bytes` were granted once.
  EXPECT_EQ(door_.Counter("local_staging_bytes"), 6 * kMiB);
}

TEST_F(HostileGrowth, NothingAskedFor) {
  local::GrowStaging ask = Ask();
  ask.bytes_min = 0;
  ExpectRefusedAndClosed(ask, "grow.bytes_min: 0, must be above 0");
}

TEST_F(HostileGrowth, MoreNeededThanWanted) {
  local::GrowStaging ask = Ask();
  ask.bytes_wanted = ask.bytes_min - 1;
  ExpectRefusedAndClosed(ask, "grow.bytes_min: 2097152, at most 2097151");
}

TEST_F(HostileGrowth, MoreThanAnyClientMayHave) {
  local::GrowStaging ask = Ask();
  ask.bytes_wanted = ~uint64_t{0};
  ExpectRefusedAndClosed(ask, "grow.bytes_wanted");
}

TEST_F(HostileGrowth, ValueOverItsLimit) {
  local::GrowStaging ask = Ask();
  ask.value_bytes = (64 << 20) + 1;
  ExpectRefusedAndClosed(ask, "grow.value_bytes: 67108865, at most 67108864");
}

TEST_F(HostileGrowth, PlaceBeyondWhatWasGrantedIsOutside) {
  // The addresses behind it are kept for later parts, but nothing is there yet.
  const Packet packet =
      client_.Ask(Op::kCommit, client_.CommitBody(client_.staging_bytes() - 2, 5));
  EXPECT_EQ(packet.code(), kInvalidArgument);
  EXPECT_THAT(packet.rest, HasSubstr("staging has 5242880"));
  EXPECT_TRUE(client_.Receive().ended);
}

TEST_F(HostileGrowth, UnknownBordersAreErrorsOfTheCallAlone) {
  for (const uint64_t have : {uint64_t{0}, uint64_t{1}, client_.staging_bytes() - 1,
                              client_.staging_bytes() + 1, 16 * kMiB, ~uint64_t{0}}) {
    local::GrowStaging ask = Ask();
    ask.have_bytes = have;
    const Packet packet = Grow(ask);
    EXPECT_EQ(packet.code(), kInvalidArgument) << have;
    EXPECT_THAT(packet.rest, HasSubstr("grow.have_bytes"));
  }
  EXPECT_EQ(door_.Counter("local_staging_bytes"), 4 * kMiB);
  EXPECT_EQ(client_.Ask(Op::kPing, "").code(), 0u);
}

TEST_F(HostileGrowth, ALieAboutItsValueTakesNoMoreThanWishAndTotal) {
  RawClient other(door_);
  other.Greet(2, 16 * kMiB);
  uint64_t have = client_.staging_bytes();
  uint64_t code = 0;
  int granted = 0;
  for (; code == 0 && granted < 100; ++granted) {
    const Packet packet = Grow({have, 64 << 20, 1, local::kStagingBytesMax});
    code = packet.code();
    local::GrowStagingOk ok{};
    std::memcpy(&ok, packet.rest.data(), std::min(packet.rest.size(), sizeof(ok)));
    if (code == 0) have += ok.bytes;
  }
  EXPECT_EQ(code, kResourceExhausted);
  EXPECT_EQ(have, 16 * kMiB + local::kControlBytes);
  EXPECT_EQ(door_.Counter("local_staging_bytes"), 20 * kMiB);
  EXPECT_EQ(door_.Counter("local_staging_refused_total"), 1);
}

TEST_F(HostileGrowth, CrumbsEndAtTheLimitOfParts) {
  uint64_t have = client_.staging_bytes();
  for (uint32_t part = 1; part < local::kStagingPartsMax; ++part) {
    ASSERT_EQ(Grow({have, kMiB, 1, 1}).code(), 0u) << part;
    have += local::kStagingGranule;
  }
  EXPECT_EQ(Grow({have, kMiB, 1, 1}).code(), kResourceExhausted);
  // All of it can be used, to the last byte.
  const Packet packet = client_.Ask(Op::kCommit, client_.CommitBody(have - 5, 5));
  EXPECT_EQ(packet.code(), 0u) << packet.rest;
}

TEST_F(HostileGrowth, AnOldVersionHasNoSuchOp) {
  RawClient old(door_);
  old.Greet(1);
  const Packet packet = old.Ask(Op::kGrowStaging, Raw(Ask()));
  EXPECT_EQ(packet.code(), kInvalidArgument);
  EXPECT_THAT(packet.rest, HasSubstr("op: 15, must be 1 to 14"));
  EXPECT_TRUE(old.Receive().ended);
}

TEST_F(HostileGrowth, StagingOfALostClientIsGivenBack) {
  ASSERT_EQ(Grow(Ask()).code(), 0u);
  EXPECT_EQ(door_.Counter("local_staging_bytes"), 6 * kMiB);
  shutdown(client_.socket_fd(), SHUT_RDWR);
  door_.AwaitCounter("local_staging_bytes", 0);
}

}  // namespace
}  // namespace kvgate::gateway
