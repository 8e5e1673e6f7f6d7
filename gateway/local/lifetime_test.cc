// SPDX-License-Identifier: Apache-2.0
//
// What clients hold at the local door, for how long, and how much: leases, pins, staging, places.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <thread>

#include "gateway/local/test_worker.h"

namespace kvgate::gateway {
namespace {

using client::LocalHooks;
using client::LocalTransport;
using client::Outcome;
using client::Reason;

// The store is small: once the lease is gone, overwriting reuses the memory.
TEST(LocalDoor, ExpiredLeaseOverReusedMemoryAnswersRevoked) {
  TestDoor::Options options = TestDoor::DefaultOptions();
  options.memory_bytes = 4 << 20;
  options.extent_bytes = 4 << 20;
  TestDoor door(options);
  Worker writer(door);
  constexpr size_t kBytes = 1 << 20;
  constexpr int kRounds = 10'000;
  int revoked = 0, ok = 0, wrong = 0;
  uint32_t next = 0;
  bool revoke = false;
  const auto end_lease_and_reuse = [&] {
    if (!revoke) return;
    door.clock().Advance(absl::Milliseconds(door.door_options().lease_ms + 1));
    door.door().RunTimers();
    for (int i = 0; i < 4; ++i) {
      const std::string key = "filler" + std::to_string(next++);
      ASSERT_EQ(writer.Set(key, std::string(kBytes, static_cast<char>(next))), Reason::kOk)
          << writer.outcome().message;
    }
  };
  LocalHooks before, after;
  before.before_copy = end_lease_and_reuse;
  after.after_copy = end_lease_and_reuse;
  Worker early(door, before), late(door, after);
  const std::string value = ValueOf("k", kBytes);
  for (int round = 0; round < kRounds; ++round) {
    if (round % 500 == 0) revoke = false;
    ASSERT_THAT(writer.Set("k", value, /*overwrite*/ 2), Reason::kOk) << writer.outcome().message;
    revoke = round % 4 < 2;
    Worker& reader = round % 2 == 0 ? early : late;
    const auto got = reader.Get({"k"}, {kBytes}, /*verify=*/false);
    revoke = false;
    if (got.results[0].reason == Reason::kRevoked) ++revoked;
    if (got.results[0].reason == Reason::kOk) {
      ++ok;
      if (got.values[0] != value) ++wrong;
    }
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(revoked, kRounds / 2);
  EXPECT_EQ(ok, kRounds / 2);
}

TEST(LocalDoor, LeasesEndWithTheirClient) {
  TestDoor door;
  Worker other(door);
  ASSERT_EQ(other.Set("k", ValueOf("k", 1 << 20)), Reason::kOk);
  // The child takes a lease and is killed while it holds it.
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    LocalHooks hooks;
    hooks.before_copy = [&] {
      (void)!write(ready[1], "x", 1);
      while (true) pause();
    };
    Worker worker(door, hooks);
    worker.Get({"k"}, {1 << 20});
    _exit(0);
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(door.Counter("local_leases"), 1);
  kill(child, SIGKILL);
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  door.AwaitCounter("local_leases", 0);
  door.AwaitCounter("local_clients", 1);
  EXPECT_EQ(other.Get({"k"}, {1 << 20}).results[0].reason, Reason::kOk);
  close(ready[0]);
  close(ready[1]);
}

TEST(LocalDoor, ForkedChildMayNotUseTheConnection) {
  TestDoor door;
  Worker worker(door);
  const pid_t child = fork();
  if (child == 0) {
    const Outcome outcome = worker.transport().Ping(DeadlineIn(1000));
    _exit(outcome.code == wire::Code::kUnavailable ? 0 : 1);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(worker.transport().Ping(DeadlineIn(kCallMs)).ok());
}

TEST(LocalDoor, StoppedDoorBreaksTheTransportAndANewOneServes) {
  TestDoor door;
  Worker worker(door);
  std::byte* staging = worker.transport().AllocStaging(100);
  ASSERT_NE(staging, nullptr);
  door.Stop();
  const auto got = worker.Get({"k"}, {10}, true, 2000);
  EXPECT_EQ(got.results[0].reason, Reason::kUnavailable);
  EXPECT_TRUE(worker.transport().broken());
  EXPECT_EQ(worker.transport().AllocStaging(100), nullptr);
  std::memset(staging, 1, 100);  // still mapped
  worker.transport().FreeStaging(staging);
  door.Start();
  Worker again(door);
  EXPECT_EQ(again.Set("k", "v"), Reason::kOk);
}

TEST(LocalDoor, TooManyClientsAreRefused) {
  TestDoor::Options options = TestDoor::DefaultOptions();
  options.door.clients_max = 2;
  TestDoor door(options);
  Worker one(door), two(door);
  client::Options third;
  third.local_socket = door.socket_path();
  Outcome outcome;
  EXPECT_EQ(LocalTransport::Connect(third, DeadlineIn(kCallMs), {}, &outcome), nullptr);
  EXPECT_EQ(outcome.code, wire::Code::kUnavailable);
  EXPECT_EQ(one.Set("k", "v"), Reason::kOk);
}

TEST(LocalDoor, MemoryOfRequestsIsBoundedAndGivenBack) {
  TestDoor::Options options = TestDoor::DefaultOptions();
  options.door.request_bytes_max = 5 << 20;
  TestDoor door(options);
  Worker worker(door);
  // One list over the limit cannot exist; many at once are refused one by one, and none is lost.
  const std::vector<std::string> keys(4000, std::string(1000, 'k'));
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  std::atomic<int> answered{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      client::GroupQuery query;
      query.keys = views;
      client::LookupRequest request;
      request.ns = worker.ns();
      request.queries = std::span(&query, 1);
      client::LookupReply reply;
      const Outcome outcome = worker.transport().Lookup(request, DeadlineIn(kCallMs), &reply);
      if (outcome.ok() || outcome.code == wire::Code::kResourceExhausted) ++answered;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered, 8);
  door.AwaitCounter("local_request_bytes", 0);
}

TEST(LocalDoor, StagingIsBoundedInSum) {
  TestDoor::Options options = TestDoor::DefaultOptions();
  options.door.staging_bytes_total = 6 << 20;
  TestDoor door(options);
  Worker one(door, {}, 5 << 20), two(door, {}, 5 << 20);
  EXPECT_NE(one.transport().AllocStaging(4 << 20), nullptr);
  EXPECT_EQ(two.transport().AllocStaging(3 << 20), nullptr);
  EXPECT_NE(two.transport().AllocStaging(2 << 20), nullptr);
}

// A client that is stopped with calls under way and replies unread is not waited for.
TEST(LocalDoor, AStoppedClientDoesNotDelayTheStop) {
  TestDoor door;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    LocalHooks hooks;
    hooks.before_copy = [&] {
      (void)!write(ready[1], "x", 1);
      while (true) pause();
    };
    Worker worker(door, hooks);
    (void)worker.Set("k", ValueOf("k", 1 << 20));
    // Its lease is out and nobody reads what the other thread asks for.
    std::thread asking([&] { (void)worker.Get({"k"}, {1 << 20}); });
    while (true) (void)worker.transport().Ping(DeadlineIn(0.001));
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  kill(child, SIGSTOP);
  int status;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  const int64_t began = client::MonotonicNs();
  door.Stop(kHang);
  // Whoever waited for the client would have waited for all of the limit.
  EXPECT_LT(client::MonotonicNs() - began, absl::ToInt64Nanoseconds(kHang / 2));
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, &status, 0), child);
  close(ready[0]);
  close(ready[1]);
}

TEST(LocalDoor, NobodyListensIsUnavailable) {
  client::Options options;
  options.local_socket = "/tmp/kvgate-nobody-listens-here.sock";
  Outcome outcome;
  EXPECT_EQ(client::ConnectLocal(options, DeadlineIn(100), &outcome), nullptr);
  EXPECT_EQ(outcome.code, wire::Code::kUnavailable);
}

TEST(LocalDoor, PinsEndWithTheirSession) {
  TestDoor door;
  Worker worker(door);
  auto scheduler = std::make_unique<Worker>(door);
  ASSERT_EQ(worker.Set("k", ValueOf("k", 100'000)), Reason::kOk);
  const std::string_view key = "k";
  client::GroupQuery query;
  query.keys = std::span(&key, 1);
  client::LookupRequest request;
  request.ns = scheduler->ns();
  request.queries = std::span(&query, 1);
  request.pin_ms = 10'000;
  client::LookupReply reply;
  ASSERT_TRUE(scheduler->transport().Lookup(request, DeadlineIn(kCallMs), &reply).ok());
  ASSERT_NE(reply.pin_token, 0u);
  scheduler.reset();
  door.AwaitCounter("local_clients", 1);
  client::GetRequest get;
  get.pin_token = reply.pin_token;
  get.count = 1;
  // The pin is given back by the door's thread just after the client is counted out.
  Reason reason = Reason::kOk;
  for (int i = 0; i < 30000 && reason == Reason::kOk; ++i) {
    reason = worker.GetBy(get, {100'000}).results[0].reason;
  }
  EXPECT_EQ(reason, Reason::kStaleToken);
}

}  // namespace
}  // namespace kvgate::gateway
