// SPDX-License-Identifier: Apache-2.0
//
// Clock: where time enters the store. RealClock in the daemon, ManualClock in tests.
// Thread-safe. Now() never goes back within a process. CacheSeconds() is the cache clock in which
// expiry is kept: seconds that go on over restarts and never follow jumps of the wall clock.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

namespace kvgate::storage {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;         // monotone; comparable with deadlines of this process
  virtual uint32_t CacheSeconds() const = 0;  // > 0
  virtual uint32_t WallSeconds() const = 0;   // for anchors and people only
};

// CLOCK_BOOTTIME shifted so that Now() looks like wall time when the process first made a
// RealClock; the shift is the same for all RealClocks of a process. The cache clock starts at 1;
// SetCacheBase is called once by the log after recovery and carries on from where the last run was.
class RealClock final : public Clock {
 public:
  RealClock();
  absl::Time Now() const override;
  uint32_t CacheSeconds() const override;
  uint32_t WallSeconds() const override;
  void SetCacheBase(uint32_t cache_seconds_now);

 private:
  int64_t boot_to_wall_ns_;
  std::atomic<int64_t> cache_offset_s_;
};

class ManualClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixNanos(now_ns_.load()); }
  uint32_t CacheSeconds() const override {
    return static_cast<uint32_t>(now_ns_.load() / 1000000000);
  }
  uint32_t WallSeconds() const override { return CacheSeconds(); }
  void Advance(absl::Duration d) { now_ns_ += absl::ToInt64Nanoseconds(d); }

 private:
  std::atomic<int64_t> now_ns_{1'000'000'000'000};
};

}  // namespace kvgate::storage
