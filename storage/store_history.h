// SPDX-License-Identifier: Apache-2.0
//
// History: the last departures of blocks and the last requests, so that a miss can be explained.
//
// Two rings of fixed capacity (kDepartures of 40 B, kRequests of 64 B): about 2.6 MiB when full.
// What is pushed out is forgotten; remembered_since says from when on nothing is missing.
// Threads: thread-safe; a lock of its own below the store's. Record* never blocks for long and
// allocates at most one small chunk. Explain walks the whole ring (tens of microseconds).
#pragma once

#include <deque>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/index/block_id.h"
#include "storage/store_report.h"

namespace kvgate::storage {

class History {
 public:
  static constexpr size_t kDepartures = 65536;
  static constexpr size_t kRequests = 1024;

  explicit History(absl::Time start, size_t departures_max = kDepartures)
      : departures_max_(departures_max), since_(start) {}

  void RecordDeparture(const BlockId& id, Departure departure, absl::Time at);
  void RecordRequest(const RequestUse& request);

  // Events of the key in all groups and shards, newest first, and how far back they reach.
  void Explain(uint32_t ns, const wire::Hash128& hash, Explanation* out) const;
  // Newest first.
  std::vector<RequestUse> Requests(size_t max) const;

 private:
  struct Event {
    BlockId id;
    Departure departure;
    int64_t at_ns;
  };

  const size_t departures_max_;
  mutable absl::Mutex mu_;
  std::deque<Event> events_ ABSL_GUARDED_BY(mu_);
  std::deque<RequestUse> requests_ ABSL_GUARDED_BY(mu_);
  absl::Time since_ ABSL_GUARDED_BY(mu_);
};

}  // namespace kvgate::storage
