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

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/io/disk.h"
#include "storage/log/format.h"
#include "storage/options.h"

namespace kvgate::storage {

// Whether a device may be used. Thread-safe. Ten failures without a success between them take it
// offline; a probe is let through every 30 s.
class DeviceHealth {
 public:
  // False: answer UNAVAILABLE without touching the disk.
  bool Allows(absl::Time now);
  enum class Change : uint8_t { kNone, kFailed, kOffline, kBack };
  // What a request ended with, and what that changes. Codes that say nothing about the device
  // (deadline, cancel) are ignored; a full one fails requests, but stays online.
  Change Report(const absl::Status& status, absl::Time now);
  bool offline() const { return failures_.load(std::memory_order_relaxed) >= kFailuresMax; }

 private:
  static constexpr uint32_t kFailuresMax = 10;
  static constexpr absl::Duration kProbeEvery = absl::Seconds(30);

  std::atomic<uint32_t> failures_{0};
  std::atomic<int64_t> next_probe_ns_{0};
};

struct LogDevice {
  std::unique_ptr<Disk> disk;
  Uuid uuid{};
  uint32_t ordinal = 0;
  uint32_t segments = 0;
  uint64_t segment_bytes = 0;
  uint64_t made_with_bytes = 0;
  DeviceHealth health;

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
