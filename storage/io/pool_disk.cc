// SPDX-License-Identifier: Apache-2.0
#include "storage/io/pool_disk.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/thread_name.h"

namespace kvgate::storage {

PoolDisk::PoolDisk(Facts facts, const DiskOptions& options, std::unique_ptr<Medium> medium,
                   const Clock* clock)
    : Disk(facts.name, facts.bytes),
      facts_(std::move(facts)),
      medium_(std::move(medium)),
      clock_(clock != nullptr ? *clock : real_clock_),
      queue_(options) {
  const uint32_t threads = std::max<uint32_t>(facts_.threads, 1);
  for (uint32_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this, i] {
      SetThreadName(absl::StrCat("kv-io-", i));
      Work();
    });
  }
  threads_.emplace_back([this] {
    SetThreadName("kv-io-expiry");
    Expire();
  });
}

PoolDisk::~PoolDisk() {
  {
    absl::MutexLock lock(&mutex_);
    queue_.Close();
    work_.SignalAll();
    expiry_.SignalAll();
  }
  threads_.clear();  // joins
}

DiskStats PoolDisk::stats() const {
  absl::MutexLock lock(&mutex_);
  return queue_.stats();
}

void PoolDisk::ReadImpl(uint64_t offset, std::span<std::byte> buffer, IoClass io_class,
                        absl::Time deadline, IoDone done) {
  Push({IoKind::kRead, io_class, offset, buffer.data(), buffer.size(), deadline, std::move(done),
        absl::OkStatus()});
}

void PoolDisk::WriteImpl(uint64_t offset, std::span<const std::byte> buffer, IoClass io_class,
                         IoDone done) {
  // The queue carries reads and writes alike; Transfer only reads from a write's data.
  Push({IoKind::kWrite, io_class, offset, const_cast<std::byte*>(buffer.data()), buffer.size(),
        absl::InfiniteFuture(), std::move(done), absl::OkStatus()});
}

void PoolDisk::SyncImpl(IoDone done) {
  Push({IoKind::kSync, IoClass::kFlush, 0, nullptr, 0, absl::InfiniteFuture(), std::move(done),
        absl::OkStatus()});
}

void PoolDisk::FailImpl(absl::Status error, IoDone done) {
  Push({IoKind::kFail, IoClass::kRead, 0, nullptr, 0, absl::InfiniteFuture(), std::move(done),
        std::move(error)});
}

void PoolDisk::Push(IoRequest request) {
  absl::MutexLock lock(&mutex_);
  queue_.Push(std::move(request));
  work_.Signal();
  expiry_.Signal();
}

// A `done` that still runs may submit more, so the disk is finished only after it.
bool PoolDisk::Finished() const { return queue_.closed() && queue_.idle() && running_done_ == 0; }

void PoolDisk::RunEnded(std::deque<IoQueue::Ended> ended) {
  for (IoQueue::Ended& one : ended) one.done(std::move(one.status));
}

absl::Status PoolDisk::Transfer(const IoQueue::Piece& piece) {
  switch (piece.kind) {
    case IoKind::kRead:
      return medium_->Read(piece.offset, {piece.data, piece.bytes});
    case IoKind::kWrite:
      return medium_->Write(piece.offset, {piece.data, piece.bytes});
    case IoKind::kSync:
      return medium_->Sync();
    case IoKind::kFail:
      break;
  }
  return absl::InternalError("a refused request was handed out");
}

void PoolDisk::Work() {
  mutex_.Lock();
  while (true) {
    std::deque<IoQueue::Ended> ended = queue_.TakeEnded(clock_.Now());
    if (ended.empty()) {
      if (const std::optional<IoQueue::Piece> piece = queue_.Take()) {
        mutex_.Unlock();
        absl::Status status = Transfer(*piece);
        mutex_.Lock();
        if (std::optional<IoQueue::Ended> one = queue_.EndPiece(*piece, std::move(status))) {
          ended.push_back(std::move(*one));
        }
        work_.Signal();  // the end of a piece makes room for another
      } else if (Finished()) {
        break;
      } else {
        work_.Wait(&mutex_);
      }
    }
    if (ended.empty()) continue;
    ++running_done_;
    mutex_.Unlock();
    RunEnded(std::move(ended));
    mutex_.Lock();
    --running_done_;
  }
  work_.SignalAll();
  expiry_.SignalAll();
  mutex_.Unlock();
}

void PoolDisk::Expire() {
  mutex_.Lock();
  while (!Finished()) {
    std::deque<IoQueue::Ended> ended = queue_.TakeEnded(clock_.Now());
    if (ended.empty()) {
      const absl::Duration left = queue_.NextDeadline() - clock_.Now();
      if (left == absl::InfiniteDuration()) {
        expiry_.Wait(&mutex_);
      } else {
        expiry_.WaitWithTimeout(&mutex_, std::max(left, absl::Milliseconds(1)));
      }
      continue;
    }
    ++running_done_;
    mutex_.Unlock();
    RunEnded(std::move(ended));
    mutex_.Lock();
    --running_done_;
    work_.SignalAll();
  }
  mutex_.Unlock();
}

}  // namespace kvgate::storage
