// SPDX-License-Identifier: Apache-2.0
//
// Reclaimer: keeps free segments on every device by emptying the oldest ones, whole; and empties
// the oldest of all when it is asked to.
//
// One segment, in this order (a crash between any two steps loses nothing that was acknowledged):
//  1. its records are read; the owner says which values deserve to be written again;
//  2. tombstones are appended again while a live segment is not younger than their birth_seq; those
//     values are read, verified with the key from their batch header, and appended again with their
//     version, written_s and producer; a value that superseded another and is not written again
//     leaves a tombstone for what it superseded;
//  3. all that is synced; then the owner hears Moved and Forget;
//  4. the segment closes to reads; when none is in flight: header of the next lap and erased
//  footer,
//     fdatasync, checkpoint record deleted, free.
// A segment whose tombstones could not be written again stays as it is, for a later try; copies
// that took the last free segment are thrown away then. Threads: owns the thread "kv-log-reclaim",
// on which LogOwner is called. Stop joins; the writer must run until then.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/log/log_context.h"
#include "storage/log/log_writer.h"

namespace kvgate::storage {

class Reclaimer {
 public:
  Reclaimer(LogContext* context, LogWriter* writer) : context_(context), writer_(writer) {}
  ~Reclaimer() { Stop(); }

  void Start();
  void Stop();
  // Log::ReclaimSoon. Any thread.
  void Ask();
  // Free segments that a device of so many segments should have.
  static uint32_t FreeTarget(uint32_t segments) { return segments >= 16 ? 3 : 2; }

 private:
  struct Victim {
    SegmentId id;
    SegmentInfo info;
    uint64_t judged_at = 0;
    uint64_t set_sequence_max = 0;   // when it was sealed
    std::vector<LogRecord> records;  // values and tombstones
    std::vector<uint32_t> values;    // indexes into records
    std::vector<std::string> keys;   // by record, empty unless read
    bool keys_known = false;
  };
  struct Copies;  // records being appended again

  void Run();
  bool NeedsSpace(uint32_t device) const;
  // True when something moved on.
  bool Work(uint32_t device);
  // What Ask asked for.
  bool WorkAsked();
  bool FinishAllClosing(uint32_t device, absl::Status* status);
  void Failed(uint32_t device);
  absl::Status Reclaim(SegmentId id, const SegmentInfo& info);
  absl::StatusOr<Victim> Load(SegmentId id, const SegmentInfo& info);
  void LoadKeys(Victim* victim);
  void CopyValues(Victim* victim, const LogOwner::Verdict& verdict, Copies* copies,
                  std::vector<bool>* copied);
  bool CopyValue(Victim* victim, uint32_t record, Copies* copies);
  void CopyTombstones(const Victim& victim, Copies* copies);
  void EndSuperseding(const Victim& victim, const std::vector<bool>& copied, Copies* copies);
  void AppendTombstone(const RecordMeta& meta, Copies* copies);
  // Steps 2 and 3; `places` of the values.
  absl::Status WriteAgain(Victim* victim, const LogOwner::Verdict& verdict,
                          std::vector<bool>* copied);
  void ThrowAwayCopies();
  absl::Status FinishClosing(SegmentId id);

  LogContext* const context_;
  LogWriter* const writer_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> asked_{false};
  // Owned by the thread.
  std::deque<uint64_t> reinserted_;  // bytes of the last segments, for the budget
  std::thread thread_;
};

}  // namespace kvgate::storage
