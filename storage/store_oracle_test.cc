// SPDX-License-Identifier: Apache-2.0
//
// Many threads against an oracle: every byte that a Get gives must belong to the key that was asked
// for, and to no revision older than the last that was acknowledged before the Get began. Memory is
// far smaller than the data and the disk is reclaimed all the time.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "storage/base/manual_clock.h"
#include "storage/io/memory_disk.h"
#include "storage/store_test_util.h"

namespace kvgate::storage {
namespace {

constexpr int kThreads = 4;
constexpr int kKeysAThread = 40;

// A thread and round. The long form of ./dev faults makes 30 million in all six rounds.
int Operations() {
  const char* form = std::getenv("KVGATE_FAULTS");
  return form != nullptr && std::string_view(form) == "long" ? 1'250'000 : 12'500;
}

struct Truth {
  std::atomic<uint32_t> acknowledged{0};  // revision of the last Set or Delete that was answered
  std::atomic<uint32_t> logged{0};        // … as LOGGED
  uint32_t next = 1;                      // the owner's
};

size_t BytesOf(uint32_t key, uint32_t revision) {
  const size_t sizes[] = {1, 3000, 4096, 30000, 65536, 70000, 150000, 250000};
  return sizes[(key * 7 + revision) % 8];
}

class StoreOracle : public ::testing::Test {
 protected:
  void Open() {
    StoreOptions options = SmallOptions(4 << 20);
    options.memory.extent_bytes = 1 << 20;
    options.log.checkpoint = false;
    std::vector<std::unique_ptr<Disk>> disks;
    for (const auto& medium : media_) disks.push_back(OpenMemoryDisk(medium, "disk"));
    auto store = Store::OpenOn(options, &clock_, std::move(disks));
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = std::move(*store);
    auto ns = store_->OpenNamespace("tenant", "", TestIdentity());
    ASSERT_TRUE(ns.ok());
    ns_ = ns->id;
  }

  static std::string KeyName(uint32_t key) { return absl::StrCat("key", key); }

  // The revision of a value, whole and right; 0 when it is none.
  uint32_t RevisionOf(uint32_t key, const std::string& text) {
    for (size_t hash = text.find('#'); hash != std::string::npos;) {
      uint32_t revision = 0;
      const size_t end = text.find(';', hash);
      if (end == std::string::npos ||
          !absl::SimpleAtoi(text.substr(hash + 1, end - hash - 1), &revision)) {
        return 0;
      }
      const std::string right = ValueOf(KeyName(key), revision, BytesOf(key, revision));
      return text == right ? revision : 0;
    }
    // One byte is too short to name its revision.
    return text == KeyName(key).substr(0, 1) ? UINT32_MAX : 0;
  }

  void Check(uint32_t key, uint32_t floor) {
    const GetResult got = GetOne(*store_, ns_, KeyName(key));
    if (got.state != GetState::kOk) {
      EXPECT_TRUE(got.state == GetState::kMiss || got.state == GetState::kNotReady)
          << static_cast<int>(got.state);
      return;
    }
    ++hits_;
    const uint32_t revision = RevisionOf(key, TextOf(got.block));
    EXPECT_NE(revision, 0u) << "foreign bytes under " << KeyName(key);
    EXPECT_GE(revision, floor) << "an old value of " << KeyName(key);
  }

  void Write(uint32_t key, std::mt19937& random) {
    Truth& truth = truth_[key];
    const uint32_t revision = truth.next++;
    const std::string name = KeyName(key);
    const bool logged = random() % 4 == 0;
    if (random() % 5 == 0) {
      DeleteRequest request;
      request.ns = ns_;
      request.keys = {name};
      if (!logged) request.durability = Durability::kBuffered;
      const auto found = DeleteSync(*store_, request);
      ASSERT_TRUE(found.ok()) << found.status();
    } else {
      SetRequest request;
      request.mode = SetMode::kOverwrite;
      request.durability = logged              ? Durability::kLogged
                           : random() % 3 == 0 ? Durability::kVolatile
                                               : Durability::kBuffered;
      const SetResult result =
          PutOne(*store_, ns_, name, ValueOf(name, revision, BytesOf(key, revision)), request);
      if (result.state != SetState::kStored) return;
      if (logged && result.durability != Durability::kLogged) {
        truth.acknowledged = revision;
        return;
      }
    }
    truth.acknowledged = revision;
    if (logged) truth.logged = revision;
  }

  void Round(uint32_t seed) {
    const int operations = Operations();
    std::vector<std::thread> threads;
    for (uint32_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t, seed, operations] {
        std::mt19937 random(seed * 100 + t);
        for (int i = 0; i < operations; ++i) {
          if (random() % 3 == 0) {
            Write(t * kKeysAThread + random() % kKeysAThread, random);
          } else {
            const uint32_t key = random() % (kThreads * kKeysAThread);
            Check(key, truth_[key].acknowledged);
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  std::vector<std::shared_ptr<MemoryMedium>> media_ = {MemoryMedium::Create(24 << 20),
                                                       MemoryMedium::Create(24 << 20)};
  ManualClock clock_;
  std::unique_ptr<Store> store_;
  NamespaceId ns_ = 0;
  std::vector<Truth> truth_ = std::vector<Truth>(kThreads * kKeysAThread);
  std::atomic<uint64_t> hits_{0};
};

void Figures(std::string_view test, uint64_t hits) {
  std::printf("figure %s.operations %d\nfigure %s.hits %lu\n", std::string(test).c_str(),
              3 * kThreads * Operations(), std::string(test).c_str(), hits);
}

TEST_F(StoreOracle, NoWrongByteAndNoOldValueUnderLoadAndOverCleanRestarts) {
  for (uint32_t round = 1; round <= 3; ++round) {
    Open();
    for (uint32_t key = 0; key < truth_.size(); ++key) Check(key, truth_[key].acknowledged);
    Round(round);
    ASSERT_TRUE(store_->Close(absl::Seconds(60)).ok());
    EXPECT_EQ(CounterOf(*store_, "corrupt_total"), 0);
    EXPECT_EQ(CounterOf(*store_, "tombstones_dropped_total"), 0);
    store_ = nullptr;
  }
  EXPECT_GT(hits_, 1000u);
  Figures("threads", hits_);
}

TEST_F(StoreOracle, AfterAKillNothingOlderThanWhatWasLoggedComesBack) {
  for (uint32_t round = 11; round <= 13; ++round) {
    Open();
    for (uint32_t key = 0; key < truth_.size(); ++key) Check(key, truth_[key].logged);
    // What is served from here on counts from what was found.
    for (Truth& truth : truth_) truth.acknowledged = truth.logged.load();
    Round(round);
    for (const auto& medium : media_) medium->Crash(MemoryMedium::kKill, round);
    store_ = nullptr;
  }
  EXPECT_GT(hits_, 1000u);
  Figures("threads_killed", hits_);
}

}  // namespace
}  // namespace kvgate::storage
