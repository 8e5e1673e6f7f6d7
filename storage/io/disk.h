// SPDX-License-Identifier: Apache-2.0
//
// Disk: the only way in which kvgate touches a storage medium.
//
// A Disk is one device's address space (a preallocated file in a directory, or a raw block device)
// with asynchronous reads and writes. Rationale: one audited set of primitives, so that faults can
// be put in from outside (faulty_disk.h) and power cuts simulated (memory_disk.h), and the same
// suite (disk_conformance.h) binds every implementation: uring_disk, posix_disk, memory_disk.
//
// Promises
//  1. Offsets, lengths and buffer addresses are multiples of kDiskAlign, checked here, once.
//  2. A request ends exactly once: its `done` runs with OK only if all bytes moved. Short transfers
//     are continued; errno becomes a canonical code (StatusFromErrno in file_util.h: EIO is
//     UNAVAILABLE, ENOSPC RESOURCE_EXHAUSTED, …) and stands in the text. A request over
//     queued_max ends with RESOURCE_EXHAUSTED. A refused write left nothing on the medium or a
//     part of itself.
//  3. A request still queued at its deadline is dropped with DEADLINE_EXCEEDED and never touches
//     the buffer. A request already given to the kernel runs to its end: until `done` the buffer
//     belongs to the Disk, whatever the deadline (time-outs above must give the buffer
//     up for quarantine, not reuse it).
//  4. Order is not promised between requests, except that Sync covers every write whose `done` ran
//     before Sync was called.
// Threads: all methods are thread-safe. `done` runs on a thread of the Disk's own (posix: one of
// several, so two may run at once): it must not block and must not call back into a blocking method
// or destroy the Disk; it may submit further requests.
// Stop: the destructor waits for requests in flight; queued ones end with CANCELLED.
// Errors: absl::Status with canonical codes. After a failed Sync nothing is assumed durable.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace kvgate::storage {

inline constexpr uint64_t kDiskAlign = 4096;

// In order of weight; a class is never starved altogether.
enum class IoClass : uint8_t { kRead = 0, kFlush = 1, kReinsert = 2, kScrub = 3 };
inline constexpr int kIoClasses = 4;

using IoDone = std::function<void(absl::Status)>;

struct DiskStats {  // monotone counters but for `queued` and `in_flight`
  uint64_t reads = 0, writes = 0, syncs = 0;
  uint64_t read_bytes = 0, written_bytes = 0;
  uint64_t errors = 0, deadline_drops = 0;
  uint64_t fixed_transfers = 0;  // kernel calls on registered memory (io_uring)
  uint64_t refused_buffers = 0;  // pieces of RegisterBuffer's memory that the kernel refused
  uint64_t queued = 0, in_flight = 0;
  std::array<uint64_t, kIoClasses> queued_in{};  // `queued` by IoClass
};

class Disk {
 public:
  virtual ~Disk() = default;
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  // Fills `buffer` from `offset`. The buffer stays alive and untouched until `done` ran.
  void Read(uint64_t offset, std::span<std::byte> buffer, IoClass io_class, absl::Time deadline,
            IoDone done);
  // Writes `buffer` at `offset`. Not durable before a Sync.
  void Write(uint64_t offset, std::span<const std::byte> buffer, IoClass io_class, IoDone done);
  // fdatasync.
  void Sync(IoDone done);

  // Blocking forms for start-up and tools; never call them on a Disk's thread.
  absl::Status ReadSync(uint64_t offset, std::span<std::byte> buffer);
  absl::Status WriteSync(uint64_t offset, std::span<const std::byte> buffer);
  absl::Status SyncSync();

  uint64_t bytes() const { return bytes_; }
  // "direct" (O_DIRECT), "buffered" or "memory".
  virtual std::string_view mode() const = 0;
  // "io_uring", "posix", "memory".
  virtual std::string_view engine() const = 0;
  const std::string& name() const { return name_; }
  // For people: which fallbacks were taken and why ("buffered: tmpfs has no O_DIRECT; …"). Empty:
  // everything is as asked for.
  virtual std::string note() const { return ""; }
  virtual DiskStats stats() const = 0;

  // Tells the Disk of memory that buffers will often come from (io_uring: fixed buffers). Best
  // effort; buffers elsewhere keep working. UnregisterBuffer before the memory goes away.
  virtual void RegisterBuffer(std::span<std::byte> memory) { (void)memory; }
  virtual void UnregisterBuffer(std::span<std::byte> memory) { (void)memory; }

 protected:
  Disk(std::string name, uint64_t bytes) : name_(std::move(name)), bytes_(bytes) {}
  virtual void ReadImpl(uint64_t offset, std::span<std::byte> buffer, IoClass io_class,
                        absl::Time deadline, IoDone done) = 0;
  virtual void WriteImpl(uint64_t offset, std::span<const std::byte> buffer, IoClass io_class,
                         IoDone done) = 0;
  virtual void SyncImpl(IoDone done) = 0;
  // Ends a request that never starts: runs done(error) on the Disk's thread.
  virtual void FailImpl(absl::Status error, IoDone done) = 0;
  // For a Disk made of another one.
  static void FailOn(Disk& other, absl::Status error, IoDone done) {
    other.FailImpl(std::move(error), std::move(done));
  }

 private:
  const std::string name_;
  const uint64_t bytes_;
};

struct DiskOptions {
  // io_uring when the kernel lets us, else posix; or one of them by force.
  enum class Engine : uint8_t { kAuto, kUring, kPosix };
  Engine engine = Engine::kAuto;
  bool direct = true;         // false, or a file system without O_DIRECT: buffered, and said so
  uint32_t queue_depth = 64;  // requests in flight in the kernel
  uint64_t split_bytes = 1 << 20;  // larger requests go as several
  uint64_t in_flight_bytes_max = 16 << 20;
  uint32_t queued_max = 16384;  // requests that wait; more are refused
  uint32_t posix_threads = 4;
};

// Opens (creating and growing to `bytes`, sparse, if needed) the file `path`, or a block device,
// for the exclusive use of this process: FAILED_PRECONDITION names the file when another one has
// it. Waits up to 0.8 s for that, since a killed process holds its files until its last write
// ended. Errors: RESOURCE_EXHAUSTED (no space), PERMISSION_DENIED, FAILED_PRECONDITION, NOT_FOUND
// (no such directory), INVALID_ARGUMENT.
absl::StatusOr<std::unique_ptr<Disk>> OpenDisk(const std::string& path, uint64_t bytes,
                                               const DiskOptions& options);

}  // namespace kvgate::storage
