// SPDX-License-Identifier: Apache-2.0
//
// Bytes of Set messages that a gRPC door may have to hold: what tickets of Offer promise room for,
// and what has arrived and is being handled. gRPC buffers a message whole before anybody sees it,
// so the place to refuse one is the Offer, before it is sent.
//
// Promises
//  1. What Offers promise and what is being handled together stay under the budget when the
//     promise is made; a key beyond it is refused, and after the first refused key of a
//     full-attention group the later ones that would have to be sent are refused too.
//  2. A Set under a ticket had its room promised and is never refused for room. One without a
//     ticket (or whose ticket ended) is, when what is being handled would go over the budget; one
//     that comes alone is always taken.
//  3. A ticket is its producer's: a Set under it that names another one is refused by name.
// A ticket that this door did not give, or that ended (5 s), counts as none and is counted.
// Threads: thread-safe. Ownership: shared, with what is counted. Limits: as many tickets as the
// store gives (4,096 a tenant), each for 5 s.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace kvgate::gateway {

// The contract's: how long a ticket stands.
inline constexpr absl::Duration kTicketLife = absl::Seconds(5);

// Of all doors; published by telemetry.
struct ReceiveTotals {
  std::atomic<int64_t> promised_bytes{0}, handled_bytes{0};
  std::atomic<uint64_t> keys_refused{0}, sets_refused{0}, unknown_tickets{0};
};

class ReceiveBudget : public std::enable_shared_from_this<ReceiveBudget> {
 public:
  ReceiveBudget(uint64_t bytes_max, std::shared_ptr<ReceiveTotals> totals);

  // --- Offer: take room, ask the store, then say what it gave.
  // Takes `bytes`, or all that is left when that is less; answers how much.
  uint64_t TakeUpTo(uint64_t bytes, absl::Time now);
  // Keys for which there was no room.
  void CountRefused(uint64_t keys);
  // Of `taken` bytes the ticket promises `wanted` (<= taken), the rest is given back.
  void Promise(uint64_t taken, uint64_t ticket, uint64_t wanted, uint64_t producer, absl::Time now);

  // --- Set
  // The bytes of one message, counted until it goes.
  class Receipt {
   public:
    Receipt(std::shared_ptr<ReceiveBudget> budget, uint64_t bytes)
        : budget_(std::move(budget)), bytes_(bytes) {}
    ~Receipt() { budget_->Handled(bytes_); }
    Receipt(const Receipt&) = delete;
    Receipt& operator=(const Receipt&) = delete;

   private:
    const std::shared_ptr<ReceiveBudget> budget_;
    const uint64_t bytes_;
  };
  struct Message {
    uint64_t bytes = 0, payload_bytes = 0, ticket = 0, producer = 0;
  };
  absl::StatusOr<std::shared_ptr<Receipt>> Arrive(const Message& message, absl::Time now);

  uint64_t promised_bytes() const;
  uint64_t handled_bytes() const;

 private:
  struct Ticket {
    uint64_t bytes = 0, producer = 0;
  };
  void Expire(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Promised(int64_t change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  uint64_t Room() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether the message has a ticket of this door.
  absl::StatusOr<bool> UseTicket(const Message& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Handled(uint64_t bytes);

  const uint64_t bytes_max_;
  const std::shared_ptr<ReceiveTotals> totals_;

  mutable absl::Mutex mu_;
  uint64_t promised_ ABSL_GUARDED_BY(mu_) = 0;  // of tickets and of Offers under way
  uint64_t handled_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<uint64_t, Ticket> tickets_ ABSL_GUARDED_BY(mu_);
  std::deque<std::pair<absl::Time, uint64_t>> ends_ ABSL_GUARDED_BY(mu_);  // in order of time
};

}  // namespace kvgate::gateway
