// SPDX-License-Identifier: Apache-2.0
//
// PoolDisk: a Disk made of blocking calls on a bounded pool of threads of its own. posix_disk and
// memory_disk are a Medium below it.
//
// Promises: those of Disk. A thread that hangs in the medium holds its request for ever, and only
// that: another thread, which never touches the medium, ends what waits past its deadline.
// `done` runs on one of its threads. Stop: the destructor, which waits for calls in the medium.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/clock.h"
#include "storage/io/disk.h"
#include "storage/io/io_queue.h"

namespace kvgate::storage {

// What blocks. Thread-safe. Ranges were checked and are at most split_bytes long.
class Medium {
 public:
  virtual ~Medium() = default;
  virtual absl::Status Read(uint64_t offset, std::span<std::byte> buffer) = 0;
  virtual absl::Status Write(uint64_t offset, std::span<const std::byte> buffer) = 0;
  virtual absl::Status Sync() = 0;
};

class PoolDisk final : public Disk {
 public:
  struct Facts {
    std::string name;
    uint64_t bytes = 0;
    std::string mode, engine;
    uint32_t threads = 1;
    std::string note;
  };

  // `clock` outlives the disk; null means a RealClock.
  PoolDisk(Facts facts, const DiskOptions& options, std::unique_ptr<Medium> medium,
           const Clock* clock);
  ~PoolDisk() override;

  std::string_view mode() const override { return facts_.mode; }
  std::string_view engine() const override { return facts_.engine; }
  std::string note() const override { return facts_.note; }
  DiskStats stats() const override;

 private:
  void ReadImpl(uint64_t offset, std::span<std::byte> buffer, IoClass io_class, absl::Time deadline,
                IoDone done) override;
  void WriteImpl(uint64_t offset, std::span<const std::byte> buffer, IoClass io_class,
                 IoDone done) override;
  void SyncImpl(IoDone done) override;
  void FailImpl(absl::Status error, IoDone done) override;

  void Push(IoRequest request);
  void Work();
  void Expire();
  void RunEnded(std::deque<IoQueue::Ended> ended) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Transfer(const IoQueue::Piece& piece);
  bool Finished() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Facts facts_;
  const std::unique_ptr<Medium> medium_;
  const RealClock real_clock_;
  const Clock& clock_;

  mutable absl::Mutex mutex_;
  absl::CondVar work_, expiry_;
  IoQueue queue_ ABSL_GUARDED_BY(mutex_);
  uint32_t running_done_ ABSL_GUARDED_BY(mutex_) = 0;

  std::vector<std::jthread> threads_;  // last: they use everything above
};

}  // namespace kvgate::storage
