// SPDX-License-Identifier: Apache-2.0
//
// A daemon that dies or hangs under a client: every call ends by its deadline.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "client/local/local_transport.h"
#include "gateway/local/test_door.h"
#include "proto/wire/identity.h"

namespace kvgate::gateway {
namespace {

using client::LocalHooks;
using client::LocalTransport;
using client::Outcome;
using client::Reason;

constexpr double kCallMs = 20'000;

client::Deadline DeadlineIn(double ms) {
  return client::MonotonicNs() + static_cast<int64_t>(ms * 1e6);
}

// A door in a process of its own.
class OtherProcess {
 public:
  OtherProcess() {
    int path[2];
    EXPECT_EQ(pipe(path), 0);
    pid_ = fork();
    if (pid_ == 0) {
      TestDoor door;
      (void)!write(path[1], door.socket_path().c_str(), door.socket_path().size() + 1);
      while (true) pause();
    }
    char text[128] = {};
    EXPECT_GT(read(path[0], text, sizeof(text) - 1), 0);
    path_ = text;
    close(path[0]);
    close(path[1]);
  }
  ~OtherProcess() {
    Kill();
    unlink(path_.c_str());
    rmdir(path_.substr(0, path_.rfind('/')).c_str());
  }
  void Kill() {
    if (pid_ < 0) return;
    kill(pid_, SIGKILL);
    int status;
    waitpid(pid_, &status, 0);
    pid_ = -1;
  }
  void Pause() {
    kill(pid_, SIGSTOP);
    int status;
    waitpid(pid_, &status, WUNTRACED);
  }
  void Resume() { kill(pid_, SIGCONT); }

  std::unique_ptr<LocalTransport> Connect(double ms = kCallMs, Outcome* outcome = nullptr,
                                          const LocalHooks& hooks = {}) const {
    client::Options options;
    options.local_socket = path_;
    options.connect_timeout_ms = 20'000;
    Outcome own;
    return LocalTransport::Connect(options, DeadlineIn(ms), hooks, outcome ? outcome : &own);
  }

 private:
  pid_t pid_ = -1;
  std::string path_;
};

uint64_t OpenOn(LocalTransport& transport) {
  client::OpenRequest open;
  open.identity = wire::EncodeIdentity(TestDoor::Identity());
  client::OpenReply reply;
  const Outcome outcome = transport.Open(open, DeadlineIn(kCallMs), &reply);
  EXPECT_TRUE(outcome.ok()) << outcome.message;
  return reply.ns_handle;
}

Reason SetOne(LocalTransport& transport, uint64_t ns, const std::string& value) {
  const auto piece = std::as_bytes(std::span(value.data(), value.size()));
  client::SetEntry entry;
  entry.key = "k";
  entry.value = std::span(&piece, 1);
  client::SetRequest request;
  request.ns = ns;
  request.entries = std::span(&entry, 1);
  client::SetResult result;
  (void)transport.Set(request, DeadlineIn(kCallMs), {&result, 1});
  return result.reason;
}

struct Got {
  Outcome outcome;
  client::GetResult result;
  std::string value;
};
Got GetOne(LocalTransport& transport, uint64_t ns, size_t bytes, double ms) {
  Got got;
  got.value.assign(bytes, '\xAA');
  std::span<std::byte> out = std::as_writable_bytes(std::span(got.value.data(), bytes));
  const client::Pieces pieces(&out, 1);
  const std::string_view key = "k";
  client::GetRequest request;
  request.ns = ns;
  request.keys = std::span(&key, 1);
  request.targets = std::span(&pieces, 1);
  got.outcome = transport.Get(request, DeadlineIn(ms), {}, {&got.result, 1});
  return got;
}

// How many mappings of this process have that in their name.
int Mappings(const std::string& name) {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) {
    count += line.find(name) != std::string::npos ? 1 : 0;
  }
  return count;
}

// A promise of `ms` is a hang only at ten times of it.
void ExpectWithin(double ms, int64_t started_ns) {
  EXPECT_LT(static_cast<double>(client::MonotonicNs() - started_ns) / 1e6, 10 * ms + 1000);
}

TEST(LostDaemon, HungOneAnswersDeadlineAndLaterRepliesAreDropped) {
  OtherProcess daemon;
  auto transport = daemon.Connect();
  ASSERT_NE(transport, nullptr);
  const uint64_t ns = OpenOn(*transport);
  const std::string value(100'000, 'v'), small(1000, 's');
  ASSERT_EQ(SetOne(*transport, ns, value), Reason::kOk);
  ASSERT_EQ(GetOne(*transport, ns, value.size(), kCallMs).result.reason, Reason::kOk);
  daemon.Pause();
  const int64_t started = client::MonotonicNs();
  const Got got = GetOne(*transport, ns, value.size(), 50);
  ExpectWithin(50, started);
  EXPECT_EQ(got.outcome.code, wire::Code::kDeadlineExceeded);
  EXPECT_TRUE(got.outcome.sent);
  EXPECT_EQ(got.result.reason, Reason::kDeadline);
  EXPECT_EQ(got.value, std::string(value.size(), '\xAA'));
  EXPECT_FALSE(transport->broken());
  // A small value's answer region stays held until the late reply.
  (void)GetOne(*transport, ns, small.size(), 50);
  EXPECT_GT(transport->arena().bytes_in_use(), 0u);
  daemon.Resume();
  const Got after = GetOne(*transport, ns, value.size(), kCallMs);
  EXPECT_EQ(after.result.reason, Reason::kOk) << after.outcome.message;
  EXPECT_EQ(after.value, value);
  EXPECT_GE(transport->channel().counters().late, 2u);
  EXPECT_EQ(transport->arena().bytes_in_use(), 0u);
}

TEST(LostDaemon, ManyThreadsOfAHungOneAllEndByTheirDeadline) {
  OtherProcess daemon;
  auto transport = daemon.Connect();
  ASSERT_NE(transport, nullptr);
  const uint64_t ns = OpenOn(*transport);
  daemon.Pause();
  const int64_t started = client::MonotonicNs();
  std::vector<std::thread> threads;
  std::atomic<int> late{0};
  for (int t = 0; t < 100; ++t) {  // more than may be in flight
    threads.emplace_back([&] {
      if (GetOne(*transport, ns, 10, 100).result.reason == Reason::kDeadline) ++late;
    });
  }
  for (std::thread& thread : threads) thread.join();
  ExpectWithin(100, started);
  EXPECT_EQ(late, 100);
  daemon.Resume();
  // Places come back with the late replies.
  EXPECT_EQ(GetOne(*transport, ns, 10, kCallMs).result.reason, Reason::kNotHeld);
}

TEST(LostDaemon, ConnectingToAHungOneEndsByTheDeadline) {
  OtherProcess daemon;
  daemon.Pause();
  const int64_t started = client::MonotonicNs();
  Outcome outcome;
  EXPECT_EQ(daemon.Connect(50, &outcome), nullptr);
  ExpectWithin(50, started);
  EXPECT_EQ(outcome.code, wire::Code::kDeadlineExceeded);
}

TEST(LostDaemon, KilledOneAnswersUnavailableAtOnce) {
  OtherProcess daemon;
  auto transport = daemon.Connect();
  ASSERT_NE(transport, nullptr);
  const uint64_t ns = OpenOn(*transport);
  daemon.Pause();
  std::vector<std::thread> threads;
  std::atomic<int> unavailable{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      const Got got = GetOne(*transport, ns, 10, kCallMs);
      if (got.outcome.code == wire::Code::kUnavailable) ++unavailable;
    });
  }
  while (transport->channel().counters().sent < 8 + 2) std::this_thread::yield();
  daemon.Kill();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(unavailable, 8);
  EXPECT_TRUE(transport->broken());
  EXPECT_EQ(GetOne(*transport, ns, 10, kCallMs).result.reason, Reason::kUnavailable);
}

TEST(LostDaemon, KilledWhileCopyingLeavesTheBytesReadable) {
  OtherProcess daemon;
  LocalHooks hooks;
  hooks.before_copy = [&] { daemon.Kill(); };
  auto transport = daemon.Connect(kCallMs, nullptr, hooks);
  ASSERT_NE(transport, nullptr);
  const uint64_t ns = OpenOn(*transport);
  const std::string value(1 << 20, 'v');
  ASSERT_EQ(SetOne(*transport, ns, value), Reason::kOk);
  const Got got = GetOne(*transport, ns, value.size(), kCallMs);
  // Either the extent was mapped, and the bytes are right, or it is a miss; never a fault.
  if (got.result.reason == Reason::kOk) {
    EXPECT_EQ(got.value, value);
  } else {
    EXPECT_EQ(got.result.reason, Reason::kUnavailable);
  }
}

TEST(LostDaemon, RetiredAttachmentUnmapsThePoolAndKeepsHeldStaging) {
  OtherProcess daemon;
  auto transport = daemon.Connect();
  ASSERT_NE(transport, nullptr);
  const uint64_t ns = OpenOn(*transport);
  const std::string value(1 << 20, 'v');
  ASSERT_EQ(SetOne(*transport, ns, value), Reason::kOk);
  ASSERT_EQ(GetOne(*transport, ns, value.size(), kCallMs).result.reason, Reason::kOk);
  std::byte* staging = transport->AllocStaging(1000);
  ASSERT_NE(staging, nullptr);
  EXPECT_EQ(Mappings("kvgate-extent"), 1);
  EXPECT_EQ(Mappings("kvgate-generations"), 1);
  daemon.Kill();
  transport->Retire();
  transport->Retire();
  EXPECT_EQ(Mappings("kvgate-extent"), 0);
  EXPECT_EQ(Mappings("kvgate-generations"), 0);
  EXPECT_TRUE(transport->broken());
  EXPECT_EQ(GetOne(*transport, ns, value.size(), kCallMs).result.reason, Reason::kUnavailable);
  EXPECT_EQ(SetOne(*transport, ns, value), Reason::kUnavailable);
  EXPECT_EQ(transport->AllocStaging(1000), nullptr);
  std::memset(staging, 1, 1000);
  transport->FreeStaging(staging);
  transport.reset();
  EXPECT_EQ(Mappings("kvgate-staging"), 0);
}

TEST(LostDaemon, RetiringUnderACopyVoidsItsLease) {
  for (const bool before : {true, false}) {
    OtherProcess daemon;
    LocalTransport* retired = nullptr;
    int mapped_in_copy = 0;
    const auto retire = [&] {
      daemon.Kill();
      retired->Retire();
      mapped_in_copy = Mappings("kvgate-extent");
    };
    LocalHooks hooks;
    bool armed = false;
    (before ? hooks.before_copy : hooks.after_copy) = [&] {
      if (armed) retire();
    };
    auto transport = daemon.Connect(kCallMs, nullptr, hooks);
    ASSERT_NE(transport, nullptr);
    retired = transport.get();
    const uint64_t ns = OpenOn(*transport);
    const std::string value(1 << 20, 'v');
    ASSERT_EQ(SetOne(*transport, ns, value), Reason::kOk);
    ASSERT_EQ(GetOne(*transport, ns, value.size(), kCallMs).result.reason, Reason::kOk);
    armed = true;
    EXPECT_EQ(GetOne(*transport, ns, value.size(), kCallMs).result.reason, Reason::kRevoked);
    EXPECT_EQ(mapped_in_copy, 1);
    EXPECT_EQ(Mappings("kvgate-extent"), 0);
  }
}

}  // namespace
}  // namespace kvgate::gateway
