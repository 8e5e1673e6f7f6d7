// SPDX-License-Identifier: Apache-2.0
//
// LocalDoor: the same-node door of one tenant. Control over a unix SEQPACKET socket, payload
// through memfds (protocol.h). It translates and never decides; what it owns is what clients hold:
// staging memory, leases, pins.
//
// Promises
//  1. No message of a client can harm the daemon or another client: each is validated whole; one
//     that breaks the framing is answered with field, value and limit, and that client is closed.
//     Shared memory that clients can write is read once, bounds-checked, and holds nothing of ours.
//  2. A Get copies nothing here for values >= 64 KiB and allocates nothing >= 64 KiB.
//  3. What a client holds ends with its connection, or for leases after `lease_ms`.
//  4. It never waits for a client: replies are sent without blocking; a client that does not read
//     them is closed once 256 are queued.
//  5. Staging grows with what a client stores, up to its even share of the total: the first client
//     does not take what the second one needs.
// Threads: thread-safe. One epoll thread, `worker_threads` for the copies of Set; callbacks of the
// store answer on the store's threads.
// Ownership: borrows store, namespaces, clock and telemetry, which outlive it.
// Limits: LocalDoorOptions; their sum is staging_bytes_total + clients_max * 1 MiB of staging,
// request_bytes_max of our own memory and clients_max * lease_bytes_max of pool memory kept in
// place.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/store.h"

namespace kvgate::gateway {

class NamespaceTable;
class Telemetry;
class Tokens;

struct LocalDoorOptions {
  std::string socket_path;      // < 108 B
  uint32_t socket_mode = 0666;  // the mode of its directory decides who connects
  std::string tenant = "default";
  const Tokens* tokens = nullptr;  // not null: clients show one of the tenant's; outlives the door
  std::string server_version;      // for Open
  uint32_t clients_max = 64;
  uint32_t worker_threads = 2;
  uint64_t staging_bytes_client = 256ull << 20;  // most that one client gets, however it asks
  uint64_t staging_bytes_total = 32ull << 20;    // over all clients; 1/8 of memory
  uint32_t lease_ms = 5000;
  uint32_t leases_max = 256;                 // a client
  uint64_t lease_bytes_max = 256ull << 20;   // a client
  uint32_t reply_queue_max = 256;            // a client
  uint64_t request_bytes_max = 64ull << 20;  // requests in flight, all clients

  absl::Status Validate() const;
};

class LocalDoor {
 public:
  // Binds the socket (a dead daemon's file is replaced, a live one refuses) and starts serving.
  // `telemetry` may be null.
  static absl::StatusOr<std::unique_ptr<LocalDoor>> Start(const LocalDoorOptions& options,
                                                          storage::Clock* clock,
                                                          storage::Store* store,
                                                          NamespaceTable* namespaces,
                                                          Telemetry* telemetry);
  virtual ~LocalDoor() = default;  // as Stop(0)

  // Refuses new clients and calls (UNAVAILABLE, "draining"), lets running ones end within `limit`,
  // closes all and joins the threads. Idempotent.
  virtual void Stop(absl::Duration limit) = 0;

  // Ends what is past its time by the clock now. The epoll thread does it by itself; tests with a
  // manual clock call it.
  virtual void RunTimers() = 0;

  // The tokens changed: clients whose own is not among them any more are closed, soon.
  virtual void RecheckTokens() = 0;

  virtual void VisitCounters(const storage::CounterVisitor& visitor) const = 0;
};

}  // namespace kvgate::gateway
