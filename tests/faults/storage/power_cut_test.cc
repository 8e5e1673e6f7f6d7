// SPDX-License-Identifier: Apache-2.0
//
// Crashes by seed: kill -9 and power cuts at any write or sync, with what was not synced kept, lost
// or torn at 512 and at 4096 bytes in any combination; devices that fail and come back; a
// checkpoint that is lost or old. No version below an acknowledged LOGGED or DEVICE Delete or
// OVERWRITE is ever served, and nothing acknowledged is lost before it is reclaimed.
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/faults/storage/fault_run.h"
#include "tests/faults/storage/fault_store.h"

namespace kvgate::faults {
namespace {

using storage::Fault;
using storage::MemoryMedium;

CrashKind KindOf(std::mt19937_64& random) {
  return random() % 4 == 0 ? MemoryMedium::kKill : MemoryMedium::kPowerCut;
}

class Lives {
 public:
  explicit Lives(FaultStore* store, std::mt19937_64* random) : store_(store), random_(random) {}

  // Writes until a device crashes at a random operation, crashes the rest, opens and judges.
  bool One(uint64_t operations_max, int writes, size_t bytes_max, const std::string& when) {
    std::mt19937_64& random = *random_;
    const CrashKind kind = KindOf(random);
    const size_t device = random() % store_->media().size();
    store_->medium(device).CrashAt(1 + random() % operations_max, kind, random());
    for (int i = 0; i < writes && !store_->crashed(); ++i) {
      store_->RandomWrite(random, 12, bytes_max);
    }
    store_->Crash(kind, random());
    ++crashes_;
    return Again(when);
  }
  bool Again(const std::string& when) {
    if (!store_->Open()) return false;
    found_ += store_->CheckAll(when);
    return !::testing::Test::HasFailure();
  }
  uint64_t crashes() const { return crashes_; }
  uint64_t found() const { return found_; }

 private:
  FaultStore* const store_;
  std::mt19937_64* const random_;
  uint64_t crashes_ = 0, found_ = 0;
};

TEST(PowerCut, NothingAcknowledgedIsLostAndNothingEndedComesBack) {
  uint64_t crashes = 0, found = 0;
  ForEachSeed("power_cut", 1000, 100'000, [&](uint64_t seed) {
    std::mt19937_64 random(seed);
    FaultStore store(
        {.devices = 1 + static_cast<uint32_t>(seed % 2), .device_bytes = 16 << 20, .roomy = true});
    ASSERT_TRUE(store.Open());
    Lives lives(&store, &random);
    for (int life = 0; life < 2; ++life) {
      if (!lives.One(60, 25, 40'000, absl::StrCat("life ", life))) break;
    }
    crashes += lives.crashes();
    found += lives.found();
  });
  Figure("power_cut", "crashes", static_cast<double>(crashes));
  Figure("power_cut", "found_after_crashes", static_cast<double>(found));
  EXPECT_GT(found, 0u) << "the test saw nothing";
}

TEST(PowerCut, DuringReclaimNothingEndedComesBack) {
  uint64_t crashes = 0;
  ForEachSeed("power_cut_reclaim", 30, 5'000, [&](uint64_t seed) {
    std::mt19937_64 random(seed);
    FaultStore store({.devices = 1 + static_cast<uint32_t>(seed % 2), .device_bytes = 6 << 20});
    ASSERT_TRUE(store.Open());
    Lives lives(&store, &random);
    for (int life = 0; life < 3; ++life) {
      if (!lives.One(400, 200, 200'000, absl::StrCat("life ", life))) break;
    }
    crashes += lives.crashes();
  });
  Figure("power_cut_reclaim", "crashes", static_cast<double>(crashes));
}

TEST(DeviceLoss, ADeviceThatComesBackBringsNothingEndedBack) {
  ForEachSeed("device_loss", 40, 3'000, [&](uint64_t seed) {
    std::mt19937_64 random(seed);
    FaultStore store({.devices = 2});
    ASSERT_TRUE(store.Open());
    for (int i = 0; i < 30; ++i) store.RandomWrite(random, 12, 40'000);
    // One device fails all requests from here on; what it holds is there again after the restart.
    const size_t lost = random() % 2;
    store.disk(lost).Add(
        {.kind = Fault::kError, .on_reads = true, .on_writes = true, .on_syncs = true});
    store.AllowErrors(true);
    for (int i = 0; i < 40; ++i) store.RandomWrite(random, 12, 40'000);
    store.CheckAll("while the device is away");
    store.ForgiveLosses();  // seals failed; what stays is judged by the floors
    store.Crash(KindOf(random), random());
    store.AllowErrors(false);
    if (store.Open()) store.CheckAll("after the device came back");
  });
}

TEST(CheckpointLoss, ALostOrOldCheckpointBringsNothingEndedBack) {
  uint64_t losses = 0;
  ForEachSeed("checkpoint_loss", 10, 1'000, [&](uint64_t seed) {
    std::mt19937_64 random(seed);
    const std::string place = FaultDirectory(absl::StrCat("checkpoint", seed));
    const std::string kept = FaultDirectory(absl::StrCat("kept", seed));
    FaultStore store({.device_bytes = 6 << 20, .checkpoint_at = place});
    ASSERT_TRUE(store.Open());
    Lives lives(&store, &random);
    for (int life = 0; life < 4; ++life) {
      if (!lives.One(300, 120, 200'000, absl::StrCat("life ", life))) break;
      store.Close();
      const uint64_t dice = random() % 3;
      if (dice == 0) {
        std::filesystem::remove_all(place);
        ++losses;
      } else if (dice == 1 && std::filesystem::exists(kept)) {
        std::filesystem::remove_all(place);
        std::filesystem::rename(kept, place);
        ++losses;
      } else {
        std::filesystem::remove_all(kept);
        std::filesystem::copy(place, kept, std::filesystem::copy_options::recursive);
      }
      if (!lives.Again("after the checkpoint was changed")) break;
    }
    store.Close();
    std::filesystem::remove_all(place);
    std::filesystem::remove_all(kept);
  });
  Figure("checkpoint_loss", "lost_or_old", static_cast<double>(losses));
}

}  // namespace
}  // namespace kvgate::faults
