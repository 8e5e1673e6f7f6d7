// SPDX-License-Identifier: Apache-2.0
#include "storage/io/uring_disk.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "storage/base/thread_name.h"
#include "storage/io/io_queue.h"
#include "storage/io/transfer.h"
#include "storage/io/uring_ring.h"

namespace kvgate::storage {
namespace {

constexpr uint64_t kWakeTag = ~0ull - 16;
constexpr size_t kRegisterPieceBytes = 64 << 20;

class UringDisk final : public Disk {
 public:
  UringDisk(const OpenedFile& file, const DiskOptions& options)
      : Disk(file.name, file.bytes), mode_(file.mode), queue_(options) {
    const uint32_t depth = std::max<uint32_t>(options.queue_depth, 1);
    operations_.resize(depth);
    for (uint32_t i = depth; i-- > 0;) free_operations_.push_back(i);
  }

  // Starts the thread; when it returns OK, `file` was taken.
  absl::Status Start(OpenedFile* file) {
    wake_ = UniqueFd(eventfd(0, EFD_CLOEXEC));
    if (!wake_) return StatusFromErrno(errno, "eventfd");
    absl::Status opened;
    absl::Notification ready;
    thread_ = std::jthread([this, &opened, &ready, fd = file->fd.get()] {
      SetThreadName("kv-uring");
      Ring ring;  // belongs to the thread that makes it
      opened = ring.Open(static_cast<uint32_t>(operations_.size()), fd);
      ring_note_ = ring.note();
      const bool good = opened.ok();  // Start's stack may be gone after Notify
      ready.Notify();
      if (good) Run(&ring);
    });
    ready.WaitForNotification();
    if (!opened.ok()) return opened;
    note_ = file->note;
    if (!ring_note_.empty()) absl::StrAppend(&note_, note_.empty() ? "" : "; ", ring_note_);
    fd_ = std::move(file->fd);
    return absl::OkStatus();
  }

  ~UringDisk() override {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
    }
    Wake();
    if (thread_.joinable()) thread_.join();
    if (fd_) GiveUpLock(fd_);
  }

  std::string_view mode() const override { return mode_; }
  std::string_view engine() const override { return "io_uring"; }
  std::string note() const override { return note_; }

  DiskStats stats() const override {
    absl::MutexLock lock(&mutex_);
    DiskStats stats = stats_;
    stats.queued += arrived_.size();
    for (const IoRequest& request : arrived_) {
      ++stats.queued_in[static_cast<size_t>(request.io_class)];
    }
    return stats;
  }

  void RegisterBuffer(std::span<std::byte> memory) override {
    {
      absl::MutexLock lock(&mutex_);
      while (!memory.empty()) {
        const size_t bytes = std::min(memory.size(), kRegisterPieceBytes);
        to_register_.push_back(memory.first(bytes));
        memory = memory.subspan(bytes);
      }
    }
    Wake();
  }

  void UnregisterBuffer(std::span<std::byte> memory) override {
    absl::Notification gone;
    {
      absl::MutexLock lock(&mutex_);
      std::erase_if(to_register_, [&](std::span<std::byte> piece) {
        return piece.data() >= memory.data() && piece.data() < memory.data() + memory.size();
      });
      to_unregister_.push_back({memory, &gone});
    }
    Wake();
    gone.WaitForNotification();
  }

 private:
  struct Operation {
    IoQueue::Piece piece;
    Transfer transfer;
  };
  struct Unregister {
    std::span<std::byte> memory;
    absl::Notification* gone;
  };

  void ReadImpl(uint64_t offset, std::span<std::byte> buffer, IoClass io_class, absl::Time deadline,
                IoDone done) override {
    Arrive({IoKind::kRead, io_class, offset, buffer.data(), buffer.size(), deadline,
            std::move(done), absl::OkStatus()});
  }

  void WriteImpl(uint64_t offset, std::span<const std::byte> buffer, IoClass io_class,
                 IoDone done) override {
    // The queue carries reads and writes alike; a write's data is only read.
    Arrive({IoKind::kWrite, io_class, offset, const_cast<std::byte*>(buffer.data()), buffer.size(),
            absl::InfiniteFuture(), std::move(done), absl::OkStatus()});
  }

  void SyncImpl(IoDone done) override {
    Arrive({IoKind::kSync, IoClass::kFlush, 0, nullptr, 0, absl::InfiniteFuture(), std::move(done),
            absl::OkStatus()});
  }

  void FailImpl(absl::Status error, IoDone done) override {
    Arrive({IoKind::kFail, IoClass::kRead, 0, nullptr, 0, absl::InfiniteFuture(), std::move(done),
            std::move(error)});
  }

  void Arrive(IoRequest request) {
    bool asleep = false;
    {
      absl::MutexLock lock(&mutex_);
      arrived_.push_back(std::move(request));
      asleep = std::exchange(asleep_, false);
    }
    if (asleep) Wake();
  }

  // One write a sleep of the ring's thread at most (but for rare calls), so it never blocks.
  void Wake() {
    const uint64_t one = 1;
    while (write(wake_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
    }
  }

  // ---- the ring's thread ----

  void Run(Ring* ring) {
    while (true) {
      const bool more = TakeArrivals(ring);
      std::deque<IoQueue::Ended> ended = queue_.TakeEnded(clock_.Now());
      if (!ended.empty()) {
        Finish(std::move(ended));
        continue;  // a `done` may have submitted more
      }
      IssuePieces(ring);
      if (queue_.closed() && queue_.idle() && !more) {
        absl::MutexLock lock(&mutex_);
        if (arrived_.empty()) break;
        continue;
      }
      if (!wake_armed_) ring->ReadEvent(wake_.get(), &wake_count_, kWakeTag);
      wake_armed_ = true;
      Wait(ring, more || !FallAsleep());
    }
    Publish();
  }

  // From here on an arrival wakes the thread. False: there are some that it has not seen, so it
  // submits what it has and looks again.
  bool FallAsleep() {
    absl::MutexLock lock(&mutex_);
    PublishLocked();
    asleep_ = arrived_.empty();
    return asleep_;
  }

  // True when there is work that waits for nothing.
  bool TakeArrivals(Ring* ring) {
    std::deque<IoRequest> arrived;
    std::span<std::byte> to_register;
    std::vector<Unregister> to_unregister;
    bool stop = false, more = false;
    {
      absl::MutexLock lock(&mutex_);
      asleep_ = false;
      arrived.swap(arrived_);
      to_unregister.swap(to_unregister_);
      if (!to_register_.empty()) {
        to_register = to_register_.front();
        to_register_.erase(to_register_.begin());
      }
      more = !to_register_.empty();
      stop = stopping_;
    }
    for (IoRequest& request : arrived) queue_.Push(std::move(request));
    if (stop && !queue_.closed()) queue_.Close();
    for (const Unregister& one : to_unregister) {
      ring->RemoveBuffers(one.memory);
      one.gone->Notify();
    }
    if (!to_register.empty() && !ring->AddBuffer(to_register)) ++refused_buffers_;
    return more;
  }

  void IssuePieces(Ring* ring) {
    while (!free_operations_.empty()) {
      const std::optional<IoQueue::Piece> piece = queue_.Take();
      if (!piece) return;
      const uint32_t index = free_operations_.back();
      free_operations_.pop_back();
      operations_[index] = {*piece, Transfer(piece->offset, piece->data, piece->bytes)};
      Issue(ring, index);
    }
  }

  void Issue(Ring* ring, uint32_t index) {
    const Transfer& transfer = operations_[index].transfer;
    switch (operations_[index].piece.kind) {
      case IoKind::kRead:
        return ring->Read(transfer.offset(), transfer.data(), transfer.bytes(), index);
      case IoKind::kWrite:
        return ring->Write(transfer.offset(), transfer.data(), transfer.bytes(), index);
      case IoKind::kSync:
        return ring->Fdatasync(index);
      case IoKind::kFail:
        break;
    }
    KVGATE_CHECK(false) << "a refused request was handed out";
  }

  void Wait(Ring* ring, bool more) {
    const absl::Time next = queue_.NextDeadline();
    const absl::Duration limit = more ? absl::ZeroDuration() : next - clock_.Now();
    std::deque<IoQueue::Ended> ended;
    std::vector<uint32_t> again;
    ring->SubmitAndWait(limit, [&](uint64_t tag, int32_t result) {
      if (tag == kWakeTag) {
        wake_armed_ = false;
        return;
      }
      Complete(static_cast<uint32_t>(tag), result, &ended, &again);
    });
    for (const uint32_t index : again) Issue(ring, index);
    fixed_transfers_ = ring->fixed_transfers();
    Finish(std::move(ended));
  }

  void Complete(uint32_t index, int32_t result, std::deque<IoQueue::Ended>* ended,
                std::vector<uint32_t>* again) {
    Operation& operation = operations_[index];
    const IoKind kind = operation.piece.kind;
    absl::Status status;
    if (kind == IoKind::kSync) {
      if (result == -EINTR || result == -EAGAIN) return again->push_back(index);
      if (result < 0) status = StatusFromErrno(-result, absl::StrCat("cannot fdatasync ", name()));
    } else {
      const Transfer::Next next = operation.transfer.Advance(result);
      if (next == Transfer::Next::kAgain) return again->push_back(index);
      if (next == Transfer::Next::kFailed) {
        status = operation.transfer.Error(kind == IoKind::kRead ? "read" : "write", name());
      }
    }
    free_operations_.push_back(index);
    if (std::optional<IoQueue::Ended> one = queue_.EndPiece(operation.piece, std::move(status))) {
      ended->push_back(std::move(*one));
    }
  }

  // Counters are right before a `done` can look at them.
  void Finish(std::deque<IoQueue::Ended> ended) {
    if (ended.empty()) return;
    Publish();
    for (IoQueue::Ended& one : ended) one.done(std::move(one.status));
  }

  void Publish() {
    absl::MutexLock lock(&mutex_);
    PublishLocked();
  }

  void PublishLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    stats_ = queue_.stats();
    stats_.fixed_transfers = fixed_transfers_;
    stats_.refused_buffers = refused_buffers_;
  }

  const std::string mode_;
  const RealClock clock_;
  std::string note_, ring_note_;  // written before Start returns
  UniqueFd fd_, wake_;

  mutable absl::Mutex mutex_;
  // Not a vector: 1,024 reads that arrive at once would make it 64 KiB on the Get path.
  std::deque<IoRequest> arrived_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::span<std::byte>> to_register_ ABSL_GUARDED_BY(mutex_);
  std::vector<Unregister> to_unregister_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool asleep_ ABSL_GUARDED_BY(mutex_) = false;  // the ring's thread, until somebody wakes it
  DiskStats stats_ ABSL_GUARDED_BY(mutex_);

  // The ring's thread alone, once it runs.
  IoQueue queue_;
  std::vector<Operation> operations_;
  std::vector<uint32_t> free_operations_;
  bool wake_armed_ = false;
  uint64_t wake_count_ = 0;  // the kernel writes it while armed
  uint64_t fixed_transfers_ = 0, refused_buffers_ = 0;

  std::jthread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Disk>> MakeUringDisk(OpenedFile* file, const DiskOptions& options) {
  auto disk = std::make_unique<UringDisk>(*file, options);
  if (absl::Status started = disk->Start(file); !started.ok()) return started;
  return std::unique_ptr<Disk>(std::move(disk));
}

}  // namespace kvgate::storage
