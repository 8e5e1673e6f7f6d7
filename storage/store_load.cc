// SPDX-License-Identifier: Apache-2.0
//
// From the log into memory: one read a block however many wait for it, verified
// with the namespace and key that were asked for, then resident.
//
// A load goes on after the calls that wanted it were answered, and lands in memory; only what still
// waits in the disk's queue is dropped when nobody waits for it any more.
#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "proto/wire/checksum.h"
#include "storage/store_allocations.h"
#include "storage/store_impl.h"

namespace kvgate::storage {
namespace {

constexpr size_t kToldKeyBytesMax = 64;

bool IsZero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

bool Verify(const Load& load) {
  const std::span<const std::byte> memory = load.buffer.memory();
  return wire::Crc32c(load.prefix_crc, memory.data(), load.length) == load.crc &&
         IsZero(memory.subspan(load.length));
}

}  // namespace

bool StoreImpl::LoadInto(const IndexEntry& entry, const KeyRef& key,
                         const std::shared_ptr<WaitingCall>& call, uint32_t index,
                         Deferred* deferred) {
  const auto running = loads_.find(entry.id);
  if (running != loads_.end() && running->second->version == entry.version) {
    const std::shared_ptr<Load>& load = running->second;
    // Two keys of one hash do not happen; if they do, one of them is not held.
    if (load->crc_of_key != key.crc_of_key) return false;
    load->deadline = std::max(load->deadline, call->answer_by);
    load->waiters.push_back({call, index});
    ++call->pending;
    Count(counters_.disk_reads_joined_total);
    return true;
  }
  auto load = std::make_shared<Load>();
  load->buffer = AllocateEvicting(entry.length);
  if (!load->buffer) return false;
  load->id = entry.id;
  load->version = entry.version;
  load->place = entry.place;
  load->length = entry.length;
  load->crc = entry.crc;
  load->crc_of_key = key.crc_of_key;
  load->prefix_crc =
      wire::BlockCrcPrefix(key.crc_of_key, entry.id.group, entry.id.shard, entry.length);
  load->key = std::string(key.text);
  load->deadline = call->answer_by;
  load->waiters.push_back({call, index});
  ++call->pending;
  loads_[entry.id] = load;
  deferred->Add([this, load] { SubmitRead(load); });
  return true;
}

void StoreImpl::SubmitRead(std::shared_ptr<Load> load) {
  const Gate::Pass pass(log_gate_);
  if (!pass) return EndLoad(load, GetState::kNotReady);
  Place place;
  absl::Time deadline;
  {
    absl::MutexLock lock(&mu_);
    place = load->place;
    deadline = load->deadline;
  }
  Count(counters_.disk_reads_total);
  Count(counters_.disk_read_bytes_total, load->buffer.memory().size());
  const uint32_t length = load->length;
  const std::span<std::byte> memory = load->buffer.memory();
  log_->Read(place, length, memory, deadline, [this, load](absl::Status status) {
    // Checksums take too long for a Disk's thread.
    workers_.Post([this, load, status = std::move(status)] { ReadDone(load, status); });
  });
}

void StoreImpl::ReadDone(const std::shared_ptr<Load>& load, const absl::Status& status) {
  const GetPath path;
  switch (status.code()) {
    case absl::StatusCode::kOk:
      if (Verify(*load)) return EndLoad(load, GetState::kOk);
      if (load->read_again) return EndLoad(load, GetState::kCorrupt);
      load->read_again = true;
      Count(counters_.disk_reads_repeated_total);
      return SubmitRead(load);
    case absl::StatusCode::kAborted:
      Count(counters_.disk_reads_aborted_total);
      return LookAgain(load);
    case absl::StatusCode::kDeadlineExceeded:
      return RetryQueued(load);
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kResourceExhausted:  // no room in the disk's queue, or no time
      return EndLoad(load, GetState::kNotReady);
    default:
      return EndLoad(load, GetState::kIoError);
  }
}

// The segment was reclaimed: the block may stand elsewhere now.
void StoreImpl::LookAgain(const std::shared_ptr<Load>& load) {
  bool elsewhere = false;
  {
    absl::MutexLock lock(&mu_);
    const std::optional<IndexEntry> entry = index_->Find(load->id);
    elsewhere = !load->looked_again && entry && entry->version == load->version &&
                entry->place.valid() && entry->place != load->place;
    load->looked_again = true;
    if (elsewhere) load->place = entry->place;
  }
  if (elsewhere) return SubmitRead(load);
  EndLoad(load, GetState::kMiss);
}

// Dropped from the disk's queue at the deadline of whoever waited longest then.
void StoreImpl::RetryQueued(const std::shared_ptr<Load>& load) {
  bool wanted = false;
  {
    absl::MutexLock lock(&mu_);
    wanted = load->deadline > clock_->Now();
  }
  if (wanted) return SubmitRead(load);
  EndLoad(load, GetState::kNotReady);
}

// Makes the verified bytes resident if the block is still the one that was read.
BlockRef StoreImpl::PublishLoad(Load* load) {
  const std::optional<IndexEntry> entry = index_->Find(load->id);
  if (!entry || entry->version != load->version || !Live(*entry)) return BlockRef();
  // Reinsertion may have moved it meanwhile: same version, same bytes.
  if (entry->memory_slot != kNoMemorySlot) return RefOf(entry->memory_slot);
  MemorySlot slot;
  slot.id = load->id;
  slot.version = load->version;
  slot.block = std::make_shared<const MemoryBlock>(std::move(load->buffer), load->length, load->crc,
                                                   load->prefix_crc);
  slot.key = std::move(load->key);
  slot.used_s = clock_->CacheSeconds();
  slot.write = WriteState::kWritten;
  const BlockRef block(slot.block);
  // Read for the first time in a while: it stays for those who read it a moment later.
  const uint32_t number = recent_reads_.Note(load->id)
                              ? table_.Add(std::move(slot))
                              : table_.AddOnProbation(std::move(slot), clock_->Now());
  index_->SetMemorySlot(load->id, load->version, kNoMemorySlot, number);
  pins_.Moved(load->id, /*in_memory=*/true);
  return block;
}

void StoreImpl::TellCorrupt(const Load& load) const {
  if (!options_.log.events) return;
  PlaceName place;
  {
    const Gate::Pass pass(log_gate_);
    if (pass) place = log_->NameOf(load.place);
  }
  // Reads by handle know no key.
  const std::string key = load.key.empty()
                              ? absl::StrCat("hash ", absl::Hex(load.id.hash.hi, absl::kZeroPad16),
                                             absl::Hex(load.id.hash.lo, absl::kZeroPad16))
                              : absl::CHexEscape(load.key.substr(0, kToldKeyBytesMax));
  Tell(options_.log.events,
       {.kind = EventKind::kDamage,
        .level = EventLevel::kWarning,
        .text = "a block was dropped: its bytes on disk do not match their checksum",
        .details = {{"device", place.device},
                    {"segment", absl::StrCat(place.segment)},
                    {"offset", absl::StrCat(place.offset)},
                    {"namespace", absl::StrCat(load.id.ns)},
                    {"key", key}}});
}

void StoreImpl::EndLoad(const std::shared_ptr<Load>& load, GetState state) {
  Deferred deferred;
  absl::MutexLock lock(&mu_);
  const auto running = loads_.find(load->id);
  if (running != loads_.end() && running->second == load) loads_.erase(running);
  BlockRef block;
  if (state == GetState::kOk) {
    block = PublishLoad(load.get());
    if (!block) state = GetState::kMiss;  // deleted or overwritten while it was read
  }
  if (state == GetState::kCorrupt) {
    Count(counters_.corrupt_total);
    Departed(load->id, Departure::kCorrupt);
    deferred.Add([this, load] { TellCorrupt(*load); });
    const std::optional<IndexEntry> entry = index_->Find(load->id);
    if (entry && entry->version == load->version && entry->place == load->place &&
        entry->memory_slot == kNoMemorySlot) {
      RemoveEntry(*entry);
    }
  }
  bool late = state == GetState::kNotReady;
  for (const Load::Waiter& waiter : load->waiters) late = late || waiter.call->finished;
  if (late) Departed(load->id, Departure::kLate);
  for (const Load::Waiter& waiter : load->waiters) {
    waiter.call->OnLoaded(waiter.index, state, block);
    Settle(waiter.call.get(), &deferred);
  }
  load->waiters.clear();
  load->buffer = PoolBuffer();
}

}  // namespace kvgate::storage
