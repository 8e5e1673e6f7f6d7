// SPDX-License-Identifier: Apache-2.0
//
// SegmentTable: what every segment is at this moment, and the order in which they were opened.
//
//   kFree ── TakeFree ──► kOpen ── BeginSeal ──► kSealing ── EndSeal ──► kSealed
//     ▲                                                                     │ Close
//     └───────────────────────────── Free (lap + 1) ◄──────────────── kClosing
//
// Invariants
//  1. Sequences are given once, ascending over the whole set; a free segment has none.
//  2. Free is called only for a closing segment without reads in flight: a read that began while
//     the segment was open, sealing or sealed holds it.
// Thread-safe. Memory: about 40 B a segment.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/log/format.h"

namespace kvgate::storage {

enum class SegmentState : uint8_t { kFree, kOpen, kSealing, kSealed, kClosing };

// A segment by device and its number there; the global number stands in Place.
struct SegmentId {
  uint32_t device = 0;
  uint32_t local = 0;
  uint32_t global() const { return device * kSegmentsADeviceMax + local; }
  static SegmentId Of(uint32_t global) {
    return {.device = global / kSegmentsADeviceMax, .local = global % kSegmentsADeviceMax};
  }
  friend bool operator==(const SegmentId&, const SegmentId&) = default;
};

struct SegmentInfo {
  SegmentState state = SegmentState::kFree;
  uint64_t lap = 1;
  uint64_t sequence = 0;
  uint32_t records = 0, tombstones = 0;  // once sealed; tombstones are records too
  uint32_t reads_in_flight = 0;
  // Holds nothing but copies that a reclaim has not yet come to rely on.
  bool copies = false;
};

class SegmentTable {
 public:
  explicit SegmentTable(const std::vector<uint32_t>& segments_a_device);

  // Recovery: puts a segment into a state; later calls of the others build on it.
  void Restore(SegmentId id, const SegmentInfo& info);
  // After recovery: the free segments become available, oldest lap first.
  void FinishRestore();

  // Opens a free segment of `device`, leaving at least `keep_free` others; nothing when there are
  // not that many. The info has its lap and new sequence.
  std::optional<std::pair<SegmentId, SegmentInfo>> TakeFree(uint32_t device, uint32_t keep_free);
  void BeginSeal(SegmentId id);
  void EndSeal(SegmentId id, uint32_t records, uint32_t tombstones);
  void Close(SegmentId id);
  // False while reads are in flight.
  bool Idle(SegmentId id) const;
  void Free(SegmentId id, uint64_t lap);

  void SetCopies(SegmentId id, bool copies);
  void ClearCopies();
  std::vector<SegmentId> SealedCopies() const;

  // ABORTED when the segment holds no records (reclaimed, closing); INVALID_ARGUMENT when there is
  // no such segment. Else its lap, and a hold until EndRead.
  absl::StatusOr<uint64_t> BeginRead(uint32_t global);
  // Whether the lap is still the same.
  bool EndRead(uint32_t global, uint64_t lap);

  std::optional<SegmentInfo> Get(SegmentId id) const;
  // The sealed segment of the device that was opened first; one without records before all others
  // (writes failed there, and that must not cost what lies elsewhere).
  std::optional<std::pair<SegmentId, SegmentInfo>> OldestSealed(uint32_t device) const;
  std::vector<SegmentId> Closing(uint32_t device) const;
  uint32_t FreeCount(uint32_t device) const;
  uint32_t CountIn(SegmentState state) const;
  uint64_t Tombstones() const;
  // Lowest sequence of all segments that hold records, but for `except`; UINT64_MAX without any.
  uint64_t MinLiveSequence(SegmentId except) const;
  uint64_t sequence_max() const;
  void RaiseSequence(uint64_t sequence);

  // Changes so far; WaitForChange returns once there were more than `seen`, or at `timeout`.
  uint64_t changes() const;
  void WaitForChange(uint64_t seen, absl::Duration timeout) const;
  void Wake();

 private:
  SegmentInfo& At(SegmentId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  const SegmentInfo& At(SegmentId id) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::vector<std::vector<SegmentInfo>> segments_ ABSL_GUARDED_BY(mutex_);  // by device, local
  std::vector<std::deque<uint32_t>> free_ ABSL_GUARDED_BY(mutex_);          // by device
  uint64_t sequence_max_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace kvgate::storage
