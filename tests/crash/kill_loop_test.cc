// SPDX-License-Identifier: Apache-2.0
//
// kvgated is killed with SIGKILL again and again under a mixed load, and an oracle that remembers
// what was acknowledged judges every value read, before and after each restart.
//
// The oracle holds for each key the versions that a Get may answer: none older than the last
// acknowledged LOGGED Set or Delete, none newer than the last one sent; a running call may or may
// not have happened. A miss is always allowed, except where the log is far from full: there an
// acknowledged LOGGED value must still be found.
// Seed: KVGATE_SEED or 1, printed. Kills: KVGATE_KILLS or the test's number.
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "client/client.h"
#include "gtest/gtest.h"
#include "proto/wire/identity.h"
#include "tests/bench/pattern.h"
#include "tests/crash/daemon.h"

namespace kvgate::testing {
namespace {

using client::DeadlineIn;
using client::Reason;

constexpr uint8_t kOverwrite = 2, kBuffered = 2, kLogged = 3;

uint64_t EnvOr(const char* name, uint64_t value) {
  const char* text = getenv(name);
  return text == nullptr ? value : strtoull(text, nullptr, 10);
}

// What one key may answer. Protected by its own lock: one writer at a time a key, so that the order
// of its versions is known.
struct KeyState {
  std::mutex lock;
  uint64_t sent = 0;            // highest version sent, 0 = none
  uint64_t logged = 0;          // lowest version that may be answered after a crash
  bool logged_present = false;  // `logged` itself was acknowledged as stored, and nothing since
  uint64_t floor = 0;           // lowest version that may be answered in this run
};

class KillLoop {
 public:
  struct Setup {
    uint64_t keys, value_bytes_max;
    std::vector<std::string> flags;
    bool must_find_logged;
  };

  KillLoop(Setup setup, uint64_t seed)
      : setup_(std::move(setup)),
        seed_(seed),
        states_(setup_.keys),
        dir_(MakeDir()),
        daemon_(Binary(), dir_, setup_.flags) {}

  ~KillLoop() {
    daemon_.Kill();
    std::error_code ignored;  // a rest in /tmp does not change what was found
    std::filesystem::remove_all(dir_, ignored);
  }

  void Run(uint64_t kills) {
    for (uint64_t kill = 0; kill <= kills && !::testing::Test::HasFatalFailure(); ++kill) {
      const std::string problem = daemon_.Start();
      ASSERT_EQ(problem, "") << "restart " << kill;
      ASSERT_NO_FATAL_FAILURE(Connect());
      CheckAll(kill);
      if (kill == kills) break;
      Load(kill);
      AfterKill();
    }
    EXPECT_EQ(wrong_.load(), 0u);
    EXPECT_EQ(lost_.load(), 0u);
    // A log that is never reclaimed has no excuse: nothing acknowledged may read back damaged.
    if (setup_.must_find_logged) {
      EXPECT_EQ(corrupt_.load(), 0u);
    }
    EXPECT_GT(found_after_restart_, 0u) << "the test saw nothing";
    RecordProperty();
  }

 private:
  static std::string Binary() { return "gateway/kvgated"; }
  // Short, since it holds unix sockets (108 bytes), unlike TEST_TMPDIR.
  static std::string MakeDir() {
    char name[] = "/tmp/kvgate.kill.XXXXXX";
    return mkdtemp(name) == nullptr ? "" : name;
  }

  size_t ValueBytes(uint64_t key) const {  // fixed a key: a multiple of 8 and odd rests both occur
    return 1 + Mix64(key ^ 0x5eed) % setup_.value_bytes_max;
  }

  void Connect() {
    std::string error;
    client_ = client::Client::Create({.transport = "local",
                                      .local_socket = daemon_.local_socket(),
                                      .client_name = "kill_loop",
                                      .verify = client::Verify::kAlways},
                                     &error);
    ASSERT_NE(client_, nullptr) << error;
    wire::Identity identity;
    identity.model = "kill-loop";
    identity.weights_id = "1";
    identity.layout = "opaque";
    identity.dtype = "bytes";
    identity.groups.push_back({.kind = wire::GroupKind::kFullAttention, .block_tokens = 4096});
    client::OpenReply reply;
    const auto outcome =
        client_->Open({.identity = EncodeIdentity(identity)}, DeadlineIn(10000), &ns_, &reply);
    ASSERT_TRUE(outcome.ok()) << outcome.message;
  }

  // Reads one key and judges. Returns the version found, 0 = miss. The key's lock is held.
  uint64_t GetAndJudge(uint64_t key, KeyState& state, std::vector<uint64_t>& buffer) {
    const std::string name = PatternKey(key);
    const std::string_view view = name;
    auto* bytes = reinterpret_cast<std::byte*>(buffer.data());
    const std::span<std::byte> span(bytes, ValueBytes(key));
    const client::Pieces pieces(&span, 1);
    client::GetResult result;
    client_->Get({.ns = ns_, .keys = {&view, 1}, .targets = {&pieces, 1}}, DeadlineIn(5000),
                 {&result, 1});
    if (result.reason == Reason::kCorrupt || result.reason == Reason::kChecksum) ++corrupt_;
    if (result.reason != Reason::kOk) return 0;
    for (uint64_t version = state.sent; version >= 1; --version) {
      if (!IsPattern(bytes, span.size(), key, version)) continue;
      if (version >= state.floor) return version;
      ++wrong_;
      ADD_FAILURE() << "key " << key << ": version " << version << " came back, floor "
                    << state.floor << ", sent " << state.sent;
      return version;
    }
    ++wrong_;
    ADD_FAILURE() << "key " << key << ": bytes of no version of it, sent " << state.sent;
    return 0;
  }

  void CheckAll(uint64_t kill) {
    std::vector<uint64_t> buffer(setup_.value_bytes_max / 8 + 2);
    for (uint64_t key = 0; key < setup_.keys; ++key) {
      KeyState& state = states_[key];
      const std::lock_guard<std::mutex> lock(state.lock);
      const uint64_t version = GetAndJudge(key, state, buffer);
      if (version > 0 && kill > 0) ++found_after_restart_;
      if (version == 0 && setup_.must_find_logged && state.logged_present) {
        ++lost_;
        ADD_FAILURE() << "key " << key << ": acknowledged LOGGED version " << state.logged
                      << " is gone after kill " << kill;
      }
    }
  }

  void Load(uint64_t kill) {
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 3; ++t) {
      threads.emplace_back([this, kill, t, &stop] {
        std::mt19937_64 random(Mix64(seed_ ^ (kill << 8) ^ t));
        std::vector<uint64_t> buffer(setup_.value_bytes_max / 8 + 2);
        while (!stop) OneCall(random, buffer);
      });
    }
    std::mt19937_64 random(Mix64(seed_ ^ kill ^ 0xdead));
    std::this_thread::sleep_for(std::chrono::milliseconds(50 + random() % 300));
    daemon_.Kill();
    stop = true;
    for (auto& thread : threads) thread.join();
    client_.reset();
  }

  void OneCall(std::mt19937_64& random, std::vector<uint64_t>& buffer) {
    const uint64_t key = random() % setup_.keys;
    KeyState& state = states_[key];
    const std::lock_guard<std::mutex> lock(state.lock);
    const uint64_t dice = random() % 100;
    if (dice < 40) {
      GetAndJudge(key, state, buffer);
    } else if (dice < 90) {
      SetOne(key, state, buffer, dice < 75 ? kLogged : kBuffered);
    } else {
      DeleteOne(key, state);
    }
  }

  void SetOne(uint64_t key, KeyState& state, std::vector<uint64_t>& buffer, uint8_t durability) {
    const uint64_t version = ++state.sent;
    auto* bytes = reinterpret_cast<std::byte*>(buffer.data());
    FillPattern(bytes, ValueBytes(key), key, version);
    const std::string name = PatternKey(key);
    const std::span<const std::byte> span(bytes, ValueBytes(key));
    const client::SetEntry entry{.key = name, .value = {&span, 1}};
    client::SetResult result;
    client_->Set({.ns = ns_, .entries = {&entry, 1}, .mode = kOverwrite, .durability = durability},
                 DeadlineIn(5000), {&result, 1});
    if (result.reason != Reason::kOk) {
      state.logged_present = false;  // it may or may not be there
      return;
    }
    state.floor = version;
    state.logged_present = result.durability >= kLogged;
    if (state.logged_present) state.logged = version;
    ++acknowledged_;
  }

  void DeleteOne(uint64_t key, KeyState& state) {
    const std::string name = PatternKey(key);
    const std::string_view view = name;
    bool found = false;
    state.logged_present = false;
    const auto outcome = client_->Delete({.ns = ns_, .keys = {&view, 1}, .durability = kLogged},
                                         DeadlineIn(5000), {&found, 1});
    if (!outcome.ok()) return;
    state.floor = state.logged = state.sent + 1;  // nothing sent so far may come back
  }

  void AfterKill() {
    for (auto& state : states_) state.floor = state.logged;
  }

  void RecordProperty() {
    ::testing::Test::RecordProperty("acknowledged_sets", static_cast<int>(acknowledged_));
    ::testing::Test::RecordProperty("found_after_restart", static_cast<int>(found_after_restart_));
    printf(
        "kill loop: seed %lu, %lu acknowledged sets, %lu values found after restarts, %lu "
        "corrupt answers turned into misses, %lu wrong, %lu lost\n",
        seed_, acknowledged_.load(), found_after_restart_, corrupt_.load(), wrong_.load(),
        lost_.load());
  }

  const Setup setup_;
  const uint64_t seed_;
  std::vector<KeyState> states_;
  const std::string dir_;
  Daemon daemon_;
  std::unique_ptr<client::Client> client_;
  uint64_t ns_ = 0;
  uint64_t found_after_restart_ = 0;
  std::atomic<uint64_t> wrong_{0}, lost_{0}, corrupt_{0}, acknowledged_{0};
};

TEST(KillLoopTest, RoomyLogNeverLosesWhatWasLogged) {
  const uint64_t seed = EnvOr("KVGATE_SEED", 1);
  KillLoop loop({.keys = 150,
                 .value_bytes_max = 600 << 10,
                 .flags = {"--memory=64MiB", "--disk=8GiB", "--metrics=off"},
                 .must_find_logged = true},
                seed);
  loop.Run(EnvOr("KVGATE_KILLS", 30));
}

TEST(KillLoopTest, ReclaimingLogNeverServesAnOlderVersion) {
  const uint64_t seed = EnvOr("KVGATE_SEED", 2);
  KillLoop loop(
      {.keys = 100,
       .value_bytes_max = 1500 << 10,
       .flags = {"--memory=64MiB", "--disk=256MiB", "--segment-bytes=16MiB", "--metrics=off"},
       .must_find_logged = false},
      seed);
  loop.Run(EnvOr("KVGATE_KILLS", 30));
}

}  // namespace
}  // namespace kvgate::testing
