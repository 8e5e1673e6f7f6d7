// SPDX-License-Identifier: Apache-2.0
#include "storage/store_history.h"

#include <algorithm>

namespace kvgate::storage {

void History::RecordDeparture(const BlockId& id, Departure departure, absl::Time at) {
  absl::MutexLock lock(&mu_);
  if (events_.size() >= departures_max_) {
    since_ = absl::FromUnixNanos(events_.front().at_ns);
    events_.pop_front();
  }
  events_.push_back({id, departure, absl::ToUnixNanos(at)});
}

void History::RecordRequest(const RequestUse& request) {
  absl::MutexLock lock(&mu_);
  if (requests_.size() >= kRequests) requests_.pop_front();
  requests_.push_back(request);
}

void History::Explain(uint32_t ns, const wire::Hash128& hash, Explanation* out) const {
  absl::MutexLock lock(&mu_);
  out->remembered_since = since_;
  for (auto event = events_.rbegin();
       event != events_.rend() && out->events.size() < Explanation::kEventsMax; ++event) {
    if (event->id.ns != ns || event->id.hash != hash) continue;
    out->events.push_back(
        {event->departure, absl::FromUnixNanos(event->at_ns), event->id.group, event->id.shard});
  }
}

std::vector<RequestUse> History::Requests(size_t max) const {
  absl::MutexLock lock(&mu_);
  const size_t count = std::min(max, requests_.size());
  return {requests_.rbegin(), requests_.rbegin() + static_cast<ptrdiff_t>(count)};
}

}  // namespace kvgate::storage
