// SPDX-License-Identifier: Apache-2.0
//
// Clock: where time enters the store. RealClock in the daemon; tests have manual_clock.h.
// Thread-safe. Now() never goes back within a process. CacheSeconds() is the cache clock in which
// expiry is kept: seconds that go on over restarts and never follow jumps of the wall clock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace kvgate::storage {

// A moment that another run can compare with its own as long as the machine was not booted between.
struct BootTime {
  std::array<uint8_t, 16> boot_id{};  // zero: not known
  uint64_t seconds = 0;               // CLOCK_BOOTTIME
};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;         // monotone; comparable with deadlines of this process
  virtual uint32_t CacheSeconds() const = 0;  // > 0
  virtual uint32_t WallSeconds() const = 0;   // for anchors and people only
  virtual BootTime Boot() const = 0;          // for anchors only
};

// CLOCK_BOOTTIME shifted so that Now() looks like wall time when the process first made a
// RealClock; the shift is the same for all RealClocks of a process. The cache clock starts at 1;
// SetCacheBase is called once by the store after recovery and carries on from where the last run
// was; SetBootId before the log opens, since nothing in this room opens files.
class RealClock final : public Clock {
 public:
  RealClock();
  absl::Time Now() const override;
  uint32_t CacheSeconds() const override;
  uint32_t WallSeconds() const override;
  BootTime Boot() const override;
  void SetCacheBase(uint32_t cache_seconds_now);
  void SetBootId(const std::array<uint8_t, 16>& boot_id);

 private:
  int64_t boot_to_wall_ns_;
  std::atomic<int64_t> cache_offset_s_;
  mutable absl::Mutex mu_;
  std::array<uint8_t, 16> boot_id_ ABSL_GUARDED_BY(mu_){};
};

}  // namespace kvgate::storage
