// SPDX-License-Identifier: Apache-2.0
//
// Touch, pins by token, Scan, counters.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/store_allocations.h"
#include "storage/store_checks.h"
#include "storage/store_impl.h"

namespace kvgate::storage {

bool StoreImpl::Touch(NamespaceId ns_id, std::string_view last_key, uint8_t group,
                      const Hints& hints) {
  auto ns = FindNamespace(ns_id);
  if (!ns.ok() || !CheckGroup(**ns, group).ok() || !CheckKey("last_key", last_key).ok()) {
    return false;
  }
  const wire::Hash128 hash = wire::HashKey(secret_, (*ns)->info.ns_digest, last_key);
  RequestUse use;
  {
    absl::MutexLock lock(&mu_);
    if (closing_ || !TouchChain(**ns, hash, group, &use)) return false;
  }
  use.ns = ns_id;
  use.at = clock_->Now();
  use.group = group;
  use.tokens = uint64_t{use.blocks} * (*ns)->BlockTokens(group);
  use.prompt_tokens = hints.prompt_tokens;
  use.output_tokens = hints.output_tokens;
  use.turn = hints.turn;
  history_.RecordRequest(use);
  return true;
}

uint32_t StoreImpl::Pin(NamespaceId ns, uint64_t token, uint32_t pin_ms) {
  const uint32_t granted = std::min(pin_ms, wire::kPinMsMax);
  absl::MutexLock lock(&mu_);
  const absl::Time now = clock_->Now();
  return pins_.Renew(ns, token, now + absl::Milliseconds(granted), now) ? granted : 0;
}

bool StoreImpl::Unpin(NamespaceId ns, uint64_t token) {
  absl::MutexLock lock(&mu_);
  return pins_.Remove(ns, token, clock_->Now());
}

absl::StatusOr<ScanResult> StoreImpl::Scan(NamespaceId ns, std::string_view cursor,
                                           uint32_t limit) {
  if (limit == 0 || limit > wire::kKeysMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("limit = ", limit, ", must be in 1..", wire::kKeysMax));
  }
  if (!index_->KnowsCursor(cursor)) {
    return absl::InvalidArgumentError(
        absl::StrCat("cursor: ", cursor.size(), " bytes that no Scan has answered; empty starts"));
  }
  if (ns != 0) {
    if (auto found = FindNamespace(ns); !found.ok()) return found.status();
  }
  ScanResult result;
  result.next_cursor = std::string(cursor);
  std::vector<std::pair<size_t, Place>> unnamed;
  do {
    const std::vector<IndexEntry> page =
        index_->Scan(&result.next_cursor, limit - result.entries.size());
    absl::MutexLock lock(&mu_);
    for (const IndexEntry& entry : page) {
      if ((ns != 0 && entry.id.ns != ns) || !Live(entry)) continue;
      ScanEntry& out = result.entries.emplace_back();
      out.ns = entry.id.ns;
      out.hash = entry.id.hash;
      out.group = entry.id.group;
      out.shard = entry.id.shard;
      out.value_bytes = entry.length;
      out.version = entry.version;
      out.depth = entry.depth;
      out.on_disk = entry.place.valid();
      // As it is now, not as it was in the page: the slot may be another block's by now.
      const std::optional<IndexEntry> now = index_->Find(entry.id);
      out.in_memory = now && now->memory_slot != kNoMemorySlot;
      if (out.in_memory) out.key = table_.at(now->memory_slot).key;
      if (out.key.empty() && entry.place.valid()) {
        unnamed.emplace_back(result.entries.size() - 1, entry.place);
      }
    }
  } while (result.entries.size() < limit && !result.next_cursor.empty());
  for (const auto& [i, place] : unnamed) {
    // A key that cannot be read (its segment was reclaimed, its page is bad) stays unnamed.
    auto key = log_->ReadKey(place, result.entries[i].hash);
    if (key.ok()) result.entries[i].key = std::move(*key);
  }
  return result;
}

void StoreImpl::VisitCounters(const CounterVisitor& visitor) const {
  counters_.Visit(visitor);
  const auto visit = [&visitor](std::string_view name, uint64_t value) {
    visitor(name, static_cast<double>(value));
  };
  // Of the whole process: several stores share a heap.
  visit("get_large_allocations_total", GetPath::LargeAllocations());
  visit("get_large_allocations_measured", GetPath::Measured() ? 1 : 0);
  const PoolStats pool = pool_->stats();
  visit("memory_limit_bytes", pool.bytes_max);
  visit("memory_used_bytes", pool.used_bytes);
  visit("memory_extent_bytes", pool.extent_bytes);
  visit("memory_extents", pool.extents);
  visit("memory_extents_touched", pool.extents_touched);
  visit("memory_extent_failures_total", pool.extent_failures);
  visit("index_entries", index_->size());
  visit("index_slots", index_->slots());
  visit("index_bytes", index_->MemoryBytes());
  visit("index_entries_max", options_.index_blocks_max);
  {
    absl::MutexLock lock(&mu_);
    visit("memory_blocks", table_.blocks());
    visit("memory_value_bytes", table_.value_bytes());
    visit("memory_probation_bytes", table_.probation_bytes());
    visit("pin_tokens", pins_.tokens());
    visit("pinned_memory_bytes", pins_.memory_bytes());
    visit("loading", loaded_ ? 0 : 1);
    visit("pinned_disk_bytes", pins_.disk_bytes());
    visit("pins_replaced_total", pins_.replaced());
    visit("tickets", tickets_.tickets());
    visit("tickets_promised_bytes", tickets_.promised_bytes());
    visit("loads_in_flight", loads_.size());
    visit("append_queue_bytes", append_bytes_);
    visit("append_queue_bytes_max", append_bytes_max_);
    visit("blocks_waiting_for_disk", unwritten_.size());
    visit("calls_in_flight", calls_);
  }
  visitor("namespaces_collected_total", static_cast<double>(namespaces_->collected()));
  if (log_ != nullptr) log_->VisitCounters(visitor);
}

}  // namespace kvgate::storage
