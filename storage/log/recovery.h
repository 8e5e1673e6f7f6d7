// SPDX-License-Identifier: Apache-2.0
//
// Recovery: what every segment holds, found again after any end of the process or the machine.
//
// For each segment, in this order: its header names the lap; a checkpoint record of that lap is
// taken as it is; else a footer of that lap; else the batches are walked, each payload is read and
// checked (a batch can be on the disk before its payload is), and the segment is sealed at its last
// good batch, never to be appended to. A damaged header leaves the footer as the only witness,
// since a reclaim erases it together with writing the next lap.
//
// Prepare reads of each segment only the header and the first batch's, and as a whole the youngest
// of each device, in which whatever was logged last must lie: after it the highest version and the
// clock are known, and new records may be accepted. Load reads the others, oldest first, and hands
// over one segment at a time, the youngest last, since only then it is known which of them stay.
//
// Blocking; each step is called once, by one thread at a time. Memory: the records of at most
// kYoungest segments a device, and of one more. Errors: of devices; FAILED_PRECONDITION for later
// formats; CANCELLED when `stop` is raised. Damage is counted, never returned.
#pragma once

#include <atomic>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "storage/base/aligned_buffer.h"
#include "storage/log/log_context.h"

namespace kvgate::storage {

class Recovery {
 public:
  explicit Recovery(LogContext* context) : context_(context) {}

  // Fills the context's marks, and its namespaces from the checkpoint.
  absl::Status Prepare();
  // Fills the context's table and namespaces, and hands all records to the sink.
  absl::Status Load(const RecoverSink& sink, const std::atomic<bool>& stop);
  // Cache clock at this moment, by the last anchor and the boot or wall clock.
  uint32_t cache_seconds() const { return cache_seconds_; }
  // As many a segment as the ones that Prepare read hold.
  uint64_t records_expected() const;
  // Values with an expiry that were not handed over, since no clock says how old they are.
  std::vector<RecordMeta> take_ttl_dropped() { return std::move(ttl_dropped_); }

 private:
  struct Header {
    bool intact = false;
    uint64_t lap = 0;
    uint64_t sequence = 0;  // by its first batch; 0: none of this lap was found
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
  absl::Status ReadHeader(SegmentId id, Header* header);
  absl::Status LoadNamespaces();
  // The segment's image in the checkpoint; nothing: none, or the checkpoint cannot be read.
  absl::StatusOr<std::optional<std::string>> FromCheckpoint(SegmentId id);
  absl::Status RecoverYoungest();
  absl::Status RecoverOthers(const std::atomic<bool>& stop);
  absl::Status RecoverSegment(SegmentId id);
  // True when the checkpoint, or else the footer, explained the segment.
  absl::StatusOr<bool> FromFooter(SegmentId id, const Header& header);
  absl::Status FromWalk(SegmentId id, const Header& header);
  absl::Status WalkBatch(SegmentId id, const Batch& batch, FooterBuilder* builder,
                         std::vector<RecoveredRecord>* found, AlignedBuffer* buffer);
  void Seal(const Walked& walked);
  absl::Status EmptyCheckpoint(const absl::Status& why);
  absl::Status RestoreToCheckpoint(SegmentId id, const Footer& footer);
  // A device without any free segment: a crash met a reclaim that had taken the last one. What it
  // wrote there are copies of records that still exist; such a segment is freed again.
  absl::Status FreeCopies();
  absl::Status FreeCopiesOn(uint32_t device);
  absl::StatusOr<bool> OnlyCopies(size_t segment);
  absl::Status StartLap(SegmentId id, uint64_t lap);
  absl::Status RestartLost();
  absl::Status RestoreNamespaces();
  SetMarks RecoveredMarks() const;
  // Takes over a footer: table, namespaces, marks; the records wait until the clock is known.
  absl::Status Accept(SegmentId id, const Footer& footer);
  void Learn(const SetMarks& marks);
  absl::Status LearnNamespace(const NamespaceRef& ref);
  // One line each, for people, of what is not as a clean stop leaves it.
  void TellDamage() const;
  void TellCheckpoint(absl::Duration took) const;
  void SetClock();
  void HandOver(Found* segment);

  LogContext* const context_;
  const RecoverSink* sink_ = nullptr;
  absl::Time began_;
  std::vector<std::vector<Header>> headers_;
  std::set<uint32_t> recovered_;  // global numbers of segments that Prepare read
  uint64_t restored_segments_ = 0, restored_blocks_ = 0;  // to the checkpoint, from footers
  uint64_t lap_max_ = 0, batch_seq_max_ = 0;
  Anchor anchor_;
  std::vector<Walked> walked_;
  std::vector<Found> found_;     // not handed over yet
  std::vector<SegmentId> lost_;  // neither header nor footer
  std::vector<RecordMeta> ttl_dropped_;
  uint64_t corrupt_headers_ = 0, torn_records_ = 0;
  bool clock_lost_ = false;
  uint32_t cache_seconds_ = 0;
};

}  // namespace kvgate::storage
