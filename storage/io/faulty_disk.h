// SPDX-License-Identifier: Apache-2.0
//
// FaultyDisk: any Disk with faults put in from outside, by rule and by seed. Test and harness only.
//
//   auto faulty = std::make_unique<FaultyDisk>(OpenMemoryDisk(medium));
//   faulty->Add({.kind = Fault::kError, .on_writes = true, .first_call = 3, .calls = 1,
//                .error = absl::ResourceExhaustedError("no space")});
//
// A fault looks at requests of its operations that overlap its range and counts them; it strikes
// those from first_call on, `calls` of them, each with its probability. The first fault that
// strikes a request decides. Without faults it passes everything through (the conformance suite
// binds it). Thread-safe. Same seed, faults and order of requests: same strikes. Held requests
// (kDelay, kNeverComplete) stand for requests in the kernel: no deadline ends them; the destructor
// ends them with CANCELLED.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "storage/io/disk.h"

namespace kvgate::storage {

struct Fault {
  enum Kind : uint8_t {
    kError,          // ends with `error`; nothing moved
    kBitFlip,        // one bit differs in what was read, or in what reached the medium; OK
    kShort,          // the first half (whole pages) moves, then `error`
    kDelay,          // waits for Release(), then goes on
    kNeverComplete,  // is never answered
    kMisdirect,      // goes to `shift` bytes further (modulo the disk); OK
    kLost,           // a write or sync that does nothing; OK
  };
  Kind kind = kError;
  bool on_reads = false, on_writes = false, on_syncs = false;
  uint64_t begin = 0, end = std::numeric_limits<uint64_t>::max();  // bytes of the disk
  uint64_t first_call = 1;
  uint64_t calls = std::numeric_limits<uint64_t>::max();
  double probability = 1;
  uint64_t shift = kDiskAlign;
  absl::Status error = absl::UnavailableError("injected: Input/output error (errno 5)");
};

class FaultyDisk final : public Disk {
 public:
  explicit FaultyDisk(std::unique_ptr<Disk> inner, uint64_t seed = 1);
  ~FaultyDisk() override;

  int Add(const Fault& fault);  // a number for struck()
  void Clear();                 // no more faults; held requests stay held
  void Release();               // lets delayed requests go on
  uint64_t struck(int fault) const;
  size_t held() const;

  std::string_view mode() const override { return inner_->mode(); }
  std::string_view engine() const override { return inner_->engine(); }
  std::string note() const override { return inner_->note(); }
  DiskStats stats() const override { return inner_->stats(); }
  void RegisterBuffer(std::span<std::byte> memory) override { inner_->RegisterBuffer(memory); }
  void UnregisterBuffer(std::span<std::byte> memory) override { inner_->UnregisterBuffer(memory); }

 private:
  enum Operation : uint8_t { kRead, kWrite, kSync };
  struct Rule {
    Fault fault;
    uint64_t seen = 0, struck = 0;
    bool active = true;
  };
  struct Held {
    std::function<void()> resume;  // empty: never
    IoDone done;
  };

  void ReadImpl(uint64_t offset, std::span<std::byte> buffer, IoClass io_class, absl::Time deadline,
                IoDone done) override;
  void WriteImpl(uint64_t offset, std::span<const std::byte> buffer, IoClass io_class,
                 IoDone done) override;
  void SyncImpl(IoDone done) override;
  void FailImpl(absl::Status error, IoDone done) override;

  // The fault that strikes, and a random number for its details.
  std::pair<Fault, uint64_t> Judge(Operation operation, uint64_t offset, uint64_t bytes,
                                   bool* struck);
  // What all operations share; false: the fault leaves the request to its operation.
  bool Strike(const Fault& fault, std::function<void()> go, IoDone* done);
  uint64_t Misdirected(const Fault& fault, uint64_t offset, uint64_t bytes) const;

  const std::unique_ptr<Disk> inner_;
  mutable absl::Mutex mutex_;
  std::mt19937_64 random_ ABSL_GUARDED_BY(mutex_);
  std::vector<Rule> rules_ ABSL_GUARDED_BY(mutex_);
  std::vector<Held> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace kvgate::storage
