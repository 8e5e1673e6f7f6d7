// SPDX-License-Identifier: Apache-2.0
//
// Recovery: what every segment holds, found again after any end of the process or the machine.
//
// For each segment, in this order: its header names the lap; a checkpoint record of that lap is
// taken as it is; else a footer of that lap; else the batches are walked, each payload is read and
// checked (a batch can be on the disk before its payload is), and the segment is sealed at its last
// good batch, never to be appended to. A damaged header leaves the footer as the only witness,
// since a reclaim erases it together with writing the next lap. Blocking; owned by one thread; used
// once. Errors: of devices; FAILED_PRECONDITION for later formats. Damage is counted, never
// returned.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "storage/base/aligned_buffer.h"
#include "storage/log/log_context.h"

namespace kvgate::storage {

class Recovery {
 public:
  Recovery(LogContext* context, const RecoverSink* sink) : context_(context), sink_(*sink) {}

  // Fills the context's table, namespaces and marks, and hands all records to the sink.
  absl::Status Run();
  // Cache clock at this moment, by the last anchor and the boot or wall clock.
  uint32_t cache_seconds() const { return cache_seconds_; }
  // Values with an expiry that were not handed over, since no clock says how old they are.
  std::vector<RecordMeta> take_ttl_dropped() { return std::move(ttl_dropped_); }

 private:
  struct Header {
    bool intact = false;
    uint64_t lap = 0;
  };
  struct Found {  // a segment with records
    SegmentId id;
    uint64_t sequence = 0, lap = 0;
    std::vector<RecoveredRecord> records;
  };
  struct Walked {
    SegmentId id;
    FooterInfo info;
    FooterBuilder builder;
  };

  absl::Status ReadHeaders();
  absl::Status LoadCheckpoint();
  absl::Status RecoverSegment(SegmentId id);
  // True when the checkpoint, or else the footer, explained the segment.
  absl::StatusOr<bool> FromFooter(SegmentId id, const Header& header);
  absl::Status FromWalk(SegmentId id, const Header& header);
  absl::Status WalkBatch(SegmentId id, const Batch& batch, FooterBuilder* builder,
                         std::vector<RecoveredRecord>* found, AlignedBuffer* buffer);
  void SealWalked();
  // A device without any free segment: a crash met a reclaim that had taken the last one. What it
  // wrote there are copies of records that still exist; such a segment is freed again.
  absl::Status FreeCopies();
  absl::Status FreeCopiesOn(uint32_t device);
  bool OnlyCopies(size_t segment) const;
  absl::Status StartLap(SegmentId id, uint64_t lap);
  absl::Status RestartLost();
  absl::Status RestoreCheckpoint();
  SetMarks RecoveredMarks() const;
  // Takes over a footer: table, namespaces, marks; the records wait until the clock is known.
  absl::Status Accept(SegmentId id, const Footer& footer);
  void Learn(const SetMarks& marks);
  absl::Status LearnNamespace(const NamespaceRef& ref);
  // One line each, for people, of what is not as a clean stop leaves it.
  void TellDamage() const;
  void TellCheckpoint(absl::Duration took) const;
  void SetClock();
  void HandOver();

  LogContext* const context_;
  const RecoverSink& sink_;
  std::vector<std::vector<Header>> headers_;
  std::map<uint32_t, std::string> images_;  // by global segment
  uint64_t lap_max_ = 0, batch_seq_max_ = 0;
  Anchor anchor_;
  std::vector<Walked> walked_;
  std::vector<std::pair<SegmentId, Footer>> restore_checkpoint_;
  std::vector<Found> found_;
  std::vector<SegmentId> lost_;  // neither header nor footer
  std::vector<RecordMeta> ttl_dropped_;
  uint64_t corrupt_headers_ = 0, torn_records_ = 0;
  bool clock_lost_ = false;
  uint32_t cache_seconds_ = 0;
};

}  // namespace kvgate::storage
