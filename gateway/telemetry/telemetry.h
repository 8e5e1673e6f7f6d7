// SPDX-License-Identifier: Apache-2.0
//
// Telemetry: the one room that knows Prometheus. Doors tell it of finished calls; everything else
// publishes counters to a visitor, which is pulled when somebody scrapes.
//
// Promises: labels are bounded (doors × RPCs × codes of these enums); recording never allocates
// after the first call of its kind and never waits for a scrape of other rooms' counters.
// Threads: thread-safe. The HTTP server has two threads of its own; Stop() or the destructor joins
// them. AddSource before Serve; a source must live until Stop.
// Errors: Serve names the address when it cannot listen.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/store.h"

namespace kvgate::gateway {

enum class Door : uint8_t { kGrpc = 0, kLocal = 1, kAdmin = 2 };
inline constexpr int kDoors = 3;
enum class Rpc : uint8_t {
  kOpen = 0,
  kLookup = 1,
  kOffer = 2,
  kGet = 3,
  kSet = 4,
  kTouch = 5,
  kDelete = 6,
  kPin = 7,
  kUnpin = 8,
  kStats = 9,
  kScan = 10,
  kHello = 11,  // local door
  kExplain = 12,
  kRequests = 13,
};
inline constexpr int kRpcs = 14;

const char* DoorName(Door door);
const char* RpcName(Rpc rpc);

// A source publishes names of metric_table.h; those that end in _total are counters, others gauges.
using CounterSource = std::function<void(const storage::CounterVisitor&)>;

class Telemetry {
 public:
  Telemetry();
  ~Telemetry();
  Telemetry(const Telemetry&) = delete;
  Telemetry& operator=(const Telemetry&) = delete;

  void RecordCall(Door door, Rpc rpc, absl::StatusCode code, absl::Duration took, uint64_t bytes_in,
                  uint64_t bytes_out);

  // How long the store let a Get or a staging Lookup wait; `tier`: the farthest that it reached.
  void RecordWait(Rpc rpc, storage::Tier tier, absl::Duration waited);

  // What clients tell about their requests (Touch, Set); published as hints_*.
  void RecordHints(const storage::Hints& hints);

  void AddSource(CounterSource source);

  // Every source's counters and the totals of calls, by name without labels (Admin.Stats).
  std::vector<std::pair<std::string, double>> Snapshot(std::string_view prefix) const;

  // Serves Prometheus text at http://address/metrics; port 0 takes a free one. Answers the port.
  absl::StatusOr<int> Serve(const std::string& host_port);
  void Stop();

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace kvgate::gateway
