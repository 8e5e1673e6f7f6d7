// SPDX-License-Identifier: Apache-2.0
//
// IoQueue: which request of a Disk goes to the kernel next, shared by all engines.
//
// Requests wait in one line a class. Classes share the device by weight (read 1000, flush 300,
// reinsert 100, scrub 50; stride scheduling), so a lower class is slowed but never starved.
// Requests are handed out in pieces of at most split_bytes; the pieces in flight are bounded by
// count and by bytes (one piece always goes). A request of which no piece was handed out yet can
// expire.
//
// Thread-compatible: the engine's lock, or its one thread, protects it. It never runs `done`: it
// hands back what ended, and the engine runs that without a lock.
// Limits: queued_max requests; Push refuses more.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "storage/io/disk.h"

namespace kvgate::storage {

enum class IoKind : uint8_t { kRead, kWrite, kSync, kFail };

struct IoRequest {
  IoKind kind = IoKind::kRead;
  IoClass io_class = IoClass::kRead;
  uint64_t offset = 0;
  std::byte* data = nullptr;  // of a write: only read from
  uint64_t bytes = 0;
  absl::Time deadline = absl::InfiniteFuture();
  IoDone done;
  absl::Status status;  // of kFail: what it ends with; otherwise the first error of a piece
};

struct IoEntry;

class IoQueue {
 public:
  struct Ended {
    IoDone done;
    absl::Status status;
  };

  // One transfer for the kernel. `request` names it in EndPiece.
  struct Piece {
    IoEntry* request = nullptr;
    IoKind kind = IoKind::kRead;
    uint64_t offset = 0;
    std::byte* data = nullptr;
    uint64_t bytes = 0;
  };

  explicit IoQueue(const DiskOptions& options);
  ~IoQueue();
  IoQueue(const IoQueue&) = delete;
  IoQueue& operator=(const IoQueue&) = delete;

  // Queues it; when the queue is full or closed, TakeEnded gives it back.
  void Push(IoRequest request);

  // The next piece, or nothing when nothing waits or the bounds of what may fly are reached.
  std::optional<Piece> Take();
  // A piece's transfer is over. The request, when this was its last piece.
  std::optional<Ended> EndPiece(const Piece& piece, absl::Status status);

  // What ends without the kernel: expired, refused and cancelled requests.
  std::deque<Ended> TakeEnded(absl::Time now);
  // When TakeEnded has something to do next.
  absl::Time NextDeadline() const;

  // Stop: what was not handed out ends with CANCELLED, now and from now on.
  void Close();
  bool closed() const { return closed_; }
  bool idle() const { return entries_ == 0 && ended_.empty(); }  // nothing waits or flies

  uint64_t in_flight() const { return in_flight_; }
  DiskStats stats() const;

 private:
  struct Line {
    std::list<IoEntry> waiting;
    double time = 0;  // virtual time of stride scheduling
  };
  using Deadlines = std::multimap<absl::Time, IoEntry*>;

  Line* NextLine();
  void Count(IoKind kind, uint64_t bytes, const absl::Status& status);
  Ended Remove(IoEntry* entry, absl::Status status);
  void StopTaking(IoEntry* entry);

  const uint64_t split_bytes_, in_flight_bytes_max_;
  const uint32_t in_flight_max_, queued_max_;
  bool closed_ = false;
  std::array<Line, kIoClasses> lines_;
  double time_ = 0;
  std::list<IoEntry> flying_;  // no piece will be handed out any more
  Deadlines deadlines_;
  std::deque<Ended> ended_;
  uint64_t entries_ = 0, in_flight_ = 0, in_flight_bytes_ = 0;
  DiskStats stats_;
};

}  // namespace kvgate::storage
