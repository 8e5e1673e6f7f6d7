// SPDX-License-Identifier: Apache-2.0
#include "storage/log/read_latency.h"

#include <algorithm>
#include <cmath>

namespace kvgate::storage {
namespace {

constexpr double kRiseShare = 1.0 / 256;  // a second
// Three buckets an octave from 16 us on: within 26 %, up to 40 s.
constexpr double kFirstUs = 16, kBucketsAnOctave = 3;

int BucketOf(double us, int buckets) {
  const double octaves = std::log2(std::max(us, kFirstUs) / kFirstUs);
  return std::min(static_cast<int>(octaves * kBucketsAnOctave), buckets - 1);
}

double UpperUs(int bucket) { return kFirstUs * std::exp2((bucket + 1) / kBucketsAnOctave); }

}  // namespace

double ReadLatency::P99Us(int seconds) const {
  std::array<uint64_t, kBuckets> counts{};
  uint64_t reads = 0;
  for (const Second& second : seconds_) {
    if (second.number <= second_ - seconds || second.number > second_) continue;
    reads += second.reads;
    for (int i = 0; i < kBuckets; ++i) counts[i] += second.counts[i];
  }
  uint64_t above = reads / 100 + 1;
  for (int i = kBuckets; reads > 0 && i-- > 0;) {
    if (counts[i] >= above) return UpperUs(i);
    above -= counts[i];
  }
  return 0;
}

void ReadLatency::Learn(const Second& second) {
  if (second.number != second_ || second.reads < kReadsMin) return;
  const double us = P99Us(1);
  if (usual_us_ == 0 || us < usual_us_) {
    usual_us_ = us;
  } else if (us <= usual_us_ * kTimesUsual) {
    usual_us_ += (us - usual_us_) * kRiseShare;
  }
}

void ReadLatency::Advance(absl::Time now) {
  const int64_t number = absl::ToUnixSeconds(now);
  if (number == second_) return;
  if (second_ >= 0) Learn(seconds_[second_ % kSeconds]);
  second_ = number;
  // Without reads nothing is known to be slow any more.
  if (P99Us(kSeconds) == 0) slow_since_ = absl::InfiniteFuture();
}

void ReadLatency::Record(uint64_t bytes, absl::Duration took, absl::Time now) {
  if (bytes < kBytesMin) return;
  absl::MutexLock lock(&mu_);
  Advance(now);
  Second& second = seconds_[second_ % kSeconds];
  if (second.number != second_) second = Second{.number = second_};
  const double mib = std::max(static_cast<double>(bytes) / (1 << 20), 1.0);
  ++second.reads;
  ++second.counts[BucketOf(absl::ToDoubleMicroseconds(took) / mib, kBuckets)];
  if (usual_us_ == 0 || P99Us(kSeconds) <= usual_us_ * kTimesUsual) {
    slow_since_ = absl::InfiniteFuture();
  } else if (slow_since_ == absl::InfiniteFuture()) {
    slow_since_ = now;
  }
}

bool ReadLatency::Refuses(absl::Time deadline, absl::Time now) {
  if (deadline == absl::InfiniteFuture()) return false;
  absl::MutexLock lock(&mu_);
  Advance(now);
  return Gray(now) && deadline - now < absl::Microseconds(P99Us(kSeconds));
}

bool ReadLatency::gray(absl::Time now) {
  absl::MutexLock lock(&mu_);
  Advance(now);
  return Gray(now);
}

absl::Duration ReadLatency::p99(absl::Time now) {
  absl::MutexLock lock(&mu_);
  Advance(now);
  return absl::Microseconds(P99Us(kSeconds));
}

}  // namespace kvgate::storage
