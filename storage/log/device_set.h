// SPDX-License-Identifier: Apache-2.0
//
// DeviceSet: the disks of one log, proven to belong together, and what their superblocks say.
//
// OpenDeviceSet formats disks that are all blank (or whose format was cut short), and opens ones
// that are all members of one complete set. Anything else is refused with FAILED_PRECONDITION, by
// the disk's name, with what to do: foreign contents, members of several sets, a member missing or
// twice, a blank disk among used ones, a later format version, a disk that shrank.
// The order of a format, each step synced on all disks before the next: superblocks saying
// "formatting", segment headers, superblocks saying "ready". So a cut leaves no half set behind.
// A damaged copy of a superblock is written anew from the others; what was done is told to
// options.events.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/io/disk.h"
#include "storage/log/format.h"
#include "storage/log/read_latency.h"
#include "storage/options.h"

namespace kvgate::storage {

// Whether a device may be used. Thread-safe. Three failures within 60 s and it is only read from;
// ten without a success between them take it offline. Every 30 s a probe is let through: a write
// that succeeds ends both, a read what kept reads away.
class DeviceHealth {
 public:
  enum class Use : uint8_t { kRead, kWrite };
  // False: answer UNAVAILABLE without touching the disk. True may be a probe: ask only to use it.
  bool Allows(Use use, absl::Time now);
  enum class Change : uint8_t { kNone, kFailed, kReadOnly, kOffline, kBack };
  // What a request ended with, and what that changes. Codes that say nothing about the device
  // (deadline, cancel) are ignored; a full one fails requests, but stays online.
  Change Report(Use use, const absl::Status& status, absl::Time now);
  bool offline() const { return state_.load(std::memory_order_relaxed) == State::kOffline; }
  bool read_only() const { return state_.load(std::memory_order_relaxed) == State::kReadOnly; }

 private:
  enum class State : uint8_t { kWell, kReadOnly, kOffline };
  static constexpr uint32_t kReadOnlyFailures = 3, kOfflineFailures = 10;
  static constexpr absl::Duration kWithin = absl::Seconds(60), kProbeEvery = absl::Seconds(30);

  Change Failed(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Change Succeeded(Use use) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Written under mu_; read without it, so that a device that is well costs no lock.
  std::atomic<State> state_{State::kWell};
  std::atomic<uint32_t> in_a_row_{0};  // failures without a success between them
  absl::Mutex mu_;
  std::array<absl::Time, kReadOnlyFailures> last_failures_ ABSL_GUARDED_BY(mu_){
      absl::InfinitePast(), absl::InfinitePast(), absl::InfinitePast()};
  absl::Time next_probe_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
};

struct LogDevice {
  std::unique_ptr<Disk> disk;
  Uuid uuid{};
  uint32_t ordinal = 0;
  uint32_t segments = 0;
  uint64_t segment_bytes = 0;
  uint64_t made_with_bytes = 0;
  DeviceHealth health;
  ReadLatency latency;

  uint64_t OffsetOf(uint32_t segment, uint64_t page = 0) const {
    return SegmentOffset(segment, segment_bytes) + page * kPageBytes;
  }
  uint32_t segment_pages() const { return SegmentPages(segment_bytes); }
};

struct DeviceSet {
  std::vector<std::unique_ptr<LogDevice>> devices;  // by ordinal
  Uuid set_uuid{};
  uint64_t segment_bytes = 0;
  wire::HashSecret hash_secret{};
  bool formatted = false;  // just now
};

absl::StatusOr<DeviceSet> OpenDeviceSet(const LogOptions& options,
                                        std::vector<std::unique_ptr<Disk>> disks,
                                        const Clock& clock);

// Random bytes that nobody can guess.
void FillRandom(std::span<uint8_t> out);

}  // namespace kvgate::storage
