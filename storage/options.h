// SPDX-License-Identifier: Apache-2.0
//
// Options of the store, with units, defaults and the sum of what they allow. Plain data: thread-
// compatible. Validate() names the field, the value and the limit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "storage/event.h"
#include "storage/io/disk.h"

namespace kvgate::storage {

struct MemoryOptions {
  uint64_t bytes_max = 256ull << 20;  // pool extents, staging not included
  uint64_t extent_bytes = 0;          // 0: clamp(bytes_max / 4, 64 MiB, 256 MiB), <= bytes_max
};

struct LogOptions {
  std::vector<std::string> directories;  // segments go to them in turn; empty: no disk tier
  uint64_t bytes_max = 1ull << 30;       // over all directories; a part of it may be unused
  uint64_t segment_bytes =
      0;  // 0: clamp(bytes_max a device / 128, 80 MiB, 256 MiB); fixed at format
  double reinsert_share_max = 0.11;            // of a reclaimed segment, averaged over 16
  uint64_t batch_bytes_max = 4 << 20;          // values below 1 MiB are packed up to this…
  uint32_t flush_delay_ms = 2;                 // …or this long
  uint64_t write_queue_bytes_max = 128 << 20;  // above 1/4 a Set waits, above all of it: VOLATILE
  bool checkpoint = true;  // RocksDB beside the first directory; false in tests only
  EventSink events;        // of the store too; may be empty
};

struct StoreOptions {
  MemoryOptions memory;
  LogOptions log;
  DiskOptions disk;
  uint32_t namespaces_max = 1024;
  uint32_t namespaces_a_tenant_max = 256;
  // Empty ones without an alias that nobody used for so long make room for new ones.
  uint32_t namespace_idle_s = 86'400;
  uint32_t pin_tokens_max = 4096;  // a tenant
  double pinned_share_max = 0.25;  // of memory
  uint64_t index_blocks_max = 16u << 20;
  // Open returns before all segments were read; until then unknown keys answer kNotReady. Only with
  // a whole checkpoint: without one the namespaces are known last.
  bool serve_while_loading = false;

  absl::Status Validate() const;
};

}  // namespace kvgate::storage
