// SPDX-License-Identifier: Apache-2.0
//
// A process with a store on a real file and a real checkpoint is killed with SIGKILL: at a random
// moment, and before and after each kind of step that the log takes on its device. What was sent
// and acknowledged stands in memory that outlives the process; pending writes may have happened or
// not. The next process judges all keys, then goes on until it is killed itself.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "storage/base/clock.h"
#include "storage/log/format.h"
#include "storage/store.h"
#include "storage/store_test_util.h"
#include "tests/faults/storage/fault_run.h"
#include "tests/faults/storage/fault_store.h"

namespace kvgate::faults {
namespace {

using storage::Durability;
using storage::GetState;
using storage::IoClass;
using storage::IoDone;

constexpr uint64_t kSegment = 1 << 20;
constexpr uint64_t kDeviceBytes = 8 << 20;
constexpr int kKeys = 16;

// Kinds of steps on the device, told by place and bytes.
enum Step : int { kSuperblock, kHeader, kBatch, kPayload, kFooter, kErase, kSync, kSteps };
constexpr const char* kStepNames[] = {"superblock",     "segment header", "batch", "payload",
                                      "footer written", "footer erased",  "sync"};

struct Shared {
  struct Key {
    std::atomic<uint32_t> sent{0}, floor{0};
  };
  std::array<Key, kKeys> keys;
  std::atomic<uint64_t> judged{0}, found{0};
  std::atomic<int> step{-1};  // where to die; -1: nowhere
  std::atomic<bool> after{false};
  std::atomic<int> countdown{0};
  char problem[256] = {};
};

Step StepOf(uint64_t offset, std::span<const std::byte> bytes) {
  if (offset < storage::kSegmentsStart) return kSuperblock;
  if (offset >= kDeviceBytes - storage::kDeviceTailBytes) return kSuperblock;
  const uint64_t within = (offset - storage::kSegmentsStart) % kSegment;
  if (within == 0) return kHeader;
  if (within + bytes.size() == kSegment) {
    const bool blank =
        std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
    return blank ? kErase : kFooter;
  }
  return std::memcmp(bytes.data(), "KVGATEBH", 8) == 0 ? kBatch : kPayload;
}

// Passes everything on, and kills its own process at the step that was asked for.
class KillDisk final : public storage::Disk {
 public:
  KillDisk(std::unique_ptr<storage::Disk> inner, Shared* shared)
      : Disk(inner->name(), inner->bytes()), inner_(std::move(inner)), shared_(shared) {}
  std::string_view mode() const override { return inner_->mode(); }
  std::string_view engine() const override { return inner_->engine(); }
  storage::DiskStats stats() const override { return inner_->stats(); }

 private:
  bool DiesAt(Step step) { return shared_->step == step && shared_->countdown.fetch_sub(1) == 1; }
  [[noreturn]] static void Die() {
    kill(getpid(), SIGKILL);
    while (true) pause();
  }
  // The `done` to pass on, or no return.
  IoDone Struck(Step step, IoDone done) {
    if (!DiesAt(step)) return done;
    if (!shared_->after) Die();
    return [](absl::Status) { Die(); };
  }
  void ReadImpl(uint64_t offset, std::span<std::byte> buffer, IoClass io_class, absl::Time deadline,
                IoDone done) override {
    inner_->Read(offset, buffer, io_class, deadline, std::move(done));
  }
  void WriteImpl(uint64_t offset, std::span<const std::byte> buffer, IoClass io_class,
                 IoDone done) override {
    inner_->Write(offset, buffer, io_class, Struck(StepOf(offset, buffer), std::move(done)));
  }
  void SyncImpl(IoDone done) override { inner_->Sync(Struck(kSync, std::move(done))); }
  void FailImpl(absl::Status error, IoDone done) override {
    FailOn(*inner_, std::move(error), std::move(done));
  }

  const std::unique_ptr<storage::Disk> inner_;
  Shared* const shared_;
};

// One life, in a process of its own: opens, judges, then works until it is killed.
class Life {
 public:
  Life(Shared* shared, std::string directory, uint64_t seed)
      : shared_(shared), directory_(std::move(directory)), random_(seed) {}

  // 0: went on for as long as it was to.
  int Run(int operations) {
    if (!Open()) return 1;
    for (int key = 0; key < kKeys; ++key) {
      if (!Judge(key)) return 1;
    }
    shared_->judged++;
    for (int i = 0; i < operations; ++i) {
      if (!Work()) return 1;
    }
    store_ = nullptr;
    return 0;
  }

 private:
  static std::string Name(int key) { return absl::StrCat("key", key); }
  static size_t BytesOf(int key, uint32_t revision) {
    const size_t sizes[] = {500, 5000, 40'000, 150'000};
    return sizes[(static_cast<uint32_t>(key) + revision) % 4];
  }
  bool Fail(const std::string& problem) {
    std::snprintf(shared_->problem, sizeof(shared_->problem), "%s", problem.c_str());
    return false;
  }

  bool Open() {
    storage::StoreOptions options = SmallStore();
    options.log.directories = {directory_};
    auto disk = storage::OpenDisk(directory_ + "/data", kDeviceBytes, {.direct = false});
    if (!disk.ok()) return Fail(std::string(disk.status().message()));
    std::vector<std::unique_ptr<storage::Disk>> disks;
    disks.push_back(std::make_unique<KillDisk>(*std::move(disk), shared_));
    auto store = storage::Store::OpenOn(options, &clock_, std::move(disks));
    if (!store.ok()) return Fail(std::string(store.status().message()));
    store_ = *std::move(store);
    while (store_->facts().loading) absl::SleepFor(absl::Microseconds(100));
    auto ns = store_->OpenNamespace("tenant", "", storage::TestIdentity());
    if (!ns.ok()) return Fail(std::string(ns.status().message()));
    ns_ = ns->id;
    return true;
  }

  bool Judge(int number) {
    Shared::Key& key = shared_->keys[static_cast<size_t>(number)];
    const storage::GetResult got = GetOne(*store_, ns_, Name(number));
    if (got.state == GetState::kMiss) return true;
    if (got.state != GetState::kOk) {
      return Fail(absl::StrCat(Name(number), ": state ", static_cast<int>(got.state)));
    }
    const std::string text = storage::TextOf(got.block);
    for (uint32_t revision = key.sent; revision > 0; --revision) {
      if (text != storage::ValueOf(Name(number), revision, BytesOf(number, revision))) continue;
      if (revision < key.floor) {
        return Fail(absl::StrCat(Name(number), ": revision ", revision, " came back, floor ",
                                 key.floor.load(), " of ", key.sent.load()));
      }
      shared_->found++;
      return true;
    }
    return Fail(absl::StrCat(Name(number), ": bytes of no revision"));
  }

  bool Work() {
    const int number = static_cast<int>(random_() % kKeys);
    Shared::Key& key = shared_->keys[static_cast<size_t>(number)];
    const std::string name = Name(number);
    const uint64_t dice = random_() % 6;
    if (dice == 0) return Judge(number);
    if (dice == 1) {
      storage::DeleteRequest request;
      request.ns = ns_;
      request.keys = {name};
      if (DeleteSync(*store_, request).ok()) key.floor = key.sent + 1;
      return true;
    }
    const uint32_t revision = ++key.sent;
    storage::SetRequest request;
    request.mode = storage::SetMode::kOverwrite;
    request.durability = dice == 2 ? Durability::kDevice : Durability::kLogged;
    const auto text = storage::ValueOf(name, revision, BytesOf(number, revision));
    const auto result = PutOne(*store_, ns_, name, text, request);
    if (result.durability >= Durability::kLogged) key.floor = revision;
    return true;
  }

  Shared* const shared_;
  const std::string directory_;
  std::mt19937_64 random_;
  storage::RealClock clock_;
  std::unique_ptr<storage::Store> store_;
  storage::NamespaceId ns_ = 0;
};

class ProcessKill : public ::testing::Test {
 protected:
  void SetUp() override {
    void* memory =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    shared_ = new (memory) Shared;
    directory_ = FaultDirectory("process_kill");
    std::filesystem::create_directories(directory_);
  }
  void TearDown() override {
    munmap(shared_, sizeof(Shared));
    std::filesystem::remove_all(directory_);
  }

  // True: it was killed. `after_ms` >= 0: from outside, so long after its start.
  bool OneLife(uint64_t seed, int operations, int after_ms) {
    const uint64_t judged = shared_->judged;
    const pid_t child = fork();
    if (child == 0) _exit(Life(shared_, directory_, seed).Run(operations));
    if (after_ms >= 0) {
      // Every other one is let through its recovery; the rest may be killed in it.
      const absl::Time limit = absl::Now() + absl::Seconds(30);
      while (seed % 2 == 0 && shared_->judged == judged && absl::Now() < limit &&
             shared_->problem[0] == 0) {
        absl::SleepFor(absl::Milliseconds(1));
      }
      absl::SleepFor(absl::Milliseconds(after_ms));
      kill(child, SIGKILL);
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    EXPECT_TRUE(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
        << shared_->problem << " (status " << status << ")";
    return killed;
  }

  Shared* shared_ = nullptr;
  std::string directory_;
};

TEST_F(ProcessKill, AtRandomMomentsNothingEndedComesBack) {
  uint64_t kills = 0;
  ForEachSeed("process_kill", 20, 400, [&](uint64_t seed) {
    std::mt19937_64 random(seed);
    kills += OneLife(seed, 1'000'000, 40 + static_cast<int>(random() % 250));
  });
  EXPECT_FALSE(OneLife(0, 1, -1));
  Figure("process_kill", "kills", static_cast<double>(kills));
  Figure("process_kill", "judged", static_cast<double>(shared_->judged));
  EXPECT_GT(shared_->found, 0u) << "the test saw nothing";
}

TEST_F(ProcessKill, BeforeAndAfterEachStepNothingEndedComesBack) {
  uint64_t kills = 0, points = 0;
  const uint64_t rounds = IsLong() ? 20 : 2;
  for (int step = 0; step < kSteps && !HasFailure(); ++step) {
    for (const bool after : {false, true}) {
      uint64_t killed = 0;
      for (uint64_t round = 0; round < rounds && !HasFailure(); ++round) {
        if (step == kSuperblock) std::filesystem::remove(directory_ + "/data");
        if (step == kSuperblock) {
          for (auto& key : shared_->keys) key.floor = key.sent + 1;
        }
        shared_->step = step;
        shared_->after = after;
        shared_->countdown = 1 + static_cast<int>(round % 7);
        killed += OneLife(round, 600, -1);
        shared_->step = -1;
      }
      EXPECT_GT(killed, 0u) << kStepNames[step] << (after ? ", after" : ", before")
                            << " was never reached";
      points += killed > 0;
      kills += killed;
    }
  }
  EXPECT_FALSE(OneLife(0, 1, -1));
  Figure("step_kill", "points", static_cast<double>(points));
  Figure("step_kill", "kills", static_cast<double>(kills));
}

}  // namespace
}  // namespace kvgate::faults
