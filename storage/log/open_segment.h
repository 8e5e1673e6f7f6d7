// SPDX-License-Identifier: Apache-2.0
//
// OpenSegment: one segment from its first batch to its seal. SyncGroup: one fdatasync for all who
// wait for one.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/aligned_buffer.h"
#include "storage/log/device_set.h"
#include "storage/log/format.h"
#include "storage/log/log.h"
#include "storage/log/log_counters.h"
#include "storage/log/segment_table.h"

namespace kvgate::storage {

// A record on its way to a disk.
struct WriteItem {
  AppendRequest request;
  uint64_t charge = 0;     // bytes of the write queue that it holds
  bool reclaim = false;    // written again by reclaim: keeps birth_seq, may use the last segment
  uint64_t judged_at = 0;  // KillRing position, reclaimed values only
};

// A batch whose writes were submitted.
struct InFlightBatch {
  uint64_t batch_seq = 0;
  uint32_t end_page = 0;
  size_t records_after = 0;  // of the segment, with this batch
  AlignedBuffer pages;       // header, and payloads when they were packed
  std::vector<WriteItem> items;
  std::vector<uint16_t> first_pages;
  int writes_left = 0;  // with `status` and `complete`: guarded by the segment's mutex
  bool complete = false;
  absl::Status status;
};

// Batches end in the order of the log: one that fails takes those after it along, so that a walk
// never has to step over a hole.
class OpenSegment {
 public:
  struct Good {  // what a seal may vouch for
    uint32_t end_page = 1;
    size_t records = 0;
    uint64_t batch_seq = 0;
  };
  struct Ended {
    std::shared_ptr<InFlightBatch> batch;
    absl::Status status;
  };

  OpenSegment(SegmentId segment_id, uint64_t segment_lap, uint64_t segment_sequence)
      : id(segment_id), lap(segment_lap), sequence(segment_sequence) {}

  // Constant.
  const SegmentId id;
  const uint64_t lap, sequence;
  // Owned by the writer's thread, and by the sealer's once it has the segment.
  uint32_t next_page = 1;
  uint64_t last_batch_seq = 0;
  FooterBuilder footer;
  // Took the device's last free segment: for reclaim alone until another one is free, so that a
  // crash meanwhile leaves only copies in it (Recovery::FreeCopies).
  bool for_reclaim = false;

  // Before a batch's writes are submitted.
  void Begin(std::shared_ptr<InFlightBatch> batch);
  // One write of it ended; returns the batches that have ended by that, in order.
  std::vector<Ended> EndWrite(const std::shared_ptr<InFlightBatch>& batch,
                              const absl::Status& status);

  bool failed() const;
  // A sync failed: nothing here may be vouched for any more.
  void MarkLost();
  bool lost() const;
  void WaitUntilIdle() const;
  Good good() const;

 private:
  mutable absl::Mutex mutex_;
  std::deque<std::shared_ptr<InFlightBatch>> in_flight_ ABSL_GUARDED_BY(mutex_);
  Good good_ ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  bool lost_ ABSL_GUARDED_BY(mutex_) = false;
};

// Group commit on one disk: those who join while a sync runs share the next one. Thread-safe.
// Waiters run on the disk's thread. Outlives the disk's requests.
class SyncGroup {
 public:
  using Waiter = std::function<void(const absl::Status&)>;
  SyncGroup(LogDevice* device, LogCounters* counters) : device_(device), counters_(counters) {}

  void Join(Waiter waiter);
  // Failed syncs so far.
  uint64_t failures() const;

 private:
  void Start(std::vector<Waiter> waiters);
  void End(const std::vector<Waiter>& waiters, const absl::Status& status);

  LogDevice* const device_;
  LogCounters* const counters_;
  mutable absl::Mutex mutex_;
  std::vector<Waiter> next_ ABSL_GUARDED_BY(mutex_);
  bool running_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t failures_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace kvgate::storage
