// SPDX-License-Identifier: Apache-2.0
//
// MemoryMedium and memory disks: a simulated device for tests that forgets what was not synced.
//
// A MemoryMedium outlives the disks opened on it, as a device outlives a process:
//   auto medium = MemoryMedium::Create(256 << 20);
//   auto disk = OpenMemoryDisk(medium);   … write …
//   medium->Crash(MemoryMedium::kPowerCut, seed);   // the disk answers UNAVAILABLE from now on
//   disk.reset();  disk = OpenMemoryDisk(medium);   // what survived
//
// kKill is kill -9 of the process: every write whose transfer ended stays. kPowerCut keeps what a
// Sync covered; each later write is, by the seed, kept, lost, or torn, in any combination, at
// sectors of 512 or of 4096 B, whichever the seed gives the device. The same seed and history give
// the same bytes. Memory: bytes written are held once, unsynced ones twice; untouched space costs
// nothing. Thread-safe. One disk at a time: opening a second fences the first off like a crash.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/clock.h"
#include "storage/io/disk.h"

namespace kvgate::storage {

class MemoryMedium {
 public:
  enum CrashKind : uint8_t { kKill, kPowerCut };

  // System calls, if it were a file: pieces of at most split_bytes.
  struct Calls {
    uint64_t reads = 0, writes = 0, syncs = 0;
    uint64_t read_bytes = 0, written_bytes = 0;
  };

  // `bytes`: a multiple of kDiskAlign, all zeros at first.
  static std::shared_ptr<MemoryMedium> Create(uint64_t bytes);
  explicit MemoryMedium(uint64_t bytes) : bytes_(bytes) {}

  uint64_t bytes() const { return bytes_; }

  // Now. Disks opened before answer UNAVAILABLE for ever.
  void Crash(CrashKind kind, uint64_t seed);
  // When the `operation`-th write or sync from now (1 = the next) is made: a write leaves a prefix
  // of itself, a sync covers nothing.
  void CrashAt(uint64_t operation, CrashKind kind, uint64_t seed);
  bool crashed() const;  // since the last OpenMemoryDisk

  // Past every disk, for tests that look at or damage bytes. Poke is durable at once.
  void Peek(uint64_t offset, std::span<std::byte> out) const;
  void Poke(uint64_t offset, std::span<const std::byte> bytes);

  Calls calls() const;

 private:
  friend class MemoryMediumSession;
  static constexpr uint64_t kChunkBytes = 64 * 1024;
  struct Pending {
    uint64_t offset;
    std::vector<std::byte> before, after;
  };

  uint64_t Connect();
  absl::Status Read(uint64_t session, uint64_t offset, std::span<std::byte> buffer);
  absl::Status Write(uint64_t session, uint64_t offset, std::span<const std::byte> buffer);
  absl::Status Sync(uint64_t session);

  bool CrashesNow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CrashLocked(CrashKind kind, uint64_t seed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Load(uint64_t offset, std::span<std::byte> out) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Store(uint64_t offset, std::span<const std::byte> bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckSession(uint64_t session) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const uint64_t bytes_;
  mutable absl::Mutex mutex_;
  std::map<uint64_t, std::vector<std::byte>> chunks_ ABSL_GUARDED_BY(mutex_);  // by number
  std::vector<Pending> pending_ ABSL_GUARDED_BY(mutex_);  // unsynced writes, in order
  uint64_t session_ ABSL_GUARDED_BY(mutex_) = 0;          // of the disk that may use it
  bool crashed_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t crash_in_ ABSL_GUARDED_BY(mutex_) = 0;  // operations; 0 = no plan
  CrashKind crash_kind_ ABSL_GUARDED_BY(mutex_) = kKill;
  uint64_t crash_seed_ ABSL_GUARDED_BY(mutex_) = 0;
  Calls calls_ ABSL_GUARDED_BY(mutex_);
};

// mode "memory", engine "memory". `clock` (outlives the disk; null = real time) judges deadlines
// when a request's turn comes.
std::unique_ptr<Disk> OpenMemoryDisk(std::shared_ptr<MemoryMedium> medium,
                                     const std::string& name = "memory",
                                     const DiskOptions& options = DiskOptions(),
                                     const Clock* clock = nullptr);

}  // namespace kvgate::storage
