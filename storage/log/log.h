// SPDX-License-Identifier: Apache-2.0
//
// Log: the durable tier. Append-only segments over several Disks, reclaimed whole in FIFO order.
//
// Promises
//  1. A record is readable at its Place until its segment is reclaimed; a Read that overlaps a
//     reclaim ends with ABORTED, never with bytes of another record.
//  2. Appended records are recovered after kill -9 once their `done` ran (LOGGED), and after a
//  power
//     cut once a DEVICE append or a seal covered them. Recovery needs no RocksDB: checkpoint, then
//     footers, then a walk of batch pages; the highest (version, batch_seq) wins.
//  3. Tombstones outlive everything that they kill: re-emitted at reclaim until every live segment
//     is younger than their birth_seq. A dropped record that superseded another follows that rule.
//  4. Segments are reclaimed in this order: no reads in flight; header with lap+1; fdatasync;
//     checkpoint record deleted; reused. A seal: payload and pages, fdatasync, footer, fdatasync,
//     checkpoint.
// Layout: docs/formats.md, storage/log/format.h.
// Threads: thread-safe. `done` callbacks run on a Disk's thread, on one of the log's, or inside the
// call (refusals), and must not block; LogOwner's methods run on the log's own background thread
// (reclaim), never with a lock of the log held.
// Errors: canonical. A device that fails repeatedly is quarantined: its reads answer UNAVAILABLE.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/wire/identity_digest.h"
#include "proto/wire/key.h"
#include "storage/base/clock.h"
#include "storage/io/disk.h"
#include "storage/options.h"

namespace kvgate::storage {

// Where a record's payload lies. Fits 48 bits: segment over all devices (u32), page (u16).
struct Place {
  uint32_t segment = 0;     // global number: device * segments_a_device_max + local number
  uint16_t first_page = 0;  // of the payload, in 4 KiB pages of the segment; 0 = no place
  friend bool operator==(const Place&, const Place&) = default;
  bool valid() const { return first_page != 0; }
};

// The same for people.
struct PlaceName {
  std::string device;
  uint32_t segment = 0;  // of the device
  uint64_t offset = 0;   // bytes
};

// A tombstone of version v ends every record of its key with a version <= v.
enum class RecordType : uint8_t { kValue = 1, kTombstone = 2 };

// What the index knows of a record: one 64 B entry on disk, without payload.
struct RecordMeta {
  RecordType type = RecordType::kValue;
  bool supersedes = false;    // an older record of the same block may lie in the log
  bool all_siblings = false;  // tombstone of every group and shard of the key
  uint32_t ns = 0;            // NamespaceId
  wire::Hash128 hash, parent;
  uint8_t group = 0, shard = 0;
  uint64_t version = 0;                  // 48 bit
  uint32_t length = 0;                   // payload bytes
  uint32_t crc = 0;                      // block checksum (proto/wire/checksum.h)
  uint64_t birth_seq = 0;                // tombstones
  uint32_t expiry_s = 0, written_s = 0;  // cache clock; expiry 0 = never
  uint32_t depth = 0;                    // saturates at 65,535 on disk
  uint64_t producer = 0;
};

struct NamespaceRecord {
  uint32_t id = 0;
  std::string tenant;
  std::vector<std::string> aliases;  // first given first
  std::string identity;              // canonical bytes; empty when only the digest survived
  wire::IdentityDigest identity_digest{};
};

struct AppendRequest {
  RecordMeta meta;
  std::string key;  // full key; may be empty for hash-only tombstones
  // Payload in memory that stays alive and unchanged until `done`; 4 KiB aligned, with at least
  // AlignUp(length) bytes of which those beyond `length` are zero.
  const std::byte* payload = nullptr;
  bool device_durable = false;  // `done` waits for fdatasync
  std::function<void(absl::StatusOr<Place>)> done;
};

// The store behind the log.
class LogOwner {
 public:
  virtual ~LogOwner() = default;
  // At reclaim: of a segment's value records, which deserve to be written again? Indexes into
  // `records`, best first; the log takes from the front while the reinsertion budget lasts.
  // Records that the index no longer holds at this place must not be named. Ones in `must` (pinned)
  // come first and outside the budget.
  struct Verdict {
    std::vector<uint32_t> must, want;
  };
  virtual Verdict JudgeReclaim(uint32_t segment, std::span<const RecordMeta> records,
                               std::span<const Place> places) = 0;
  // A reinserted record is at `to` now: compare-and-set on (version, from).
  virtual void Moved(const RecordMeta& record, Place from, Place to) = 0;
  // These places end now: unindex every record that is still held there (memory copies may stay).
  virtual void Forget(uint32_t segment, std::span<const RecordMeta> records,
                      std::span<const Place> places) = 0;
};

// Recovery hands over every live record and tombstone, segment by segment, mostly in the order in
// which the segments were opened. The receiver merges by version; of two records of one block and
// version, copies of each other, it keeps the one that came later.
struct RecoveredRecord {
  RecordMeta meta;
  Place place;
};
using RecoverSink = std::function<void(std::span<const RecoveredRecord>)>;

struct LogFacts {
  std::string mode, engine;  // of the disks; the lesser one when they differ
  uint64_t segment_bytes = 0, capacity_bytes = 0, value_bytes_max = 0;
  uint64_t made_with_bytes = 0;  // of all devices, as formatted
  uint32_t devices = 0, segments = 0;
  wire::HashSecret hash_secret{};
  uint64_t version_max = 0;       // highest version given so far
  uint32_t cache_seconds = 0;     // cache clock at the last anchor, carried on
  uint64_t records_expected = 0;  // after Prepare: about so many will be handed over
  // The checkpoint is whole: no namespace is known to the segments alone.
  bool namespaces_known = false;
};

class Log {
 public:
  // Formats empty disks, opens formatted ones; refuses foreign, mixed, incomplete, copied or future
  // sets by name. `checkpoint_dir` empty: no RocksDB. `owner` and `clock` outlive the log.
  static absl::StatusOr<std::unique_ptr<Log>> Open(const LogOptions& options,
                                                   std::vector<std::unique_ptr<Disk>> disks,
                                                   const std::string& checkpoint_dir,
                                                   LogOwner* owner, Clock* clock);
  virtual ~Log() = default;

  // Recovery, in two steps, once. After Prepare the facts and, with facts().namespaces_known, the
  // namespaces are final, and Append (which queues) and Read may be called; what was read from the
  // disks by then is little. Load hands over all records and lets the background threads run;
  // blocking, on a thread of the caller's; StopLoading, from another thread, ends it with
  // CANCELLED.
  virtual absl::Status Prepare() = 0;
  virtual absl::Status Load(const RecoverSink& sink) = 0;
  virtual void StopLoading() = 0;
  absl::Status Recover(const RecoverSink& sink) {
    const absl::Status status = Prepare();
    return status.ok() ? Load(sink) : status;
  }

  virtual std::vector<NamespaceRecord> Namespaces() const = 0;
  // Durable in the checkpoint before it returns; batches and footers carry id, tenant and digest.
  virtual absl::Status PutNamespace(const NamespaceRecord& record) = 0;
  virtual uint32_t NextNamespaceId() = 0;  // never used before on these disks

  // Queues a record; values of 1 MiB and more are their own batch and are written straight from
  // `payload`, smaller ones and tombstones are packed. Never blocks. Through `done`:
  //   RESOURCE_EXHAUSTED  write queue full, or no segment became free within a second
  //   ABORTED             a value that a tombstone or an overwrite, appended before, already ended
  //   INVALID_ARGUMENT    value over facts().value_bytes_max, namespace not Put, bad version
  //   UNAVAILABLE, DATA_LOSS, CANCELLED: device errors, the end of the log
  // `done` runs in the order of the log within a segment. birth_seq is filled in by the log.
  virtual void Append(AppendRequest request) = 0;

  // Reads AlignUp(length) payload bytes into `buffer` (4 KiB aligned, that long). Not verified
  // here. RESOURCE_EXHAUSTED: the device's queue is full, or it became too slow for `deadline`.
  virtual void Read(Place place, uint32_t length, std::span<std::byte> buffer, absl::Time deadline,
                    IoDone done) = 0;

  // The full key of the record at `place` (tools and Scan; reads a batch header). Blocking.
  virtual absl::StatusOr<std::string> ReadKey(Place place, const wire::Hash128& hash) = 0;

  // Asks for the oldest segment of the set to be reclaimed although its space is not needed: the
  // owner's index is full. With no segment sealed, the open ones are sealed first, and the owner
  // asks again. Never blocks; asks that come before the work begins are one.
  virtual void ReclaimSoon() = 0;

  // For memory that will be a payload or a read buffer.
  virtual void RegisterBuffer(std::span<std::byte> memory) = 0;

  // Writes out the open batches and syncs; with `seal`, also seals the open segments. Blocking.
  virtual absl::Status Flush(bool seal, absl::Duration limit) = 0;

  virtual LogFacts facts() const = 0;
  // REQUIRES: a place that this log gave.
  virtual PlaceName NameOf(Place place) const = 0;
  virtual double predicted_read_ms(uint64_t bytes) const = 0;  // from measured queue and bandwidth
  virtual double read_bytes_per_s() const = 0;                 // measured, of reads >= 256 KiB
  virtual void VisitCounters(
      const std::function<void(std::string_view name, double value)>& visitor) const = 0;
};

}  // namespace kvgate::storage
