// SPDX-License-Identifier: Apache-2.0
//
// LogCounters: what the log counts, monotone. Relaxed atomics: thread-safe, cheap, never exact to
// the event.
#pragma once

#include <atomic>
#include <cstdint>

namespace kvgate::storage {

struct LogCounters {
  using Counter = std::atomic<uint64_t>;

  // Appends.
  Counter appended_records{0}, appended_tombstones{0}, append_failures{0}, append_aborted{0};
  // Bytes given to the disks, by what they are; their sum over payload_bytes is the amplification.
  Counter payload_bytes{0};  // values of callers, without padding
  Counter padding_bytes{0};  // up to 4 KiB
  Counter page_bytes{0};     // batch headers
  Counter footer_bytes{0};
  Counter header_bytes{0};      // segment headers
  Counter reinserted_bytes{0};  // values written again at reclaim, without padding
  Counter batches{0}, syncs{0}, seals{0}, seal_failures{0};
  // Reclaim.
  Counter reclaimed_segments{0}, reinserted_records{0}, reemitted_tombstones{0};
  Counter dropped_tombstones{0}, dropped_records{0}, reclaim_failures{0}, reclaims_asked{0};
  // Reads.
  Counter reads{0}, read_bytes{0}, read_errors{0}, read_aborted{0}, reads_refused_slow{0};
  // What was found damaged: `torn` in segments open at a crash, `corrupt` elsewhere.
  Counter torn_batches{0}, torn_records{0}, corrupt_records{0}, corrupt_footers{0};
  Counter corrupt_headers{0}, ttl_dropped{0};
  // The checkpoint.
  Counter rocksdb_reads{0}, rocksdb_writes{0}, rocksdb_bytes_written{0}, rocksdb_errors{0};
  Counter rocksdb_rebuilds{0};
};

}  // namespace kvgate::storage
