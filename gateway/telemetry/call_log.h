// SPDX-License-Identifier: Apache-2.0
//
// What the log says of single calls: an id for each, and where the time of a slow one went.
//
// An id is the daemon's incarnation and a number, unique over restarts. Ids, the incarnation and
// the limit are the process's own. Thread-safe; CallTimes is thread-compatible, like its call.
#pragma once

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gateway/logging.h"
#include "gateway/telemetry/telemetry.h"

namespace kvgate::gateway {

void SetIncarnation(uint64_t incarnation);
// Calls that take as long or longer are logged; zero: none.
void SetSlowLimit(absl::Duration limit);

uint64_t NextRequest();
std::string RequestId(uint64_t request);  // "0123456789abcdef-42"

// Ends of the parts of a call. A part that did not come takes no time.
class CallTimes {
 public:
  explicit CallTimes(absl::Time arrival) : arrival_(arrival) {}
  void StoreAsked(absl::Time now);
  void StoreAnswered(absl::Time now);
  void HandedOver(absl::Time now) { handed_over_ = now; }  // the answer, to be sent

  absl::Time arrival() const { return arrival_; }
  // The store answered later, on a thread of its own: it had to read.
  bool store_read() const { return store_read_; }
  absl::Duration before_store(absl::Time end) const;  // queue, decoding, checks
  absl::Duration in_store(absl::Time end) const;      // memory and disk
  absl::Duration answering(absl::Time end) const;     // encoding, copies, queue of copies
  absl::Duration sending(absl::Time end) const;       // until the client took it

 private:
  absl::Time arrival_;
  absl::Time asked_ = absl::InfiniteFuture();
  absl::Time answered_ = absl::InfiniteFuture();
  absl::Time handed_over_ = absl::InfiniteFuture();
  std::thread::id asked_by_;
  bool store_read_ = false;
};

// Of all keys of a Get.
storage::Tier FarthestTier(const std::vector<storage::GetResult>& results);

struct EndedCall {
  Door door = Door::kGrpc;
  Rpc rpc = Rpc::kGet;
  uint64_t request = 0;
  absl::StatusCode code = absl::StatusCode::kOk;
  CallTimes times{absl::InfiniteFuture()};
  absl::Time end;
};

bool IsSlow(const EndedCall& call);
LogFields SlowFields(const EndedCall& call);
// One rate-limited warning when it is slow.
void LogIfSlow(const EndedCall& call);

}  // namespace kvgate::gateway
