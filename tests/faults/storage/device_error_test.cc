// SPDX-License-Identifier: Apache-2.0
//
// Devices that answer errors, are full, slow or silent: what was acknowledged keeps its meaning,
// other devices keep working, and no late transfer lands in another block's memory.
#include <signal.h>
#include <sys/resource.h>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/faults/storage/fault_run.h"
#include "tests/faults/storage/fault_store.h"

namespace kvgate::faults {
namespace {

using storage::Durability;
using storage::Fault;
using storage::GetState;
using storage::MemoryMedium;

TEST(Errors, RandomFailuresOfReadsWritesAndSyncsCostNoMoreThanMisses) {
  uint64_t struck = 0;
  ForEachSeed("errors", 60, 5'000, [&](uint64_t seed) {
    std::mt19937_64 random(seed);
    FaultStore store({.devices = 1 + static_cast<uint32_t>(seed % 2)});
    ASSERT_TRUE(store.Open());
    store.AllowErrors(true);
    for (size_t device = 0; device < store.media().size(); ++device) {
      store.disk(device).Add({.kind = Fault::kError,
                              .on_reads = seed % 3 != 1,
                              .on_writes = seed % 3 != 2,
                              .on_syncs = seed % 3 != 2,
                              .probability = seed % 4 < 2 ? 1.0 / 32 : 1.0 / 1000});
    }
    for (int i = 0; i < 120; ++i) {
      store.RandomWrite(random, 12, 60'000);
      if (i % 4 == 0) store.Check(absl::StrCat("key", random() % 12), "under errors");
    }
    store.CheckAll("under errors");
    for (size_t d = 0; d < store.media().size(); ++d) {
      struck += store.disk(d).struck(0);
      store.disk(d).Clear();
    }
    store.CheckAll("after the errors");
    store.Crash(MemoryMedium::kKill, seed);
    store.AllowErrors(false);
    if (store.Open()) store.CheckAll("after a restart");
  });
  Figure("errors", "injected", static_cast<double>(struck));
  EXPECT_GT(struck, 0u);
}

TEST(Errors, ADeadDeviceLeavesTheOthersNearlyAllWrites) {
  FaultStore store({.devices = 3, .device_bytes = 16 << 20});
  ASSERT_TRUE(store.Open());
  store.disk(1).Add({.kind = Fault::kError, .on_reads = true, .on_writes = true, .on_syncs = true});
  int logged = 0;
  for (int i = 0; i < 400; ++i) {
    logged += store.Put(absl::StrCat("k", i), 20'000, Durability::kLogged) >= Durability::kLogged;
  }
  EXPECT_GE(logged, 390) << "more than ten writes were tried on the dead device";
  store.AllowErrors(true);
  store.CheckAll("with a dead device");
  Figure("dead_device", "logged_of_400", logged);
}

TEST(Errors, ABadRangeIsNotUsedUpAndTheRestGoesOn) {
  FaultStore store({.device_bytes = 16 << 20});
  ASSERT_TRUE(store.Open());
  store.AllowErrors(true);
  store.disk().Add({.kind = Fault::kError,
                    .on_reads = true,
                    .on_writes = true,
                    .begin = (4 << 20) + 100 * 4096,
                    .end = (4 << 20) + 110 * 4096});
  int logged = 0;
  for (int i = 0; i < 600; ++i) {
    const std::string key = absl::StrCat("key", i % 30);
    logged += store.Put(key, 60'000, Durability::kLogged) >= Durability::kLogged;
  }
  EXPECT_GE(logged, 540);
  store.CheckAll("with a bad range");
  Figure("bad_range", "logged_of_600", logged);
}

TEST(NoSpace, SetsStayInMemoryGetsAreServedAndItHeals) {
  FaultStore store({});
  ASSERT_TRUE(store.Open());
  for (int i = 0; i < 8; ++i) store.Put(absl::StrCat("key", i), 30'000, Durability::kLogged);
  store.disk().Add({.kind = Fault::kError,
                    .on_writes = true,
                    .error = absl::ResourceExhaustedError("injected: no space (errno 28)")});
  for (int i = 8; i < 16; ++i) {
    EXPECT_LT(store.Put(absl::StrCat("key", i), 30'000, Durability::kLogged), Durability::kLogged);
  }
  EXPECT_EQ(store.CheckAll("without space"), 16u);
  store.disk().Clear();
  EXPECT_EQ(store.Put("healed", 30'000, Durability::kLogged), Durability::kLogged);
  store.Crash(MemoryMedium::kKill, 1);
  ASSERT_TRUE(store.Open());
  EXPECT_GE(store.CheckAll("after a restart"), 9u);
}

TEST(NoSpace, ACheckpointThatTakesNoMoreCostsNothingAcknowledged) {
  FaultStore store({.device_bytes = 32 << 20,
                    .checkpoint_at = FaultDirectory("full_checkpoint"),
                    .roomy = true});
  ASSERT_TRUE(store.Open());
  // Extents exist before file sizes are limited.
  for (int i = 0; i < 60; ++i) store.Put(absl::StrCat("a", i), 60'000, Durability::kLogged);
  signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit tiny{.rlim_cur = 64, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tiny), 0);
  int logged = 0;
  for (int i = 0; i < 120; ++i) {
    logged += store.Put(absl::StrCat("b", i), 60'000, Durability::kLogged) >= Durability::kLogged;
  }
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(logged, 120);
  store.Crash(MemoryMedium::kKill, 1);
  ASSERT_TRUE(store.Open());
  EXPECT_EQ(store.CheckAll("after a restart"), 180u);
}

// Gets that are asked for while the device holds every read, and how they ended.
class HeldReads {
 public:
  HeldReads(FaultStore* store, int keys) : store_(store), answers_(static_cast<size_t>(keys)) {
    for (size_t i = 0; i < answers_.size(); ++i) {
      const std::string key = absl::StrCat("key", i);
      storage::GetRequest request;
      request.ns = store_->ns();
      request.keys = {key};
      request.answer_by = store_->clock().Now() + absl::Milliseconds(100);
      store_->store().Get(request, answers_[i].callback());
    }
  }
  void ExpectMissesBy(absl::Duration slow) {
    store_->clock().Advance(slow);
    for (auto& answer : answers_) {
      const auto got = answer.Wait();
      ASSERT_TRUE(got.ok()) << got.status();
      EXPECT_NE(got->front().state, GetState::kOk);
    }
  }

 private:
  FaultStore* const store_;
  std::vector<storage::Answer<std::vector<storage::GetResult>>> answers_;
};

TEST(SlowDisk, GetsAnswerByTheirTimeAndLateTransfersTouchNoOtherBlock) {
  for (const int ms : {110, 250, 1000, 5000}) {
    for (const Fault::Kind kind : {Fault::kDelay, Fault::kNeverComplete}) {
      FaultStore store({.device_bytes = 16 << 20});
      ASSERT_TRUE(store.Open());
      for (int i = 0; i < 10; ++i) store.Put(absl::StrCat("key", i), 90'000, Durability::kLogged);
      ASSERT_TRUE(store.store().Close(absl::Minutes(1)).ok());
      ASSERT_TRUE(store.Open());
      store.disk().Add({.kind = kind, .on_reads = true});
      HeldReads reads(&store, 10);
      reads.ExpectMissesBy(absl::Milliseconds(ms));
      // Twice what memory holds passes while the device still owns those buffers.
      store.disk().Clear();
      std::mt19937_64 random(static_cast<uint64_t>(ms));
      for (int i = 0; i < 90; ++i) {
        const std::string key = absl::StrCat("other", i % 30);
        store.Put(key, 100'000, Durability::kVolatile);
      }
      store.disk().Release();
      const std::string when = absl::StrCat("after ", ms, " ms");
      for (int i = 0; i < 30; ++i) store.Check(absl::StrCat("other", i), when);
      // What never ends is waited for by everyone who asks for that very block.
      if (kind == Fault::kDelay) store.CheckAll(when);
    }
  }
}

}  // namespace
}  // namespace kvgate::faults
