// SPDX-License-Identifier: Apache-2.0
//
// A cut at every write and every sync of a script, by kill and by power cut with seeded loss and
// tearing of what was not synced; then the same log goes on, is cut again, and so on.
//
// The oracle knows for every key what was acknowledged and how firmly. After a crash
//  - a value has the bytes of the version that it claims (LogHarness::Get);
//  - no version at or below an acknowledged delete, or below an acknowledged overwrite, is served
//    (kill: acknowledged as LOGGED; power cut: as DEVICE);
//  - an acknowledged value is served, unless it was overwritten, deleted or reclaimed.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "storage/log/log_harness.h"
#include "storage/log/log_test_macros.h"

namespace kvgate::storage {
namespace {

using Kind = MemoryMedium::CrashKind;

struct Fate {
  uint64_t floor_logged = 0, floor_device = 0;  // nothing below may be served
  uint64_t value_logged = 0, value_device = 0;  // must be served unless a later write was begun
  uint64_t last_begun = 0;
};

class CrashTest : public ::testing::TestWithParam<std::tuple<Kind, uint32_t, bool>> {
 protected:
  static Kind kind() { return std::get<0>(GetParam()); }
  static uint32_t devices() { return std::get<1>(GetParam()); }
  static bool with_checkpoint() { return std::get<2>(GetParam()); }

  HarnessOptions Options(const std::string& name) const {
    HarnessOptions options{.devices = devices(), .device_bytes = 6 << 20};
    if (with_checkpoint()) options.checkpoint_dir = TestDirectory(name);
    return options;
  }

  static bool Alive(LogHarness& log) {
    return std::none_of(log.media().begin(), log.media().end(),
                        [](const auto& medium) { return medium->crashed(); });
  }

  void Put(LogHarness& log, const std::string& key, uint32_t bytes, bool device) {
    if (!Alive(log)) return;
    Fate& fate = fates_[key];
    const bool supersedes = fate.last_begun != 0;
    const uint64_t version = fate.last_begun = ++version_;
    const absl::Status status =
        log.Put(key, version, bytes, {.device = device, .supersedes = supersedes});
    if (!status.ok()) return;
    fate.floor_logged = fate.value_logged = version;
    if (device) fate.floor_device = fate.value_device = version;
  }

  void Delete(LogHarness& log, const std::string& key, bool device) {
    if (!Alive(log)) return;
    Fate& fate = fates_[key];
    const uint64_t version = fate.last_begun = ++version_;
    fate.value_logged = fate.value_device = 0;
    if (!log.Delete(key, version, device).ok()) return;
    fate.floor_logged = version + 1;
    if (device) fate.floor_device = version + 1;
  }

  // `values_stay`: nothing was reclaimed, so acknowledged values must be there.
  void Check(LogHarness& log, bool values_stay, const std::string& when) {
    for (const auto& [key, fate] : fates_) {
      const uint64_t floor = kind() == Kind::kKill ? fate.floor_logged : fate.floor_device;
      const uint64_t value = kind() == Kind::kKill ? fate.value_logged : fate.value_device;
      const absl::StatusOr<uint64_t> held = log.Get(key);
      if (held.ok()) {
        EXPECT_GE(*held, floor) << when << ": " << key << " came back";
        EXPECT_LE(*held, fate.last_begun) << when << ": " << key;
      } else {
        EXPECT_TRUE(absl::IsNotFound(held.status())) << when << ": " << held.status().ToString();
        if (values_stay && value != 0 && value == fate.last_begun) {
          ADD_FAILURE() << when << ": " << key << " was lost";
        }
      }
    }
  }

  // After a crash the survivor is what later crashes are measured by.
  void Settle(LogHarness& log) {
    for (auto& [key, fate] : fates_) {
      const absl::StatusOr<uint64_t> held = log.Get(key);
      // What survived was read from the medium, but only a later sync makes it durable; Recover
      // synced before it read.
      if (held.ok()) {
        fate.floor_logged = fate.floor_device = *held;
        fate.value_logged = fate.value_device = *held;
        fate.last_begun = *held;
      } else {
        fate.value_logged = fate.value_device = 0;
      }
    }
  }

  std::map<std::string, Fate> fates_;
  uint64_t version_ = 0;
};

TEST_P(CrashTest, ACutAtEveryWriteAndSyncOfAScriptLosesNothingAcknowledged) {
  const auto script = [this](LogHarness& log) {
    for (int i = 0; i < 3; ++i) {
      Put(log, absl::StrCat("small", i), 3000, false);
      Put(log, absl::StrCat("durable", i), 6000, true);
      Put(log, absl::StrCat("big", i), 150 << 10, i == 1);
      Put(log, "again", 5000, i == 2);
      Delete(log, "small0", i == 0);
    }
    Delete(log, "durable0", true);
    log.log().Flush(true, absl::Minutes(1)).IgnoreError();
    Put(log, "durable0", 7000, true);
  };
  bool crashed = true;
  for (uint64_t at = 1; crashed; ++at) {
    ASSERT_LT(at, 500u);
    for (uint64_t seed = 0; seed < (with_checkpoint() ? 1 : 4); ++seed) {
      fates_.clear();
      version_ = 0;
      LogHarness log(Options(absl::StrCat("script", at, "_", seed)));
      ASSERT_OK(log.Open());
      log.medium(at % devices()).CrashAt((at + devices() - 1) / devices(), kind(), seed);
      script(log);
      crashed = log.medium(at % devices()).crashed();
      log.Crash(kind(), seed);
      ASSERT_OK(log.Open());
      Check(log, true, absl::StrCat("cut at ", at, ", seed ", seed));
      if (HasFailure()) return;
    }
  }
}

TEST_P(CrashTest, ACutAtEveryWriteAndSyncOfAFormatLeavesAnEmptyLog) {
  bool crashed = true;
  for (uint64_t at = 1; crashed; ++at) {
    ASSERT_LT(at, 500u);
    LogHarness log(Options(absl::StrCat("format", at)));
    log.medium(at % devices()).CrashAt((at + devices() - 1) / devices(), kind(), at);
    const absl::Status status = log.Open();
    crashed = log.medium(at % devices()).crashed();
    EXPECT_EQ(status.ok(), !crashed) << status.ToString();
    log.Crash(kind(), at);
    ASSERT_OK(log.Open());
    EXPECT_EQ(log.index().size(), 0u);
    ASSERT_OK(log.Put("a", 1, 100));
    ExpectHeld(log, "a", 1);
  }
}

TEST_P(CrashTest, CutsDuringReclaimBringNothingBack) {
  for (uint64_t seed = 0; seed < (with_checkpoint() ? 3 : 12); ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    fates_.clear();
    version_ = 0;
    std::mt19937_64 random(seed);
    LogHarness log(Options(absl::StrCat("reclaim", seed)));
    for (int life = 0; life < 12; ++life) {
      ASSERT_OK(log.Open());
      Check(log, false, absl::StrCat("life ", life));
      if (HasFailure()) return;
      Settle(log);
      const uint64_t at = 1 + random() % 150;
      log.medium(random() % devices()).CrashAt(at, kind(), random());
      for (int i = 0; i < 300 && Alive(log); ++i) {
        const std::string key = absl::StrCat("k", random() % 25);
        if (random() % 3 == 0) log.index().Keep(log.HashOf(key));
        if (random() % 4 == 0)
          Delete(log, key, random() % 2 == 0);
        else
          Put(log, key, 1 + random() % (200 << 10), random() % 3 == 0);
      }
      log.Crash(kind(), random());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cuts, CrashTest,
                         ::testing::Combine(::testing::Values(Kind::kKill, Kind::kPowerCut),
                                            ::testing::Values(1u, 2u), ::testing::Bool()),
                         [](const auto& info) {
                           return absl::StrCat(
                               std::get<0>(info.param) == Kind::kKill ? "Kill" : "PowerCut",
                               std::get<1>(info.param), "Disks",
                               std::get<2>(info.param) ? "Checkpoint" : "");
                         });

}  // namespace
}  // namespace kvgate::storage
