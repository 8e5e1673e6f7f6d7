// SPDX-License-Identifier: Apache-2.0
#include "storage/io/io_queue.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/check.h"

namespace kvgate::storage {
namespace {

constexpr std::array<double, kIoClasses> kWeights = {1000, 300, 100, 50};
// What an operation costs besides its bytes, so that small requests are not free.
constexpr double kBytesPerOperation = 16 * 1024;

}  // namespace

struct IoEntry {
  IoRequest request;
  uint64_t taken_bytes = 0;  // handed out in pieces
  uint32_t pieces = 0;       // handed out, not ended
  bool started = false;
  std::optional<std::multimap<absl::Time, IoEntry*>::iterator> deadline;
  std::list<IoEntry>::iterator self;
  std::list<IoEntry>* list = nullptr;
};

IoQueue::IoQueue(const DiskOptions& options)
    : split_bytes_(std::max(options.split_bytes / kDiskAlign * kDiskAlign, kDiskAlign)),
      in_flight_bytes_max_(options.in_flight_bytes_max),
      in_flight_max_(std::max<uint32_t>(options.queue_depth, 1)),
      queued_max_(options.queued_max) {}

IoQueue::~IoQueue() { KVGATE_CHECK(idle()) << "a Disk ended with requests unanswered"; }

void IoQueue::Push(IoRequest request) {
  if (request.kind == IoKind::kFail || closed_ || entries_ - flying_.size() >= queued_max_) {
    if (request.kind != IoKind::kFail) {
      request.status = closed_
                           ? absl::CancelledError("the disk is being closed")
                           : absl::ResourceExhaustedError(absl::StrCat(
                                 "the disk's queue is at its limit of ", queued_max_, " requests"));
    }
    ++stats_.errors;
    ended_.push_back({std::move(request.done), std::move(request.status)});
    return;
  }
  Line& line = lines_[static_cast<size_t>(request.io_class)];
  // A class that was idle has no claim on the time that it did not use.
  if (line.waiting.empty()) line.time = std::max(line.time, time_);
  IoEntry& entry = line.waiting.emplace_back();
  entry.request = std::move(request);
  entry.self = std::prev(line.waiting.end());
  entry.list = &line.waiting;
  if (entry.request.deadline != absl::InfiniteFuture()) {
    entry.deadline = deadlines_.emplace(entry.request.deadline, &entry);
  }
  ++entries_;
}

IoQueue::Line* IoQueue::NextLine() {
  Line* best = nullptr;
  for (Line& line : lines_) {
    if (!line.waiting.empty() && (best == nullptr || line.time < best->time)) best = &line;
  }
  return best;
}

std::optional<IoQueue::Piece> IoQueue::Take() {
  Line* line = NextLine();
  if (line == nullptr || in_flight_ >= in_flight_max_) return std::nullopt;
  IoEntry& entry = line->waiting.front();
  const IoRequest& request = entry.request;
  const uint64_t bytes = std::min(split_bytes_, request.bytes - entry.taken_bytes);
  if (in_flight_ > 0 && in_flight_bytes_ + bytes > in_flight_bytes_max_) return std::nullopt;

  time_ = line->time;
  line->time += (static_cast<double>(bytes) + kBytesPerOperation) /
                kWeights[static_cast<size_t>(request.io_class)];
  Piece piece{&entry, request.kind, request.offset + entry.taken_bytes,
              request.data == nullptr ? nullptr : request.data + entry.taken_bytes, bytes};
  entry.taken_bytes += bytes;
  ++entry.pieces;
  entry.started = true;
  if (entry.deadline) {
    deadlines_.erase(*entry.deadline);
    entry.deadline.reset();
  }
  if (entry.taken_bytes == request.bytes) StopTaking(&entry);
  ++in_flight_;
  in_flight_bytes_ += bytes;
  return piece;
}

std::optional<IoQueue::Ended> IoQueue::EndPiece(const Piece& piece, absl::Status status) {
  IoEntry& entry = *piece.request;
  --in_flight_;
  in_flight_bytes_ -= piece.bytes;
  --entry.pieces;
  if (!status.ok() && entry.request.status.ok()) entry.request.status = std::move(status);
  if (!entry.request.status.ok() && entry.list != &flying_) StopTaking(&entry);
  if (entry.pieces > 0 || entry.list != &flying_) return std::nullopt;
  return Remove(&entry, entry.request.status);
}

void IoQueue::StopTaking(IoEntry* entry) {
  flying_.splice(flying_.end(), *entry->list, entry->self);
  entry->list = &flying_;
}

IoQueue::Ended IoQueue::Remove(IoEntry* entry, absl::Status status) {
  if (entry->deadline) deadlines_.erase(*entry->deadline);
  Count(entry->request.kind, entry->request.bytes, status);
  Ended ended{std::move(entry->request.done), std::move(status)};
  entry->list->erase(entry->self);
  --entries_;
  return ended;
}

std::deque<IoQueue::Ended> IoQueue::TakeEnded(absl::Time now) {
  std::deque<Ended> ended = std::exchange(ended_, {});
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    IoEntry* entry = deadlines_.begin()->second;
    ended.push_back(Remove(
        entry, absl::DeadlineExceededError("dropped from the disk's queue at its deadline")));
  }
  return ended;
}

absl::Time IoQueue::NextDeadline() const {
  if (!ended_.empty()) return absl::InfinitePast();
  return deadlines_.empty() ? absl::InfiniteFuture() : deadlines_.begin()->first;
}

void IoQueue::Close() {
  closed_ = true;
  const absl::Status cancelled = absl::CancelledError("the disk is being closed");
  for (Line& line : lines_) {
    for (auto it = line.waiting.begin(); it != line.waiting.end();) {
      IoEntry& entry = *it++;
      if (entry.pieces > 0) {
        // Ends with its last piece.
        if (entry.request.status.ok()) entry.request.status = cancelled;
        StopTaking(&entry);
      } else {
        ended_.push_back(Remove(&entry, cancelled));
      }
    }
  }
}

void IoQueue::Count(IoKind kind, uint64_t bytes, const absl::Status& status) {
  if (absl::IsDeadlineExceeded(status)) {
    ++stats_.deadline_drops;
  } else if (!status.ok()) {
    if (!absl::IsCancelled(status)) ++stats_.errors;
  } else if (kind == IoKind::kRead) {
    ++stats_.reads;
    stats_.read_bytes += bytes;
  } else if (kind == IoKind::kWrite) {
    ++stats_.writes;
    stats_.written_bytes += bytes;
  } else {
    ++stats_.syncs;
  }
}

DiskStats IoQueue::stats() const {
  DiskStats stats = stats_;
  stats.in_flight = in_flight_;
  stats.queued = entries_ - flying_.size();
  for (int c = 0; c < kIoClasses; ++c) stats.queued_in[c] = lines_[c].waiting.size();
  return stats;
}

}  // namespace kvgate::storage
