// SPDX-License-Identifier: Apache-2.0
//
// From memory into the log. Records are given to it in the order of their versions, by one thread
// at a time and without mu_: the log may answer at once.
#include "storage/store_append.h"

#include <utility>

namespace kvgate::storage {
namespace {

constexpr uint64_t kRecordOverheadBytes = 4096;
// What the log could not take of tombstones is tried again; beyond this it is given up and counted:
// only values that were never promised to be gone after a crash can come back then.
constexpr size_t kOwedTombstonesMax = 65536;
// Values beyond this stay in memory only.
constexpr size_t kUnwrittenMax = 65536;

}  // namespace

bool StoreImpl::QueueValue(const IndexEntry& entry, bool device, std::shared_ptr<WaitingCall> call,
                           uint32_t index, Deferred* deferred) {
  const MemorySlot& slot = table_.at(entry.memory_slot);
  const uint64_t charged = slot.block->memory().size() + kRecordOverheadBytes;
  if (append_bytes_ != 0 && append_bytes_ + charged > append_bytes_max_) return false;
  auto append = std::make_shared<Append>();
  RecordMeta& meta = append->meta;
  meta.type = RecordType::kValue;
  meta.supersedes = slot.supersedes;
  meta.ns = entry.id.ns;
  meta.hash = entry.id.hash;
  meta.parent = entry.parent;
  meta.group = entry.id.group;
  meta.shard = entry.id.shard;
  meta.version = entry.version;
  meta.length = entry.length;
  meta.crc = entry.crc;
  meta.expiry_s = entry.expiry_s;
  meta.written_s = slot.written_s;
  meta.depth = entry.depth;
  meta.producer = slot.producer;
  append->key = slot.key;
  append->block = slot.block;
  append->device = device;
  append->charged_bytes = charged;
  append->index = index;
  if (call != nullptr) ++call->pending;
  append->call = std::move(call);
  append_bytes_ += charged;
  table_.SetWrite(entry.memory_slot, WriteState::kQueued);
  append_queue_.push_back(std::move(append));
  deferred->Add([this] { DrainAppends(); });
  return true;
}

void StoreImpl::QueueTombstone(RecordMeta meta, std::string key, bool device,
                               std::shared_ptr<WaitingCall> call, uint32_t index,
                               Deferred* deferred) {
  auto append = std::make_shared<Append>();
  append->meta = meta;
  append->key = std::move(key);
  append->device = device;
  append->index = index;
  if (call != nullptr) ++call->pending;
  append->call = std::move(call);
  append_queue_.push_back(std::move(append));
  deferred->Add([this] { DrainAppends(); });
}

void StoreImpl::DrainAppends() {
  const Gate::Pass pass(log_gate_);
  absl::MutexLock order(&append_order_mu_);
  while (true) {
    std::shared_ptr<Append> append;
    {
      absl::MutexLock lock(&mu_);
      if (append_queue_.empty()) return;
      append = std::move(append_queue_.front());
      append_queue_.pop_front();
    }
    const auto done = [this, append](absl::StatusOr<Place> place) {
      // Neither the log's thread nor whoever fills the queue is to do this work.
      workers_.Post([this, append, place = std::move(place)] { Appended(append, place); });
    };
    if (!pass) {
      done(absl::CancelledError("the store is closed"));
      continue;
    }
    AppendRequest request;
    request.meta = append->meta;
    request.key = append->key;
    if (append->block != nullptr) request.payload = append->block->memory().data();
    request.device_durable = append->device;
    request.done = done;
    Count(counters_.disk_appends_total);
    log_->Append(std::move(request));
  }
}

void StoreImpl::Appended(const std::shared_ptr<Append>& append,
                         const absl::StatusOr<Place>& place) {
  Deferred deferred;
  absl::MutexLock lock(&mu_);
  append_bytes_ -= append->charged_bytes;
  if (!place.ok()) Count(counters_.disk_append_failures_total);
  if (append->block != nullptr) {
    ValueAppended(*append, place, &deferred);
    append->block = nullptr;
  } else if (!place.ok() && append->call == nullptr) {
    if (owed_tombstones_.size() < kOwedTombstonesMax) {
      owed_tombstones_.emplace_back(append->meta, append->key);
      Count(counters_.tombstones_deferred_total);
    } else {
      Count(counters_.tombstones_dropped_total);
    }
  }
  if (append->call != nullptr) {
    append->call->OnAppended(append->index, place.status());
    Settle(append->call.get(), &deferred);
  }
  // A failure is not tried again at once: the next success is the sign that the log takes records.
  if (place.ok()) QueueWaiting(&deferred);
}

void StoreImpl::ValueAppended(const Append& append, const absl::StatusOr<Place>& place,
                              Deferred* deferred) {
  const RecordMeta& meta = append.meta;
  const BlockId id{meta.ns, meta.hash, meta.group, meta.shard};
  const std::optional<IndexEntry> entry = index_->Find(id);
  if (!entry || entry->version != meta.version) return;  // deleted or overwritten meanwhile
  if (place.ok()) index_->SetPlace(id, meta.version, Place{}, *place);
  if (entry->memory_slot == kNoMemorySlot) return;
  const MemorySlot& slot = table_.at(entry->memory_slot);
  if (place.ok()) {
    table_.SetWrite(entry->memory_slot, WriteState::kWritten);
    return;
  }
  const bool later = place.status().code() == absl::StatusCode::kResourceExhausted;
  table_.SetWrite(entry->memory_slot, later ? WriteState::kWaiting : WriteState::kNone);
  if (later) KeepForLater(id);
  if (!slot.supersedes || absl::IsCancelled(place.status())) return;
  RecordMeta tombstone = meta;
  tombstone.type = RecordType::kTombstone;
  tombstone.version = meta.version - 1;
  tombstone.length = tombstone.crc = 0;
  QueueTombstone(tombstone, append.key, false, nullptr, 0, deferred);
}

void StoreImpl::KeepForLater(const BlockId& id) {
  if (unwritten_.size() >= kUnwrittenMax) unwritten_.pop_front();
  unwritten_.push_back(id);
}

// The log took something: what had to stay behind may follow.
void StoreImpl::QueueWaiting(Deferred* deferred) {
  while (!owed_tombstones_.empty() && append_queue_.empty()) {
    auto [meta, key] = std::move(owed_tombstones_.front());
    owed_tombstones_.pop_front();
    QueueTombstone(meta, std::move(key), false, nullptr, 0, deferred);
  }
  while (!unwritten_.empty() && append_bytes_ < append_bytes_max_ / 2) {
    const BlockId id = unwritten_.front();
    unwritten_.pop_front();
    const std::optional<IndexEntry> entry = index_->Find(id);
    if (!entry || entry->memory_slot == kNoMemorySlot) continue;
    if (table_.at(entry->memory_slot).write != WriteState::kWaiting) continue;
    if (!QueueValue(*entry, false, nullptr, 0, deferred)) {
      unwritten_.push_front(id);
      return;
    }
  }
}

}  // namespace kvgate::storage
