// SPDX-License-Identifier: Apache-2.0
//
// ManualClock: time that stands until a test moves it. Not in clock.h: a compiler that sees it
// would guess, in the daemon too, that a Clock is one. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"
#include "storage/base/clock.h"

namespace kvgate::storage {

class ManualClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixNanos(now_ns_.load()); }
  uint32_t CacheSeconds() const override {
    return static_cast<uint32_t>(now_ns_.load() / 1000000000);
  }
  uint32_t WallSeconds() const override {
    return static_cast<uint32_t>(CacheSeconds() + wall_shift_s_.load());
  }
  BootTime Boot() const override {
    BootTime boot;
    boot.boot_id[0] = boot_.load();
    boot.seconds = static_cast<uint64_t>(CacheSeconds() - kFirstBootAtS);
    return boot;
  }
  void Advance(absl::Duration d) { now_ns_ += absl::ToInt64Nanoseconds(d); }
  // The wall clock jumps; nothing else follows.
  void ShiftWall(int64_t seconds) { wall_shift_s_ += seconds; }
  // Another boot from now on; 0: the boot is not known, as at first.
  void SetBoot(uint8_t boot) { boot_ = boot; }

 private:
  static constexpr uint32_t kFirstBootAtS = 900;
  std::atomic<int64_t> wall_shift_s_{0};
  std::atomic<uint8_t> boot_{0};
  std::atomic<int64_t> now_ns_{1'000'000'000'000};
};

}  // namespace kvgate::storage
