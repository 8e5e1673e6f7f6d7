// SPDX-License-Identifier: Apache-2.0
//
// Lookup: what of a chain is held, where, and a pin on exactly what its boundary needs, in one step
// under the lock. A staged one first brings what is on disk into memory, holding what came until
// the answer, and then counts only what is there.
#include "storage/store_lookup.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/wire/checksum.h"
#include "storage/store_checks.h"

namespace kvgate::storage {
namespace {

// For predictions: one thread's copy out of memory.
constexpr double kMemoryBytesAMs = 10e6;

uint64_t PageBytes(uint32_t length) { return (length + kPageBytes - 1) / kPageBytes * kPageBytes; }

absl::Status CheckQuery(const Namespace& ns, const LookupRequest& request, size_t q) {
  const LookupQuery& query = request.queries[q];
  if (absl::Status status = CheckGroup(ns, query.group); !status.ok()) return status;
  const uint32_t block_tokens = ns.BlockTokens(query.group);
  const bool needed = request.queries.size() > 1;
  if (query.block_tokens != block_tokens && (needed || query.block_tokens != 0)) {
    return absl::InvalidArgumentError(absl::StrCat("queries[", q,
                                                   "].block_tokens = ", query.block_tokens,
                                                   ": the identity has ", block_tokens));
  }
  if (query.match == Match::kWindow && query.window_blocks == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("queries[", q, "].window_blocks = 0: a WINDOW has at least 1"));
  }
  return CheckKeys(query.keys, wire::kLookupKeysMax);
}

absl::Status CheckLookup(const Namespace& ns, const LookupRequest& request) {
  if (request.queries.empty() || request.queries.size() > wire::kGroupsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("queries: ", request.queries.size(), ", limit 1..", wire::kGroupsMax));
  }
  uint64_t keys = 0, bytes = 0;
  std::vector<bool> seen(ns.groups());
  for (size_t q = 0; q < request.queries.size(); ++q) {
    const LookupQuery& query = request.queries[q];
    if (absl::Status status = CheckQuery(ns, request, q); !status.ok()) return status;
    if (seen[query.group]) {
      return absl::InvalidArgumentError(
          absl::StrCat("queries[", q, "].group = ", query.group, " stands twice"));
    }
    seen[query.group] = true;
    keys += query.keys.size();
    for (const std::string_view key : query.keys) bytes += key.size();
  }
  if (keys > wire::kLookupKeysMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("keys: ", keys, " over all queries, limit ", wire::kLookupKeysMax));
  }
  if (bytes > wire::kKeyListBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("keys: ", bytes, " bytes over all queries, limit ", wire::kKeyListBytesMax));
  }
  if (request.pin_ms > wire::kPinMsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("pin_ms = ", request.pin_ms, ", limit ", wire::kPinMsMax));
  }
  return absl::OkStatus();
}

}  // namespace

struct StoreImpl::LookupPlan {
  std::shared_ptr<const Namespace> ns;
  uint32_t pin_ms = 0;
  bool stage = false;
  std::vector<QueryPlan> queries;
};

absl::StatusOr<StoreImpl::LookupPlan> StoreImpl::PlanLookup(const LookupRequest& request) const {
  auto ns = FindNamespace(request.ns);
  if (!ns.ok()) return ns.status();
  if (absl::Status status = CheckLookup(**ns, request); !status.ok()) return status;
  LookupPlan plan;
  plan.pin_ms = request.pin_ms;
  plan.stage = request.stage;
  const wire::NsDigest& digest = (*ns)->info.ns_digest;
  const bool proves = request.pin_ms > 0 || request.stage;
  for (const LookupQuery& query : request.queries) {
    QueryPlan& out = plan.queries.emplace_back();
    out.group = query.group;
    out.block_tokens = (*ns)->BlockTokens(query.group);
    out.window_blocks = query.window_blocks;
    out.match = query.match;
    out.first_wanted = static_cast<uint32_t>(
        std::min<uint64_t>(request.first_wanted_tokens / out.block_tokens, query.keys.size()));
    out.keys.reserve(query.keys.size());
    for (const std::string_view key : query.keys) {
      const bool wanted = proves && out.keys.size() >= out.first_wanted;
      out.keys.push_back({wire::HashKey(secret_, digest, key),
                          wanted ? wire::BlockCrcOfKey(digest, key) : 0, true, key});
    }
  }
  plan.ns = std::move(*ns);
  return plan;
}

// All shards of a key, or nothing.
static void FindShards(const Index& index, uint32_t shards, BlockId id, bool memory_only,
                       uint32_t now_s, KeyFound* found) {
  Tier tier = Tier::kMemory;
  uint64_t bytes = 0;
  for (uint32_t shard = 0; shard < shards; ++shard) {
    id.shard = static_cast<uint8_t>(shard);
    const std::optional<IndexState> state = index.FindState(id);
    if (!state || (state->expiry_s != 0 && state->expiry_s <= now_s)) return;
    if (state->memory_slot == kNoMemorySlot) tier = Tier::kDisk;
    bytes += state->length;
  }
  if (memory_only && tier != Tier::kMemory) return;
  *found = {tier, bytes};
}

LookupResult StoreImpl::EvaluateLookup(LookupPlan* plan, bool memory_only) {
  const Namespace& ns = *plan->ns;
  const uint32_t now_s = clock_->CacheSeconds();
  // While loading, what is on disk alone may have ended (Settled).
  memory_only = memory_only || merge_ != nullptr;
  for (QueryPlan& query : plan->queries) {
    query.found.assign(query.keys.size(), KeyFound{});
    for (size_t i = 0; i < query.keys.size(); ++i) {
      FindShards(*index_, ns.shards,
                 {ns.info.id, query.keys[i].hash, static_cast<uint8_t>(query.group), 0},
                 memory_only, now_s, &query.found[i]);
      if (query.match == Match::kPrefix && !query.Held(i)) break;
    }
  }
  LookupResult result;
  result.boundary_tokens = BoundaryTokens(plan->queries);
  uint64_t disk_bytes = 0, memory_bytes = 0;
  for (const QueryPlan& query : plan->queries) {
    result.groups.push_back(HeldOf(query, result.boundary_tokens));
    Count(counters_.lookup_keys_total, query.keys.size());
    Count(counters_.lookup_keys_held_total, result.groups.back().held);
    Count(plan->ns->use->keys_asked, query.keys.size());
    Count(plan->ns->use->keys_held, result.groups.back().held);
    const auto needed = query.Needed(result.boundary_tokens / query.block_tokens);
    for (uint32_t i = needed.first; i < needed.end; ++i) {
      (query.found[i].tier == Tier::kDisk ? disk_bytes : memory_bytes) +=
          query.found[i].value_bytes;
    }
  }
  result.predicted_load_ms = static_cast<double>(memory_bytes + disk_bytes) / kMemoryBytesAMs;
  if (disk_bytes > 0) result.predicted_load_ms += log_->predicted_read_ms(disk_bytes);
  return result;
}

// From the tail to the head, so that the head is the youngest.
void StoreImpl::TouchLookup(const LookupPlan& plan) {
  const uint32_t now_s = clock_->CacheSeconds();
  for (const QueryPlan& query : plan.queries) {
    BlockId id{plan.ns->info.id, {}, static_cast<uint8_t>(query.group), 0};
    for (size_t i = query.keys.size(); i-- > 0;) {
      if (query.found[i].tier == Tier::kNone) continue;
      id.hash = query.keys[i].hash;
      for (uint32_t shard = 0; shard < plan.ns->shards; ++shard) {
        id.shard = static_cast<uint8_t>(shard);
        const std::optional<IndexState> state = index_->FindState(id);
        if (!state) continue;
        if (state->memory_slot != kNoMemorySlot) table_.Touch(state->memory_slot, now_s);
        if (!state->hit) index_->MarkHit(id);
      }
    }
  }
}

uint64_t StoreImpl::PinLookup(const LookupPlan& plan, uint32_t boundary) {
  PinGrant grant;
  grant.ns = plan.ns->info.id;
  grant.tenant = plan.ns->info.tenant;
  grant.staged = plan.stage;
  const absl::Time now = clock_->Now();
  grant.expires = now + absl::Milliseconds(plan.pin_ms);
  for (const QueryPlan& query : plan.queries) {
    const auto needed = query.Needed(boundary / query.block_tokens);
    if (needed.first == needed.end) continue;
    PinnedGroup& group = grant.groups.emplace_back();
    group.group = query.group;
    group.first = needed.first;
    for (uint32_t i = needed.first; i < needed.end; ++i) {
      group.keys.push_back({query.keys[i].hash, query.keys[i].crc_of_key});
      BlockId id{grant.ns, query.keys[i].hash, static_cast<uint8_t>(query.group), 0};
      for (uint32_t shard = 0; shard < plan.ns->shards; ++shard) {
        id.shard = static_cast<uint8_t>(shard);
        const std::optional<IndexEntry> entry = index_->Find(id);
        if (!entry) return 0;
        grant.blocks.push_back({id, PageBytes(entry->length), entry->memory_slot != kNoMemorySlot});
      }
    }
  }
  if (grant.groups.empty()) return 0;
  const uint64_t token = pins_.Add(std::move(grant), now);
  Count(token != 0 ? counters_.pins_granted_total : counters_.pins_refused_total);
  return token;
}

// The answer, from the state of this moment.
LookupResult StoreImpl::AnswerLookup(LookupPlan* plan) {
  LookupResult result = EvaluateLookup(plan, /*memory_only=*/plan->stage);
  TouchLookup(*plan);
  if (plan->pin_ms > 0) result.pin_token = PinLookup(*plan, result.boundary_tokens);
  if (result.pin_token != 0) result.pin_ms = plan->pin_ms;
  return result;
}

// A staged Lookup. What it found or brought into memory is held until the answer, which pins it.
struct StoreImpl::StageCall final : WaitingCall {
  StageCall(StoreImpl* owner, LookupPlan wanted, LookupDone callback)
      : store(owner), plan(std::move(wanted)), done(std::move(callback)) {}

  void OnLoaded(uint32_t, GetState, const BlockRef& block) override {
    if (block && !finished) held.push_back(block);
  }
  void OnAppended(uint32_t, const absl::Status&) override {}
  std::function<void()> Finish() override {
    store->mu_.AssertHeld();
    LookupResult result = store->AnswerLookup(&plan);
    held.clear();
    return
        [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); };
  }

  StoreImpl* const store;
  LookupPlan plan;
  LookupDone done;
  std::vector<BlockRef> held;
};

// Starts the reads of what the boundary needs and is on disk, head first, as far as may be pinned.
void StoreImpl::StageReads(const std::shared_ptr<StageCall>& call, Deferred* deferred) {
  LookupPlan& plan = call->plan;
  const LookupResult now = EvaluateLookup(&plan, /*memory_only=*/false);
  uint64_t room = static_cast<uint64_t>(options_.pinned_share_max *
                                        static_cast<double>(options_.memory.bytes_max));
  for (const QueryPlan& query : plan.queries) {
    const auto needed = query.Needed(now.boundary_tokens / query.block_tokens);
    for (uint32_t i = needed.first; i < needed.end; ++i) {
      BlockId id{plan.ns->info.id, query.keys[i].hash, static_cast<uint8_t>(query.group), 0};
      for (uint32_t shard = 0; shard < plan.ns->shards; ++shard) {
        id.shard = static_cast<uint8_t>(shard);
        const std::optional<IndexEntry> entry = index_->Find(id);
        if (!entry || PageBytes(entry->length) > room) return;
        room -= PageBytes(entry->length);
        if (entry->memory_slot != kNoMemorySlot) {
          call->held.push_back(RefOf(entry->memory_slot));
        } else if (!LoadInto(*entry, query.keys[i], call, i, deferred)) {
          return;
        }
      }
    }
  }
}

void StoreImpl::Lookup(const LookupRequest& request, LookupDone done) {
  auto plan = PlanLookup(request);
  if (!plan.ok()) return done(plan.status());
  if (absl::Status status = EnterCall(); !status.ok()) return done(status);
  NamespaceCounters& use = *plan->ns->use;
  Count(use.lookups);
  if (request.recompute_ms_per_token > 0) {
    use.recompute_ms_per_token.store(request.recompute_ms_per_token, std::memory_order_relaxed);
  }
  if (!request.stage) {
    LookupResult result;
    {
      absl::MutexLock lock(&mu_);
      result = AnswerLookup(&*plan);
    }
    done(std::move(result));
    return LeaveCall();
  }
  auto call = std::make_shared<StageCall>(this, std::move(*plan), std::move(done));
  call->answer_by = request.answer_by;
  Deferred deferred;
  absl::MutexLock lock(&mu_);
  StageReads(call, &deferred);
  // The caller's keys live only as long as this call.
  for (QueryPlan& query : call->plan.queries) {
    for (KeyRef& key : query.keys) key.text = {};
  }
  Await(call, &deferred);
}

}  // namespace kvgate::storage
