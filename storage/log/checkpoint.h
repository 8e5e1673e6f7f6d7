// SPDX-License-Identifier: Apache-2.0
//
// Checkpoint: a copy in RocksDB of every sealed segment's footer and of the namespaces, so that a
// start need not read the disks' footers. It is never needed for correctness, but for the canonical
// identities of namespaces and their aliases, which stand nowhere else.
//
// Keys: "s" ‖ be32 device ‖ be32 segment -> footer image (format.h); "n" ‖ be32 id -> namespace;
// "m" -> set uuid. One WriteBatch a segment, without sync; namespaces are synced.
// A database that is corrupt or of another set is emptied (counted as rocksdb_rebuilds): the caller
// puts everything again. Reads happen at start only; every read and write is counted.
// Thread-safe; blocking, so never on a Disk's thread. Errors: as RocksDB's codes, UNAVAILABLE for
// I/O errors, FAILED_PRECONDITION when another process has it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/log/format.h"
#include "storage/log/log_counters.h"

namespace kvgate::storage {

class Checkpoint {
 public:
  // `counters` outlives it.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const std::string& directory,
                                                          const Uuid& set_uuid,
                                                          LogCounters* counters);
  ~Checkpoint();

  // Why Open emptied it; empty: it was new or whole.
  const std::string& lost_why() const { return lost_why_; }
  // It was not there when it was opened.
  bool made_anew() const { return made_anew_; }

  // All namespaces that can be decoded.
  absl::Status Namespaces(std::vector<NamespaceRecord>* out) const;
  // The image that was put last; NOT_FOUND: none.
  absl::StatusOr<std::string> Segment(uint32_t device, uint32_t segment) const;

  // Forgets everything, for a database that a read found damaged.
  absl::Status Empty();

  absl::Status PutSegment(uint32_t device, uint32_t segment, std::string_view image);
  absl::Status DeleteSegment(uint32_t device, uint32_t segment);
  absl::Status PutNamespace(const NamespaceRecord& record);

 private:
  struct Impl;
  Checkpoint(const std::string& directory, const Uuid& set_uuid, LogCounters* counters);
  absl::Status Counted(absl::Status status, uint64_t bytes);

  const std::string directory_;
  std::string lost_why_;  // constant once open, as the next
  bool made_anew_ = false;
  const Uuid set_uuid_;
  const std::unique_ptr<Impl> impl_;
  LogCounters* const counters_;
};

}  // namespace kvgate::storage
