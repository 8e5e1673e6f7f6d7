// SPDX-License-Identifier: Apache-2.0
//
// ReadLatency: how long reads of a device take now, against how long they usually do.
//
// A device that became slow without failing ("gray") is worse than none: a caller with a deadline
// waits for nothing. When the 99th percentile of reads, scaled to 1 MiB, was above ten times its
// usual value for ten seconds, a read whose deadline is nearer than that percentile is refused, so
// that the caller computes at once. Reads with more time go on and show when the device is well;
// without any for ten seconds it gets another try.
// Usual: what the percentile was while the device was well, in seconds with enough reads; it falls
// at once and rises slowly, so that a device that wears out is not forgiven within minutes.
// Thread-safe. Times are the caller's, and do not run backwards.
#pragma once

#include <array>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace kvgate::storage {

class ReadLatency {
 public:
  // Smaller reads are not counted: they tell the queue, not the device.
  static constexpr uint64_t kBytesMin = 256 << 10;

  void Record(uint64_t bytes, absl::Duration took, absl::Time now);
  // Whether a read that must end by `deadline` is not to be begun.
  bool Refuses(absl::Time deadline, absl::Time now);
  bool gray(absl::Time now);
  absl::Duration p99(absl::Time now);  // of the last ten seconds; zero without reads

 private:
  static constexpr int kSeconds = 10, kBuckets = 64, kReadsMin = 16;
  static constexpr double kTimesUsual = 10;
  struct Second {
    int64_t number = -1;  // since the epoch
    uint32_t reads = 0;
    std::array<uint32_t, kBuckets> counts{};
  };

  void Advance(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Learn(const Second& second) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  double P99Us(int seconds) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool Gray(absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return now - slow_since_ >= absl::Seconds(kSeconds);
  }

  absl::Mutex mu_;
  std::array<Second, kSeconds> seconds_ ABSL_GUARDED_BY(mu_);
  int64_t second_ ABSL_GUARDED_BY(mu_) = -1;
  double usual_us_ ABSL_GUARDED_BY(mu_) = 0;  // 0: not known yet
  absl::Time slow_since_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
};

}  // namespace kvgate::storage
