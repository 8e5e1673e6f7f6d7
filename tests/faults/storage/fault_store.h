// SPDX-License-Identifier: Apache-2.0
//
// FaultStore: a store on simulated devices, and the model of what it may answer. Test-only.
//
// Values name their key and revision all over, so that a wrong byte, a foreign value and an old
// revision all show. The model holds for each key what was sent and how firmly it was
// acknowledged; a key's writes come one after the other. It may answer a miss, or a revision that
//  - was sent;
//  - is not below one that was acknowledged, by a Set or a Delete, in this life;
//  - after a kill not below one acknowledged as LOGGED, after a power cut as DEVICE;
// and must answer an acknowledged value when the log is so roomy that nothing is reclaimed.
// Threads: owned by the test's thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "storage/base/manual_clock.h"
#include "storage/io/faulty_disk.h"
#include "storage/io/memory_disk.h"
#include "storage/store.h"
#include "storage/store_test_util.h"

namespace kvgate::faults {

using CrashKind = storage::MemoryMedium::CrashKind;

inline storage::StoreOptions SmallStore() {
  storage::StoreOptions options = storage::SmallOptions(4 << 20);
  options.log.flush_delay_ms = 0;  // one writer: nothing to wait for
  return options;
}

struct FaultStoreOptions {
  uint32_t devices = 1;
  uint64_t device_bytes = 8 << 20;
  std::string checkpoint_at;  // a directory; empty: no RocksDB
  bool roomy = false;         // no reclaim: what was acknowledged must be found
  storage::StoreOptions store = SmallStore();
};

class FaultStore {
 public:
  explicit FaultStore(FaultStoreOptions options);
  ~FaultStore();

  // Opens and waits until everything was loaded. False: it could not, which is a failure told.
  bool Open();
  // The status of an open that a test expects to be refused.
  absl::Status TryOpen();
  void Close();
  // All devices at once, then the process; what was promised shrinks to what this crash leaves.
  void Crash(CrashKind kind, uint64_t seed);

  // What was acknowledged is learnt. The durability granted; kDefault: not acknowledged.
  storage::Durability Put(const std::string& key, size_t bytes, storage::Durability durability,
                          storage::SetMode mode = storage::SetMode::kOverwrite, uint32_t ttl_s = 0);
  bool Delete(const std::string& key, storage::Durability durability);
  // Reads and judges: the revision found, 0 = none. A wrong answer is a failure told with `when`.
  uint64_t Check(const std::string& key, const std::string& when);
  // All keys ever used; gives how many were found.
  uint64_t CheckAll(const std::string& when);
  // A random write or delete among `keys` keys.
  void RandomWrite(std::mt19937_64& random, uint32_t keys, size_t bytes_max);

  // After damage nothing acknowledged must still be there, but nothing older may be either.
  void ForgiveLosses();
  // From here on only the bytes are judged of what was written before.
  void ForgiveFloors();
  // Errors of the device may be answered; otherwise only hits and misses.
  void AllowErrors(bool allowed) { errors_allowed_ = allowed; }

  bool crashed() const;
  bool is_open() const { return store_ != nullptr; }
  double counter(std::string_view name) const { return storage::CounterOf(*store_, name); }
  storage::Store& store() { return *store_; }
  storage::NamespaceId ns() const { return ns_; }
  storage::ManualClock& clock() { return clock_; }
  storage::FaultyDisk& disk(size_t device = 0) { return *disks_[device]; }
  storage::MemoryMedium& medium(size_t device = 0) { return *media_[device]; }
  std::vector<std::shared_ptr<storage::MemoryMedium>>& media() { return media_; }
  FaultStoreOptions& options() { return options_; }
  uint64_t wrong() const { return wrong_; }

 private:
  struct Fate {
    uint64_t sent = 0;                                       // the newest revision begun
    uint64_t floor = 0, logged_floor = 0, device_floor = 0;  // nothing below may be answered
    uint64_t value = 0, logged_value = 0, device_value = 0;  // must be answered; 0 = none
    std::map<uint64_t, size_t> bytes;                        // of each revision
  };
  std::string TextOf(const std::string& key, uint64_t revision, size_t bytes) const;

  FaultStoreOptions options_;
  storage::ManualClock clock_;
  std::vector<std::shared_ptr<storage::MemoryMedium>> media_;
  std::vector<storage::FaultyDisk*> disks_;  // the store's
  std::unique_ptr<storage::Store> store_;
  storage::NamespaceId ns_ = 0;
  std::map<std::string, Fate> fates_;
  bool damaged_ = false;
  bool errors_allowed_ = false;
  uint64_t wrong_ = 0;
};

// A directory of this test's own, empty.
std::string FaultDirectory(const std::string& name);

}  // namespace kvgate::faults
