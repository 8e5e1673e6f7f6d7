// SPDX-License-Identifier: Apache-2.0
//
// Session: one client of the local door: its socket, staging memory, queued replies, leases, pins.
//
// Promises: after Close nothing is sent, no lease or pin is held and none is taken; replies leave
// in the order in which they were given; nothing here blocks.
// Threads: thread-safe. Greeted is called once by the epoll thread, before any call is accepted.
// Ownership: shared by the door and the calls that run for it, so staging memory outlives them.
// Limits: reply_queue_max, leases_max, lease_bytes_max, kPinsMax.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "gateway/core/tokens.h"
#include "gateway/local/door_state.h"
#include "gateway/local/protocol.h"
#include "gateway/local/staging_memory.h"
#include "storage/store.h"

namespace kvgate::gateway {

class Session {
 public:
  static constexpr size_t kPinsMax = 4096;

  // Takes over `socket`, which is non-blocking and in the state's epoll set under `id`.
  Session(uint64_t id, int socket, std::shared_ptr<DoorState> state);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  uint64_t id() const { return id_; }
  DoorState& state() const { return *state_; }
  const std::shared_ptr<DoorState>& shared_state() const { return state_; }

  // HELLO.
  void Greeted(std::unique_ptr<StagingMemory> staging, uint64_t producer, uint16_t version,
               Tokens::Shown shown);
  bool greeted() const { return staging_ != nullptr; }
  std::span<std::byte> staging() const {
    return staging_ ? staging_->bytes() : std::span<std::byte>();
  }
  // Of the epoll thread. REQUIRES: greeted().
  StagingMemory& staging_memory() { return *staging_; }
  uint16_t version() const { return version_; }  // of the protocol; 1 before it was chosen
  uint64_t producer() const { return producer_; }
  const Tokens::Shown& shown() const { return shown_; }  // where the door has tokens
  const std::array<uint8_t, 16>& capability() const { return capability_; }

  // Calls in flight; false when there are kInFlightMax.
  bool TryBeginCall();
  void EndCall() { in_flight_.fetch_sub(1, std::memory_order_relaxed); }

  // Sends or queues a message. `fds` are borrowed and stay open as long as the session. A client
  // with too many queued replies is shut down.
  void Send(std::string message, std::vector<int> fds = {});
  void FlushQueue();  // the socket is writable

  // Leases. Charge takes room for one value; Lease turns what was charged into a lease (never 0).
  bool ChargeLease(uint64_t bytes);
  uint64_t Lease(std::vector<storage::BlockRef> blocks, uint64_t charged_bytes, absl::Time now);
  void ReleaseLease(uint64_t lease);
  void ExpireLeases(absl::Time now);
  absl::Time NextExpiry() const;

  // Pins that end with the session.
  void AddPin(storage::NamespaceId ns, uint64_t token);
  void RemovePin(uint64_t token);

  void Close();  // idempotent

 private:
  struct Outgoing {
    std::string message;
    std::vector<int> fds;
  };
  struct LeaseEntry {
    uint64_t id = 0;
    absl::Time expires;
    uint64_t bytes = 0;
    std::vector<storage::BlockRef> blocks;
  };

  enum class SendOutcome { kSent, kWouldBlock, kFailed };
  SendOutcome TrySend(const Outgoing& outgoing) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WatchWritable(bool on) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Uncharge(const LeaseEntry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant, or set once before calls are accepted.
  const uint64_t id_;
  const std::shared_ptr<DoorState> state_;
  std::unique_ptr<StagingMemory> staging_;
  uint64_t producer_ = 0;
  uint16_t version_ = local::kVersionMin;
  Tokens::Shown shown_;
  std::array<uint8_t, 16> capability_{};

  // Self-synchronised.
  std::atomic<uint32_t> in_flight_{0};

  mutable absl::Mutex mu_;
  int socket_ ABSL_GUARDED_BY(mu_);  // -1 once closed
  std::deque<Outgoing> queue_ ABSL_GUARDED_BY(mu_);
  std::deque<LeaseEntry> leases_ ABSL_GUARDED_BY(mu_);  // by expiry
  uint64_t lease_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t next_lease_ ABSL_GUARDED_BY(mu_) = 1;
  std::unordered_map<uint64_t, storage::NamespaceId> pins_ ABSL_GUARDED_BY(mu_);
};

}  // namespace kvgate::gateway
