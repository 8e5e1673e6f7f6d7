// SPDX-License-Identifier: Apache-2.0
//
// DoorState: what the parts of one local door share: what it borrows, its counters, its calls.
//
// Thread-safe. Shared by the door, its sessions and running calls, so a callback of the store that
// comes after Stop finds everything in place (the borrowed ones outlive the store's callbacks).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "gateway/core/namespace_table.h"
#include "gateway/local/door.h"
#include "gateway/telemetry/telemetry.h"
#include "storage/base/clock.h"
#include "storage/store.h"

namespace kvgate::gateway {

struct DoorCounters {
  std::atomic<uint64_t> clients{0}, clients_total{0}, clients_refused{0};
  std::atomic<uint64_t> messages_in{0}, messages_out{0}, malformed{0}, overloaded{0};
  std::atomic<uint64_t> reply_queue_overflows{0};
  std::atomic<uint64_t> staging_bytes{0}, request_bytes{0};
  std::atomic<uint64_t> staging_granted_bytes{0}, staging_refused{0}, staging_refused_bytes{0};
  std::atomic<uint64_t> leases{0}, lease_bytes{0}, leases_total{0}, leases_expired{0};
  std::atomic<uint64_t> copied_out_values{0}, copied_out_bytes{0}, leased_values{0};
  std::atomic<uint64_t> committed_values{0}, committed_bytes{0};
};

// Where blocking work and long copies go. Post never blocks; false when stopped.
class WorkQueue {
 public:
  virtual ~WorkQueue() = default;
  virtual bool Post(std::function<void()> work) = 0;
};

struct DoorState {
  DoorState(const LocalDoorOptions& door_options, storage::Clock* door_clock,
            storage::Store* door_store, NamespaceTable* door_namespaces, Telemetry* door_telemetry)
      : options(door_options),
        clock(door_clock),
        store(door_store),
        namespaces(door_namespaces),
        telemetry(door_telemetry) {}

  const LocalDoorOptions options;
  storage::Clock* const clock;
  storage::Store* const store;
  NamespaceTable* const namespaces;
  Telemetry* const telemetry;  // may be null
  int epoll = -1;              // open as long as sessions are
  WorkQueue* work = nullptr;   // set before the first client

  DoorCounters counters;
  std::atomic<bool> draining{false};

  // Calls that were accepted and not yet answered.
  void CallBegan() {
    absl::MutexLock lock(&mu);
    ++calls;
  }
  void CallEnded() {
    absl::MutexLock lock(&mu);
    --calls;
  }
  bool AwaitNoCalls(absl::Duration limit) {
    absl::MutexLock lock(&mu);
    return mu.AwaitWithTimeout(absl::Condition(
                                   +[](int64_t* n) { return *n == 0; }, &calls),
                               limit);
  }

  absl::Mutex mu;
  int64_t calls ABSL_GUARDED_BY(mu) = 0;
};

}  // namespace kvgate::gateway
