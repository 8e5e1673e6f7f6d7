// SPDX-License-Identifier: Apache-2.0
//
// TicketTable: permissions to send a payload, given by Offer before it is sent.
//
// A ticket covers the keys that were WANTED; until it ends (5 s, or its keys were Set) another
// Offer of those keys answers PENDING. The bytes that tickets promise are bounded. Threads:
// thread-compatible (the store's lock). Limits: 4,096 tickets a tenant, bytes_max promised.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "storage/index/block_id.h"

namespace kvgate::storage {

inline constexpr uint32_t kTicketsMax = 4096;  // a tenant
inline constexpr absl::Duration kTicketLife = absl::Seconds(5);

class TicketTable {
 public:
  explicit TicketTable(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  void Expire(absl::Time now);
  bool IsPending(const BlockId& id) const { return pending_.find(id) != pending_.end(); }
  // Whether another `bytes` may be promised besides what a ticket in the making took.
  bool HasRoom(uint64_t bytes) const { return promised_bytes_ + bytes <= bytes_max_; }
  bool MayHaveTicket(const std::string& tenant) const;

  // 0 when there is nothing to give it for, or the tenant has too many.
  uint64_t Add(const std::string& tenant, std::vector<std::pair<BlockId, uint64_t>> wanted,
               absl::Time now);
  // The key was Set, or its Set failed: it is not pending any more. An ended or foreign ticket is
  // no ticket.
  void Settle(uint64_t ticket, const BlockId& id);

  uint64_t tickets() const { return tickets_.size(); }
  uint64_t promised_bytes() const { return promised_bytes_; }

 private:
  struct Ticket {
    std::string tenant;
    absl::Time expires;
    absl::flat_hash_map<BlockId, uint64_t> wanted;
  };
  void End(uint64_t ticket);

  const uint64_t bytes_max_;
  absl::flat_hash_map<uint64_t, Ticket> tickets_;
  absl::flat_hash_map<BlockId, uint64_t> pending_;  // -> ticket
  absl::flat_hash_map<std::string, uint32_t> by_tenant_;
  std::set<std::pair<absl::Time, uint64_t>> expiries_;
  uint64_t promised_bytes_ = 0;
};

}  // namespace kvgate::storage
