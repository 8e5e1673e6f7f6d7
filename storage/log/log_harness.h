// SPDX-License-Identifier: Apache-2.0
//
// LogHarness: a log on simulated devices with a small index above it, and verbs for tests. Tests
// only. Values describe themselves: their bytes follow from key and version, so a wrong byte, a
// wrong key and a stale version all show.
// Owned by the test's thread; the index (LogOwner) is thread-safe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/aligned_buffer.h"
#include "storage/base/clock.h"
#include "storage/base/manual_clock.h"
#include "storage/io/faulty_disk.h"
#include "storage/io/memory_disk.h"
#include "storage/log/log.h"

namespace kvgate::storage {

inline constexpr uint32_t kTestNamespace = 7;

// An index as the store's, in small: highest version wins, tombstones end versions <= their own.
class TestIndex final : public LogOwner {
 public:
  struct Held {
    RecordMeta meta;
    Place place;
  };

  Verdict JudgeReclaim(uint32_t segment, std::span<const RecordMeta> records,
                       std::span<const Place> places) override;
  void Moved(const RecordMeta& record, Place from, Place to) override;
  void Forget(uint32_t segment, std::span<const RecordMeta> records,
              std::span<const Place> places) override;

  void Merge(const RecoveredRecord& record);
  void Clear();
  std::optional<Held> Find(const wire::Hash128& hash, uint8_t group = 0, uint8_t shard = 0) const;
  size_t size() const;
  // Records that reclaim is to write again.
  void Keep(const wire::Hash128& hash, bool must = false);
  uint64_t moved() const;
  // Called at the beginning of each JudgeReclaim, without locks.
  void OnJudge(std::function<void(std::span<const RecordMeta>)> hook);

 private:
  using Id = std::tuple<uint64_t, uint64_t, uint8_t, uint8_t>;
  static Id IdOf(const RecordMeta& meta);

  mutable absl::Mutex mutex_;
  std::map<Id, Held> held_ ABSL_GUARDED_BY(mutex_);
  std::map<Id, uint64_t> ended_ ABSL_GUARDED_BY(mutex_);  // versions up to it are dead
  std::map<std::pair<uint64_t, uint64_t>, uint64_t> ended_all_ ABSL_GUARDED_BY(mutex_);
  std::set<std::pair<uint64_t, uint64_t>> keep_ ABSL_GUARDED_BY(mutex_), must_
      ABSL_GUARDED_BY(mutex_);
  std::function<void(std::span<const RecordMeta>)> on_judge_ ABSL_GUARDED_BY(mutex_);
  uint64_t moved_ ABSL_GUARDED_BY(mutex_) = 0;
};

struct HarnessOptions {
  uint32_t devices = 1;
  uint64_t device_bytes = 8ull << 20;
  LogOptions log = {.segment_bytes = 1 << 20, .flush_delay_ms = 0};
  std::string checkpoint_dir;  // empty: none
};

struct PutOptions {
  bool device = false;  // durable before it ends
  bool supersedes = false;
  uint64_t producer = 0;
  uint32_t expiry_s = 0;
  uint8_t group = 0, shard = 0;
};

class LogHarness {
 public:
  explicit LogHarness(HarnessOptions options = HarnessOptions());
  ~LogHarness();

  // Opens (formats at first) and recovers.
  absl::Status Open();
  void Close();
  // All devices at once, then the end of the process.
  void Crash(MemoryMedium::CrashKind kind, uint64_t seed);

  // Blocking; the record is in the index when they return OK.
  absl::Status Put(const std::string& key, uint64_t version, uint32_t bytes,
                   const PutOptions& options = PutOptions());
  absl::Status Delete(const std::string& key, uint64_t version, bool device = false,
                      bool all_siblings = false);
  // The version held, after its bytes were read and compared; NOT_FOUND: a miss; INTERNAL: wrong
  // bytes, which nothing may cause.
  absl::StatusOr<uint64_t> Get(const std::string& key, uint8_t group = 0, uint8_t shard = 0);
  // Not blocking.
  void PutLater(const std::string& key, uint64_t version, uint32_t bytes, const PutOptions& options,
                std::function<void(absl::Status)> done);
  // Writes records of `filler` keys until the log reclaimed that many segments more.
  absl::Status FillUntilReclaimed(uint64_t segments, uint64_t first_version, uint32_t bytes);

  double counter(std::string_view name) const;
  wire::Hash128 HashOf(const std::string& key) const;
  wire::NsDigest ns_digest() const;

  Log& log() { return *log_; }
  bool is_open() const { return log_ != nullptr; }
  TestIndex& index() { return index_; }
  MemoryMedium& medium(uint32_t device = 0) { return *media_[device]; }
  FaultyDisk& disk(uint32_t device = 0) { return *disks_[device]; }
  ManualClock& clock() { return clock_; }
  HarnessOptions& options() { return options_; }
  std::vector<std::shared_ptr<MemoryMedium>>& media() { return media_; }

 private:
  HarnessOptions options_;
  ManualClock clock_;
  TestIndex index_;
  std::vector<std::shared_ptr<MemoryMedium>> media_;
  std::vector<FaultyDisk*> disks_;  // owned by the log
  std::unique_ptr<Log> log_;
};

// The bytes of a value.
AlignedBuffer ValueOf(std::string_view key, uint64_t version, uint32_t bytes);

// Where tests may put a checkpoint.
std::string TestDirectory(const std::string& name);

}  // namespace kvgate::storage
