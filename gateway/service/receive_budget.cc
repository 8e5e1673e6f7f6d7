// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/receive_budget.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/wire/error_id.h"

namespace kvgate::gateway {

ReceiveBudget::ReceiveBudget(uint64_t bytes_max, std::shared_ptr<ReceiveTotals> totals)
    : bytes_max_(bytes_max), totals_(std::move(totals)) {}

uint64_t ReceiveBudget::Room() const {
  const uint64_t used = promised_ + handled_;
  return used < bytes_max_ ? bytes_max_ - used : 0;
}

void ReceiveBudget::Promised(int64_t change) {
  promised_ += static_cast<uint64_t>(change);
  totals_->promised_bytes.fetch_add(change, std::memory_order_relaxed);
}

void ReceiveBudget::Expire(absl::Time now) {
  while (!ends_.empty() && ends_.front().first <= now) {
    const auto it = tickets_.find(ends_.front().second);
    ends_.pop_front();
    if (it == tickets_.end()) continue;
    Promised(-static_cast<int64_t>(it->second.bytes));
    tickets_.erase(it);
  }
}

uint64_t ReceiveBudget::TakeUpTo(uint64_t bytes, absl::Time now) {
  absl::MutexLock lock(&mu_);
  Expire(now);
  const uint64_t taken = std::min(bytes, Room());
  Promised(static_cast<int64_t>(taken));
  return taken;
}

void ReceiveBudget::CountRefused(uint64_t keys) {
  totals_->keys_refused.fetch_add(keys, std::memory_order_relaxed);
}

void ReceiveBudget::Promise(uint64_t taken, uint64_t ticket, uint64_t wanted, uint64_t producer,
                            absl::Time now) {
  absl::MutexLock lock(&mu_);
  if (ticket == 0) wanted = 0;
  Promised(static_cast<int64_t>(wanted) - static_cast<int64_t>(taken));
  if (ticket == 0) return;
  tickets_[ticket] = {.bytes = wanted, .producer = producer};
  // Threads may come here out of order by a little; the deque's order is what Expire needs.
  const absl::Time end = now + kTicketLife;
  ends_.emplace_back(ends_.empty() ? end : std::max(end, ends_.back().first), ticket);
}

absl::StatusOr<bool> ReceiveBudget::UseTicket(const Message& message) {
  if (message.ticket == 0) return false;
  const auto it = tickets_.find(message.ticket);
  if (it == tickets_.end()) {
    totals_->unknown_tickets.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  Ticket& ticket = it->second;
  if (ticket.producer != 0 && ticket.producer != message.producer) {
    return absl::InvalidArgumentError(
        wire::Tagged(wire::ErrorId::kNotAllowed,
                     absl::StrCat("producer: ", message.producer,
                                  ", the ticket was given to producer ", ticket.producer)));
  }
  const uint64_t came = std::min(ticket.bytes, message.payload_bytes);
  ticket.bytes -= came;
  Promised(-static_cast<int64_t>(came));
  return true;
}

absl::StatusOr<std::shared_ptr<ReceiveBudget::Receipt>> ReceiveBudget::Arrive(
    const Message& message, absl::Time now) {
  absl::MutexLock lock(&mu_);
  Expire(now);
  absl::StatusOr<bool> promised = UseTicket(message);
  if (!promised.ok()) return promised.status();
  if (!*promised && handled_ > 0 && handled_ + message.bytes > bytes_max_) {
    totals_->sets_refused.fetch_add(1, std::memory_order_relaxed);
    return absl::ResourceExhaustedError(wire::Tagged(
        wire::ErrorId::kReceiveBudget,
        absl::StrCat("values: a message of ", message.bytes, " bytes without a ticket, while ",
                     handled_, " are being handled: over the receive budget of ", bytes_max_,
                     "; Offer first")));
  }
  handled_ += message.bytes;
  totals_->handled_bytes.fetch_add(static_cast<int64_t>(message.bytes), std::memory_order_relaxed);
  return std::make_shared<Receipt>(shared_from_this(), message.bytes);
}

void ReceiveBudget::Handled(uint64_t bytes) {
  absl::MutexLock lock(&mu_);
  handled_ -= bytes;
  totals_->handled_bytes.fetch_sub(static_cast<int64_t>(bytes), std::memory_order_relaxed);
}

uint64_t ReceiveBudget::promised_bytes() const {
  absl::MutexLock lock(&mu_);
  return promised_;
}

uint64_t ReceiveBudget::handled_bytes() const {
  absl::MutexLock lock(&mu_);
  return handled_;
}

}  // namespace kvgate::gateway
