// SPDX-License-Identifier: Apache-2.0
//
// LogWriter: from Append to the disks. Packs small records of one namespace into batches, gives
// each batch a place in an open segment, submits it, and tells in order how it ended.
//
// Invariants
//  1. One thread places all batches, so "opened so far" is well defined: a tombstone's birth_seq is
//     the highest sequence at the moment it is placed, and every record of its key that was placed
//     before lies in a segment at or below it; one that comes later is dropped (KillRing).
//  2. At most two open segments a device. The last free segment of a device is for reclaim only,
//  and
//     holds only copies of what still exists until another is free: so a crash can never leave a
//     device without a segment to reclaim into.
//  3. Records wait only in the queue, whose bytes are bounded; a batch waits for a free segment for
//     a second at most, then its records end with RESOURCE_EXHAUSTED.
// Threads: thread-safe; owns the thread "kv-log-write". Stop: the destructor ends what is queued
// with CANCELLED and joins; writes in flight end with their disk, which must be destroyed after
// Stop and before this object (LogImpl does it).
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/log/log_context.h"
#include "storage/log/open_segment.h"

namespace kvgate::storage {

class LogWriter {
 public:
  using SealFn = std::function<void(std::shared_ptr<OpenSegment>)>;

  // `seal` takes segments that are to be sealed, on the writer's thread. `context` outlives it.
  LogWriter(LogContext* context, SealFn seal);
  ~LogWriter();

  void Start();
  void Stop();

  void Append(AppendRequest request);
  // For reclaim: never refused for the queue's size; ends at once when no segment is free.
  void AppendAgain(WriteItem item);
  // Until everything appended before was written and synced, and with `seal` given to the sealer.
  absl::Status Flush(bool seal, absl::Time deadline);
  // As Flush with `seal`, for who does not wait.
  void SealSoon();
  // A segment became free; or, with `give_up`, none will soon: what waits for one ends now.
  void Poke(bool give_up = false);

  uint64_t queued_bytes() const;

 private:
  struct Packer {
    std::vector<WriteItem> items;
    uint64_t payload_bytes = 0;
    absl::Time due;
  };
  using PackerKey = std::pair<uint32_t, bool>;  // namespace, reclaim
  struct Job {                                  // a closed batch
    NamespaceRef ns;
    std::vector<WriteItem> items;
    bool reclaim = false;
    absl::Time give_up;
  };
  struct FlushRequest {
    bool seal = false;
    bool passed = false;
    uint64_t barrier = 0;  // batches up to it must end
  };
  struct Work {
    std::vector<WriteItem> items;
    std::vector<std::shared_ptr<FlushRequest>> flushes;
    bool stop = false, give_up = false;
  };

  absl::Status Check(const AppendRequest& request) const;
  static void Fail(WriteItem& item, const absl::Status& status);

  // The writer's thread.
  void Run();
  Work WaitForWork();
  absl::Time WakeAt() const;
  void Sort(std::vector<WriteItem> items);
  void Pack(WriteItem item, const NamespaceRef& ns);
  void ClosePackers(bool all);
  void Close(PackerKey key);
  void TryJobs();
  bool TryJob(Job& job);
  void DropDead(Job& job);
  std::shared_ptr<OpenSegment> FindPlace(const Job& job, uint32_t pages,
                                         std::span<const BatchRecord> records);
  std::shared_ptr<OpenSegment> FindPlaceOn(uint32_t device, const Job& job, uint32_t pages,
                                           std::span<const BatchRecord> records);
  std::shared_ptr<OpenSegment> OpenOn(uint32_t device, bool reclaim);
  void HandOver(uint32_t device, size_t index);
  void HandOverAll();
  void DropFailed(uint32_t device);
  void Submit(const std::shared_ptr<OpenSegment>& segment, Job job, uint32_t header_pages,
              uint32_t pages);
  void Write(const std::shared_ptr<OpenSegment>& segment,
             const std::shared_ptr<InFlightBatch>& batch, uint32_t first_page, bool packed,
             IoClass io_class);
  void PassFlushes(const std::vector<std::shared_ptr<FlushRequest>>& flushes);

  // A disk's thread.
  void OnWrite(const std::shared_ptr<OpenSegment>& segment,
               const std::shared_ptr<InFlightBatch>& batch, const absl::Status& status);
  void Finish(const std::shared_ptr<OpenSegment>& segment, const OpenSegment::Ended& ended);
  void Settle(const InFlightBatch& batch);

  // Constant after construction.
  LogContext* const context_;
  const SealFn seal_;
  const uint64_t own_batch_bytes_, batch_bytes_max_;
  std::vector<std::unique_ptr<SyncGroup>> syncs_;  // by device; thread-safe

  // Owned by the writer's thread.
  std::map<PackerKey, Packer> packers_;
  std::deque<Job> jobs_;  // waiting for a place; empty but when no segment is free
  std::vector<std::vector<std::shared_ptr<OpenSegment>>> open_;  // by device, oldest first
  std::vector<uint64_t> sync_failures_seen_;
  uint32_t next_device_ = 0;
  std::vector<std::shared_ptr<FlushRequest>> waiting_flushes_;

  mutable absl::Mutex mutex_;
  std::deque<WriteItem> queue_ ABSL_GUARDED_BY(mutex_);
  std::deque<WriteItem> reclaim_queue_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<FlushRequest>> flushes_ ABSL_GUARDED_BY(mutex_);
  std::set<uint64_t> outstanding_ ABSL_GUARDED_BY(mutex_);  // batch_seq of batches in flight
  uint64_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool poked_ ABSL_GUARDED_BY(mutex_) = false;
  bool give_up_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace kvgate::storage
