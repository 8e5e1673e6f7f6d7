// SPDX-License-Identifier: Apache-2.0
//
// Get: what is in memory is answered at once; what is on disk is read into memory first. Nothing
// here allocates 64 KiB or more (1,024 keys), and RocksDB is not reachable from here.
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/wire/checksum.h"
#include "storage/store_allocations.h"
#include "storage/store_checks.h"
#include "storage/store_impl.h"

namespace kvgate::storage {
namespace {

class GetCall final : public WaitingCall {
 public:
  // `tokens` that a hit saves; `use` of the namespace.
  GetCall(GetDone done, size_t keys, bool prefix_only, uint32_t tokens, StoreCounters* counters,
          std::shared_ptr<NamespaceCounters> use)
      : done_(std::move(done)),
        prefix_only_(prefix_only),
        tokens_(tokens),
        counters_(counters),
        use_(std::move(use)),
        results_(keys) {}

  void OnLoaded(uint32_t index, GetState state, const BlockRef& block) override {
    if (finished) return;
    results_[index].state = state;
    results_[index].block = block;
  }
  void OnAppended(uint32_t, const absl::Status&) override {}

  std::function<void()> Finish() override {
    bool prefix_ended = false;
    for (GetResult& result : results_) {
      if (prefix_ended) result = GetResult{GetState::kNotSent, result.tier, {}};
      CountResult(result);
      prefix_ended = prefix_ended || (prefix_only_ && result.state != GetState::kOk);
    }
    return [done = std::move(done_), results = std::move(results_)]() mutable {
      done(std::move(results));
    };
  }

  GetResult& result(uint32_t index) { return results_[index]; }

 private:
  void CountResult(const GetResult& result) {
    StoreCounters& c = *counters_;
    switch (result.state) {
      case GetState::kOk: {
        const bool memory = result.tier == Tier::kMemory;
        Count(memory ? c.get_hits_memory_total : c.get_hits_disk_total);
        Count(memory ? c.get_bytes_memory_total : c.get_bytes_disk_total,
              result.block.bytes().size());
        CountTokens(memory);
        break;
      }
      case GetState::kMiss:
        return Count(c.get_misses_absent_total);
      case GetState::kNotReady:
        return Count(c.get_misses_not_ready_total);
      case GetState::kUnpinned:
        return Count(c.get_misses_unpinned_total);
      case GetState::kStaleToken:
        return Count(c.get_misses_stale_token_total);
      case GetState::kCorrupt:
        return Count(c.get_misses_corrupt_total);
      case GetState::kIoError:
        return Count(c.get_misses_io_error_total);
      case GetState::kNotSent:
        break;
    }
  }

  void CountTokens(bool memory) {
    if (tokens_ == 0) return;
    Count(memory ? counters_->hit_tokens_memory_total : counters_->hit_tokens_disk_total, tokens_);
    Count(memory ? use_->hit_tokens_memory : use_->hit_tokens_disk, tokens_);
    const double ms = tokens_ * use_->recompute_ms_per_token.load(std::memory_order_relaxed);
    Count(counters_->recompute_saved_us_total, static_cast<uint64_t>(ms * 1000));
  }

  GetDone done_;
  const bool prefix_only_;
  const uint32_t tokens_;
  StoreCounters* const counters_;
  const std::shared_ptr<NamespaceCounters> use_;
  std::vector<GetResult> results_;
};

}  // namespace

absl::StatusOr<std::vector<KeyRef>> StoreImpl::KeysOfGet(const Namespace& ns,
                                                         const GetRequest& request, bool* stale) {
  std::vector<KeyRef> keys;
  if (!request.handle) {
    absl::Status status = CheckKeys(request.keys, wire::kKeysMax);
    if (!status.ok()) return status;
    keys.reserve(request.keys.size());
    for (const std::string_view key : request.keys) {
      keys.push_back({wire::HashKey(secret_, ns.info.ns_digest, key),
                      wire::BlockCrcOfKey(ns.info.ns_digest, key), true, key});
    }
    return keys;
  }
  const GetHandle& handle = *request.handle;
  if (!request.keys.empty()) {
    return absl::InvalidArgumentError("keys: given beside a handle; one of both");
  }
  if (handle.count == 0 || handle.count > wire::kKeysMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("handle.count = ", handle.count, ", limit 1..", wire::kKeysMax));
  }
  keys.resize(handle.count, KeyRef{{}, 0, false, {}});
  absl::MutexLock lock(&mu_);
  const std::vector<PinnedGroup>* groups = pins_.Find(ns.info.id, handle.pin_token, clock_->Now());
  *stale = groups == nullptr;
  if (groups == nullptr) return keys;
  for (const PinnedGroup& group : *groups) {
    if (group.group != request.group) continue;
    for (uint64_t i = 0; i < handle.count; ++i) {
      const uint64_t position = uint64_t{handle.first} + i;
      if (position < group.first || position - group.first >= group.keys.size()) continue;
      const PinnedKey& key = group.keys[position - group.first];
      keys[i] = {key.hash, key.crc_of_key, true, {}};
    }
  }
  return keys;
}

void StoreImpl::Get(const GetRequest& request, GetDone done) {
  const GetPath path;
  auto ns = FindNamespace(request.ns);
  if (!ns.ok()) return done(ns.status());
  for (const absl::Status& status :
       {CheckGroup(**ns, request.group), CheckShard(**ns, request.shard)}) {
    if (!status.ok()) return done(status);
  }
  bool stale = false;
  auto keys = KeysOfGet(**ns, request, &stale);
  if (!keys.ok()) return done(keys.status());
  if (absl::Status status = EnterCall(); !status.ok()) return done(status);

  // A token's KV is counted once, not once a group and shard.
  const uint32_t tokens =
      request.group == 0 && request.shard == 0 ? (*ns)->BlockTokens(request.group) : 0;
  auto call = std::make_shared<GetCall>(std::move(done), keys->size(), request.prefix_only, tokens,
                                        &counters_, (*ns)->use);
  call->answer_by = request.answer_by;
  Deferred deferred;
  absl::MutexLock lock(&mu_);
  // From tail to head, so that of what is used now the head of the chain is the youngest; reads are
  // started in the other direction, since the head is of use without the tail.
  for (size_t i = keys->size(); i-- > 0;) {
    const KeyRef& key = (*keys)[i];
    GetResult& result = call->result(static_cast<uint32_t>(i));
    if (stale || !key.pinned) {
      result.state = stale ? GetState::kStaleToken : GetState::kUnpinned;
      continue;
    }
    const auto entry = FindLive({request.ns, key.hash, request.group, request.shard});
    if (!entry) {
      result.state = StateOfUnknown();
      continue;
    }
    result.tier = entry->memory_slot != kNoMemorySlot ? Tier::kMemory : Tier::kDisk;
    MarkUsed(*entry);
    if (result.tier != Tier::kMemory || !SameKey(table_.at(entry->memory_slot), key)) continue;
    result.state = GetState::kOk;
    result.block = RefOf(entry->memory_slot);
  }
  for (size_t i = 0; i < keys->size(); ++i) {
    GetResult& result = call->result(static_cast<uint32_t>(i));
    if (result.tier != Tier::kDisk) continue;
    const KeyRef& key = (*keys)[i];
    const auto entry = FindLive({request.ns, key.hash, request.group, request.shard});
    if (!entry) continue;
    result.state = GetState::kNotReady;  // until it was loaded
    if (entry->memory_slot != kNoMemorySlot) {
      // A key that stands twice in the request, or whose load ended in between.
      result.state = GetState::kOk;
      result.block = RefOf(entry->memory_slot);
    } else if (!LoadInto(*entry, key, call, static_cast<uint32_t>(i), &deferred)) {
      Count(counters_.get_misses_no_memory_total);
    }
  }
  Await(call, &deferred);
}

}  // namespace kvgate::storage
