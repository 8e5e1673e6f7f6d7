// SPDX-License-Identifier: Apache-2.0
//
// What people ask: why a key is not there, what recent requests took, how namespaces are used.
#include <utility>

#include "storage/store_checks.h"
#include "storage/store_impl.h"

namespace kvgate::storage {

absl::StatusOr<Explanation> StoreImpl::Explain(NamespaceId ns_id, std::string_view key) {
  auto ns = FindNamespace(ns_id);
  if (!ns.ok()) return ns.status();
  if (absl::Status status = CheckKey("key", key); !status.ok()) return status;
  Explanation out;
  const wire::Hash128 hash = wire::HashKey(secret_, (*ns)->info.ns_digest, key);
  for (const IndexEntry& entry : index_->Siblings(ns_id, hash)) {
    const uint32_t now_s = clock_->CacheSeconds();
    if (!Live(entry)) {
      // Nobody asked for it since: it ends here, and history says so below.
      absl::MutexLock lock(&mu_);
      FindLive(entry.id);
      continue;
    }
    Explanation::Held& held = out.held.emplace_back();
    held.group = entry.id.group;
    held.shard = entry.id.shard;
    held.in_memory = entry.memory_slot != kNoMemorySlot;
    held.on_disk = entry.place.valid();
    held.value_bytes = entry.length;
    held.depth = entry.depth;
    held.expires_in_s = entry.expiry_s == 0 ? 0 : entry.expiry_s - now_s;
  }
  history_.Explain(ns_id, hash, &out);
  for (const auto& other : namespaces_->AllNamespaces()) {
    if (out.elsewhere.size() >= Explanation::kElsewhereMax) break;
    if (other->info.id == ns_id || other->info.tenant != (*ns)->info.tenant) continue;
    if (index_->Siblings(other->info.id, wire::HashKey(secret_, other->info.ns_digest, key))
            .empty()) {
      continue;
    }
    Explanation::Elsewhere& there = out.elsewhere.emplace_back();
    there.ns = other->info.id;
    there.alias = other->info.alias;
    there.field = wire::FirstDifference((*ns)->info.identity, other->info.identity, &there.here,
                                        &there.there);
  }
  return out;
}

std::vector<RequestUse> StoreImpl::RecentRequests(size_t max) const {
  return history_.Requests(max);
}

std::vector<NamespaceUse> StoreImpl::NamespaceUses() const {
  std::vector<NamespaceUse> uses;
  for (const auto& ns : namespaces_->AllNamespaces()) {
    const NamespaceCounters& c = *ns->use;
    const auto value = [](const std::atomic<uint64_t>& counter) {
      return counter.load(std::memory_order_relaxed);
    };
    uses.push_back({.ns = ns->info.id,
                    .lookups = value(c.lookups),
                    .keys_asked = value(c.keys_asked),
                    .keys_held = value(c.keys_held),
                    .blocks_stored = value(c.blocks_stored),
                    .hit_tokens_memory = value(c.hit_tokens_memory),
                    .hit_tokens_disk = value(c.hit_tokens_disk)});
  }
  return uses;
}

}  // namespace kvgate::storage
