// SPDX-License-Identifier: Apache-2.0
//
// LogContext: what the parts of one log share. Each member is constant after recovery or protects
// itself; the context outlives every part.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>

#include "storage/base/clock.h"
#include "storage/log/checkpoint.h"
#include "storage/log/device_set.h"
#include "storage/log/kill_ring.h"
#include "storage/log/log.h"
#include "storage/log/log_counters.h"
#include "storage/log/namespace_table.h"
#include "storage/log/segment_table.h"

namespace kvgate::storage {

struct LogContext {
  LogContext(const LogOptions& log_options, DeviceSet device_set, LogOwner* log_owner,
             Clock* log_clock)
      : options(log_options),
        owner(log_owner),
        clock(log_clock),
        set(std::move(device_set)),
        table(SegmentCounts(set)) {}

  static std::vector<uint32_t> SegmentCounts(const DeviceSet& set) {
    std::vector<uint32_t> counts;
    for (const auto& device : set.devices) counts.push_back(device->segments);
    return counts;
  }

  LogDevice& device(uint32_t ordinal) { return *set.devices[ordinal]; }
  uint64_t value_bytes_max() const {
    return std::min<uint64_t>(set.segment_bytes / 4, wire::kValueBytesMax);
  }
  void RaiseVersion(uint64_t version) {
    uint64_t seen = version_max.load();
    while (seen < version && !version_max.compare_exchange_weak(seen, version)) {
    }
  }
  SetMarks Marks() const {
    Anchor anchor = AnchorOf(*clock);
    anchor.cache_s = std::max(anchor.cache_s, recovered_anchor.cache_s);
    return {.sequence_max = table.sequence_max(),
            .version_max = version_max.load(),
            .namespace_id_max = namespaces.id_max(),
            .anchor = anchor};
  }

  // A request to the device ended so: its health, and what is told of it.
  void Report(LogDevice& device, DeviceHealth::Use use, const absl::Status& status) const;
  void TellCheckpoint(EventLevel level, const std::string& text) const;
  void TellDroppedCopy(Place place, const absl::Status& why) const;
  PlaceName NameOf(Place place) const;

  // Constant.
  const LogOptions options;
  LogOwner* const owner;
  Clock* const clock;
  DeviceSet set;  // what it holds protects itself
  LogCounters counters;
  std::unique_ptr<Checkpoint> checkpoint;  // null: none
  uint64_t incarnation = 0;
  // Set by recovery, constant afterwards.
  Anchor recovered_anchor;
  // Thread-safe.
  SegmentTable table;
  KillRing ring{64 << 10};
  NamespaceTable namespaces;
  std::atomic<uint64_t> version_max{0};
  std::atomic<uint64_t> batch_seq{0};  // last given
};

}  // namespace kvgate::storage
