// SPDX-License-Identifier: Apache-2.0
#include "storage/store_tickets.h"

#include "storage/base/check.h"
#include "storage/store_random.h"

namespace kvgate::storage {

bool TicketTable::MayHaveTicket(const std::string& tenant) const {
  const auto it = by_tenant_.find(tenant);
  return it == by_tenant_.end() || it->second < kTicketsMax;
}

uint64_t TicketTable::Add(const std::string& tenant,
                          std::vector<std::pair<BlockId, uint64_t>> wanted, absl::Time now) {
  Expire(now);
  if (wanted.empty() || !MayHaveTicket(tenant)) return 0;
  uint64_t number = RandomNonZero64();
  while (tickets_.find(number) != tickets_.end()) number = RandomNonZero64();
  Ticket& ticket = tickets_[number];
  ticket.tenant = tenant;
  ticket.expires = now + kTicketLife;
  for (const auto& [id, bytes] : wanted) {
    if (!pending_.emplace(id, number).second) continue;
    ticket.wanted.emplace(id, bytes);
    promised_bytes_ += bytes;
  }
  ++by_tenant_[tenant];
  expiries_.emplace(ticket.expires, number);
  return number;
}

void TicketTable::Settle(uint64_t number, const BlockId& id) {
  const auto it = tickets_.find(number);
  if (it == tickets_.end()) return;
  const auto key = it->second.wanted.find(id);
  if (key == it->second.wanted.end()) return;
  promised_bytes_ -= key->second;
  it->second.wanted.erase(key);
  pending_.erase(id);
  if (it->second.wanted.empty()) End(number);
}

void TicketTable::End(uint64_t number) {
  const auto it = tickets_.find(number);
  KVGATE_CHECK(it != tickets_.end());
  for (const auto& [id, bytes] : it->second.wanted) {
    promised_bytes_ -= bytes;
    pending_.erase(id);
  }
  const auto owner = by_tenant_.find(it->second.tenant);
  if (--owner->second == 0) by_tenant_.erase(owner);
  expiries_.erase({it->second.expires, number});
  tickets_.erase(it);
}

void TicketTable::Expire(absl::Time now) {
  while (!expiries_.empty() && expiries_.begin()->first <= now) End(expiries_.begin()->second);
}

}  // namespace kvgate::storage
