// SPDX-License-Identifier: Apache-2.0
#include "storage/base/clock.h"

#include <ctime>

namespace kvgate::storage {
namespace {

constexpr int64_t kNanosPerSecond = 1'000'000'000;

int64_t Nanos(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<int64_t>(time.tv_sec) * kNanosPerSecond + time.tv_nsec;
}

// One value a process, so that deadlines made with one RealClock hold for another even when the
// wall clock jumped between their constructions.
int64_t BootToWallNanos() {
  static const int64_t shift = Nanos(CLOCK_REALTIME) - Nanos(CLOCK_BOOTTIME);
  return shift;
}

int64_t BootSeconds() { return Nanos(CLOCK_BOOTTIME) / kNanosPerSecond; }

}  // namespace

RealClock::RealClock() : boot_to_wall_ns_(BootToWallNanos()), cache_offset_s_(1 - BootSeconds()) {}

absl::Time RealClock::Now() const {
  return absl::FromUnixNanos(Nanos(CLOCK_BOOTTIME) + boot_to_wall_ns_);
}

uint32_t RealClock::CacheSeconds() const {
  return static_cast<uint32_t>(BootSeconds() + cache_offset_s_.load(std::memory_order_relaxed));
}

uint32_t RealClock::WallSeconds() const {
  return static_cast<uint32_t>(Nanos(CLOCK_REALTIME) / kNanosPerSecond);
}

BootTime RealClock::Boot() const {
  absl::MutexLock lock(&mu_);
  return {.boot_id = boot_id_, .seconds = static_cast<uint64_t>(BootSeconds())};
}

void RealClock::SetBootId(const std::array<uint8_t, 16>& boot_id) {
  absl::MutexLock lock(&mu_);
  boot_id_ = boot_id;
}

void RealClock::SetCacheBase(uint32_t cache_seconds_now) {
  cache_offset_s_.store(static_cast<int64_t>(cache_seconds_now) - BootSeconds(),
                        std::memory_order_relaxed);
}

}  // namespace kvgate::storage
