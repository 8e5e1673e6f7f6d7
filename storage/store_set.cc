// SPDX-License-Identifier: Apache-2.0
//
// Set: copy and checksum in the caller's thread, then make visible, then write through.
#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/wire/checksum.h"
#include "storage/base/check.h"
#include "storage/store_append.h"
#include "storage/store_checks.h"
#include "storage/store_impl.h"

namespace kvgate::storage {
namespace {

uint64_t ValueBytes(const SetItem& item) {
  uint64_t bytes = 0;
  for (const auto& piece : item.value) bytes += piece.size();
  return bytes;
}

bool WantsLog(Durability durability) {
  return durability == Durability::kLogged || durability == Durability::kDevice;
}

}  // namespace

struct StoreImpl::SetCall final : WaitingCall {
  void OnLoaded(uint32_t, GetState, const BlockRef&) override {}
  void OnAppended(uint32_t index, const absl::Status& status) override {
    if (finished) return;
    SetResult& result = results[index];
    if (status.ok()) {
      result = {SetState::kStored, durability};
    } else {
      // It is in memory all the same; what was asked for did not happen.
      result = {SetState::kStored, Durability::kVolatile};
    }
  }
  std::function<void()> Finish() override {
    for (const SetResult& result : results) {
      if (result.state == SetState::kTimedOut) Count(counters->set_timed_out_total);
    }
    return [done = std::move(done), results = std::move(results)]() mutable {
      done(std::move(results));
    };
  }

  SetDone done;
  Durability durability = Durability::kBuffered;
  std::vector<SetResult> results;
  StoreCounters* counters = nullptr;
};

// A value in pool memory that nobody else knows yet.
struct StoreImpl::CopiedValue {
  wire::Hash128 hash;
  PoolBuffer buffer;
  uint32_t length = 0;
  uint32_t prefix_crc = 0, block_crc = 0;
};

absl::Status StoreImpl::ValidateSet(const Namespace& ns, const SetRequest& request) const {
  for (const absl::Status& status :
       {CheckGroup(ns, request.group), CheckShard(ns, request.shard)}) {
    if (!status.ok()) return status;
  }
  if (request.items.empty() || request.items.size() > wire::kKeysMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("entries: ", request.items.size(), " in one call, limit 1..", wire::kKeysMax));
  }
  if (!request.parent.empty()) {
    if (absl::Status status = CheckKey("parent", request.parent); !status.ok()) return status;
  }
  for (size_t i = 0; i < request.items.size(); ++i) {
    const SetItem& item = request.items[i];
    if (absl::Status status = CheckKey(absl::StrCat("entries[", i, "].key"), item.key);
        !status.ok()) {
      return status;
    }
    const uint64_t bytes = ValueBytes(item);
    if (bytes == 0 || bytes > wire::kValueBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat("entries[", i, "].value_bytes = ", bytes,
                                                     ", limit 1..", wire::kValueBytesMax));
    }
  }
  return absl::OkStatus();
}

// One pass over the caller's bytes: what is checksummed is what was written here. False when the
// producer's checksum says otherwise.
bool StoreImpl::CopyValue(const Namespace& ns, const SetRequest& request, const SetItem& item,
                          CopiedValue* value) {
  value->prefix_crc = wire::BlockCrcPrefix(wire::BlockCrcOfKey(ns.info.ns_digest, item.key),
                                           request.group, request.shard, value->length);
  const std::span<std::byte> memory = value->buffer.memory();
  uint32_t crc = value->prefix_crc;
  size_t at = 0;
  for (const std::span<const std::byte> piece : item.value) {
    crc = wire::CopyCrc32c(crc, memory.data() + at, piece.data(), piece.size());
    at += piece.size();
  }
  std::memset(memory.data() + at, 0, memory.size() - at);
  value->block_crc = crc;
  return !item.producer_crc ||
         *item.producer_crc == wire::ValueCrcFromBlockCrc(crc, value->prefix_crc, value->length);
}

SetResult StoreImpl::HeldResult(const IndexEntry& entry) {
  Count(counters_.set_held_total);
  MarkUsed(entry);
  if (entry.place.valid()) return {SetState::kHeld, Durability::kLogged};
  const bool queued = entry.memory_slot != kNoMemorySlot &&
                      table_.at(entry.memory_slot).write == WriteState::kQueued;
  return {SetState::kHeld, queued ? Durability::kBuffered : Durability::kVolatile};
}

// Makes a copied value visible, or finds that somebody was faster.
SetResult StoreImpl::PublishSet(const Namespace& ns, const SetRequest& request, uint32_t i,
                                CopiedValue value, const wire::Hash128& parent,
                                const std::shared_ptr<SetCall>& call, Deferred* deferred) {
  const SetItem& item = request.items[i];
  IndexEntry entry;
  entry.id = {ns.info.id, value.hash, request.group, request.shard};
  const std::optional<IndexEntry> held = FindLive(entry.id);
  if (held && request.mode == SetMode::kIfAbsent) return HeldResult(*held);

  if (!held && !MakeIndexRoom(deferred)) {
    Count(counters_.set_no_space_total);
    return {SetState::kNoSpace, Durability::kVolatile};
  }

  // An OVERWRITE takes two versions, so that a tombstone of what was before fits under the value.
  const bool overwrite = request.mode == SetMode::kOverwrite;
  if (overwrite) ++next_version_;
  entry.version = next_version_++;
  if (overwrite) RememberEnd(entry.id, entry.version - 1);
  entry.length = value.length;
  entry.crc = value.block_crc;
  entry.parent = parent;
  entry.depth = request.depth + i;
  if (item.ttl_s != 0) {
    const uint64_t expiry = uint64_t{clock_->CacheSeconds()} + item.ttl_s;
    entry.expiry_s =
        static_cast<uint32_t>(std::min<uint64_t>(expiry, std::numeric_limits<uint32_t>::max()));
  }
  MemorySlot slot;
  slot.id = entry.id;
  slot.version = entry.version;
  slot.block = std::make_shared<const MemoryBlock>(std::move(value.buffer), value.length,
                                                   value.block_crc, value.prefix_crc);
  slot.key = std::string(item.key);
  slot.written_s = slot.used_s = clock_->CacheSeconds();
  slot.producer = request.producer;
  slot.supersedes = overwrite;
  entry.memory_slot = table_.Add(std::move(slot));
  const uint32_t old_slot = held ? held->memory_slot : kNoMemorySlot;
  KVGATE_CHECK(index_->Put(entry) <= Index::PutResult::kReplaced);
  if (old_slot != kNoMemorySlot) table_.Remove(old_slot);
  pins_.Moved(entry.id, /*in_memory=*/true);
  Count(counters_.set_stored_total);
  Count(ns.use->blocks_stored);
  Count(counters_.set_bytes_total, value.length);
  return WriteThrough(entry, std::string(item.key), overwrite, i, call, deferred);
}

// Gives a new value to the log, or says why it stays in memory only.
SetResult StoreImpl::WriteThrough(const IndexEntry& entry, std::string key, bool overwrite,
                                  uint32_t i, const std::shared_ptr<SetCall>& call,
                                  Deferred* deferred) {
  if (log_ == nullptr) return {SetState::kStored, Durability::kVolatile};
  const Durability wanted = call->durability;
  const bool wait = WantsLog(wanted);
  const bool fits = entry.length <= disk_value_bytes_max_;
  // Writers that are faster than the disk would fill memory with what is not written yet, and it
  // would be evicted unwritten: above a quarter of the queue their acknowledgement waits for the
  // write. Nobody's thread waits, and at answer_by they hear BUFFERED all the same.
  const bool held_back = !wait && append_bytes_ > append_bytes_max_ / 4;
  if (wanted != Durability::kVolatile && fits &&
      QueueValue(entry, wanted == Durability::kDevice, wait || held_back ? call : nullptr, i,
                 deferred)) {
    if (held_back) Count(counters_.set_held_back_total);
    // TIMED_OUT until the log says otherwise.
    return wait ? SetResult{SetState::kTimedOut, Durability::kBuffered}
                : SetResult{SetState::kStored, Durability::kBuffered};
  }
  if (overwrite) {
    RecordMeta tombstone;
    tombstone.type = RecordType::kTombstone;
    tombstone.ns = entry.id.ns;
    tombstone.hash = entry.id.hash;
    tombstone.group = entry.id.group;
    tombstone.shard = entry.id.shard;
    tombstone.version = entry.version - 1;
    QueueTombstone(tombstone, key, false, nullptr, 0, deferred);
  }
  if (wanted != Durability::kVolatile) Count(counters_.set_granted_volatile_total);
  if (wanted != Durability::kVolatile && fits) {
    table_.SetWrite(entry.memory_slot, WriteState::kWaiting);
    KeepForLater(entry.id);
  }
  return {SetState::kStored, Durability::kVolatile};
}

SetResult StoreImpl::SetOne(const Namespace& ns, const SetRequest& request, uint32_t i,
                            const wire::Hash128& hash, const wire::Hash128& parent,
                            const std::shared_ptr<SetCall>& call) {
  const SetItem& item = request.items[i];
  CopiedValue value;
  value.hash = hash;
  value.length = static_cast<uint32_t>(ValueBytes(item));
  const BlockId id{ns.info.id, hash, request.group, request.shard};
  if (log_ != nullptr && WantsLog(request.durability) && value.length > disk_value_bytes_max_) {
    Count(counters_.set_too_large_total);
    return {SetState::kTooLarge, Durability::kVolatile};
  }
  {
    absl::MutexLock lock(&mu_);
    const std::optional<IndexEntry> held = FindLive(id);
    if (held && request.mode == SetMode::kIfAbsent) return HeldResult(*held);
    value.buffer = AllocateEvicting(value.length);
  }
  if (!value.buffer) {
    Count(counters_.set_no_space_total);
    return {SetState::kNoSpace, Durability::kVolatile};
  }
  if (!CopyValue(ns, request, item, &value)) {
    Count(counters_.set_data_loss_total);
    return {SetState::kDataLoss, Durability::kVolatile};
  }
  Deferred deferred;
  absl::MutexLock lock(&mu_);
  return PublishSet(ns, request, i, std::move(value), parent, call, &deferred);
}

void StoreImpl::Set(const SetRequest& request, SetDone done) {
  auto ns = FindNamespace(request.ns);
  if (!ns.ok()) return done(ns.status());
  if (absl::Status status = ValidateSet(**ns, request); !status.ok()) return done(status);
  if (absl::Status status = EnterCall(); !status.ok()) return done(status);

  auto call = std::make_shared<SetCall>();
  call->done = std::move(done);
  call->counters = &counters_;
  call->durability = request.durability;
  if (request.durability == Durability::kDefault) call->durability = Durability::kBuffered;
  call->answer_by = request.answer_by;
  call->results.resize(request.items.size());
  wire::Hash128 parent, first_parent;
  if (!request.parent.empty()) {
    parent = wire::HashKey(secret_, (*ns)->info.ns_digest, request.parent);
  }
  first_parent = parent;
  bool refused = false;
  std::vector<wire::Hash128> stored;
  for (uint32_t i = 0; i < request.items.size(); ++i) {
    const wire::Hash128 hash = wire::HashKey(secret_, (*ns)->info.ns_digest, request.items[i].key);
    SetResult result;
    if (refused) {
      Count(counters_.set_not_admitted_total);
    } else {
      result = SetOne(**ns, request, i, hash, parent, call);
      // Later keys of the chain were computed from these bytes; for full attention they are also
      // out of reach without this key.
      refused = result.state == SetState::kDataLoss ||
                ((*ns)->FullAttention(request.group) &&
                 (result.state == SetState::kNoSpace || result.state == SetState::kTooLarge));
    }
    if (result.state == SetState::kNoSpace || result.state == SetState::kTooLarge ||
        result.state == SetState::kNotAdmitted || result.state == SetState::kDataLoss) {
      Departed({request.ns, hash, request.group, request.shard}, Departure::kRefused);
    }
    Deferred deferred;
    absl::MutexLock lock(&mu_);
    // The append may have ended already and left its own word.
    if (call->results[i].state == SetState::kNotAdmitted) call->results[i] = result;
    if (request.ticket != 0) {
      tickets_.Settle(request.ticket, {request.ns, hash, request.group, request.shard});
    }
    if (!refused) parent = hash;
    stored.push_back(hash);
  }
  Deferred deferred;
  absl::MutexLock lock(&mu_);
  for (size_t i = stored.size(); i-- > 0;) TouchOne(**ns, stored[i], request.group);
  if (!first_parent.zero()) TouchChain(**ns, first_parent, request.group);
  Await(call, &deferred);
}

absl::StatusOr<OfferResult> StoreImpl::Offer(const OfferRequest& request) {
  auto ns = FindNamespace(request.ns);
  if (!ns.ok()) return ns.status();
  for (const absl::Status& status :
       {CheckGroup(**ns, request.group), CheckShard(**ns, request.shard),
        CheckKeys(request.keys, wire::kKeysMax)}) {
    if (!status.ok()) return status;
  }
  if (request.value_bytes.size() != request.keys.size()) {
    return absl::InvalidArgumentError(absl::StrCat("value_bytes: ", request.value_bytes.size(),
                                                   " for ", request.keys.size(), " keys"));
  }
  for (size_t i = 0; i < request.keys.size(); ++i) {
    if (request.value_bytes[i] == 0 || request.value_bytes[i] > wire::kValueBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat(
          "value_bytes[", i, "] = ", request.value_bytes[i], ", limit 1..", wire::kValueBytesMax));
    }
  }
  std::vector<BlockId> ids;
  for (const std::string_view key : request.keys) {
    ids.push_back({request.ns, wire::HashKey(secret_, (*ns)->info.ns_digest, key), request.group,
                   request.shard});
  }
  absl::MutexLock lock(&mu_);
  if (closing_) return absl::UnavailableError("the store is closing");
  return OfferLocked(**ns, request, ids);
}

OfferResult StoreImpl::OfferLocked(const Namespace& ns, const OfferRequest& request,
                                   const std::vector<BlockId>& ids) {
  tickets_.Expire(clock_->Now());
  OfferResult result;
  std::vector<std::pair<BlockId, uint64_t>> wanted;
  uint64_t bytes = 0;
  bool refused = !tickets_.MayHaveTicket(ns.info.tenant), beyond = false;
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::optional<IndexEntry> held = FindLive(ids[i]);
    if (held) {
      MarkUsed(*held);
      result.states.push_back(OfferState::kHeld);
    } else if (tickets_.IsPending(ids[i])) {
      result.states.push_back(OfferState::kPending);
    } else if (beyond || (!refused && request.value_bytes[i] > request.bytes_max - bytes)) {
      result.states.push_back(OfferState::kNotAdmitted);
      ++result.keys_beyond;
      beyond = ns.FullAttention(request.group);
    } else if (refused || request.value_bytes[i] > pool_->extent_bytes() ||
               !tickets_.HasRoom(bytes + request.value_bytes[i])) {
      result.states.push_back(OfferState::kNotAdmitted);
      refused = refused || ns.FullAttention(request.group);
    } else {
      result.states.push_back(OfferState::kWanted);
      wanted.emplace_back(ids[i], request.value_bytes[i]);
      bytes += request.value_bytes[i];
    }
  }
  result.ticket = tickets_.Add(ns.info.tenant, std::move(wanted), clock_->Now());
  return result;
}

}  // namespace kvgate::storage
