// SPDX-License-Identifier: Apache-2.0
//
// What is resident: finding, making room, using, leaving.
#include <algorithm>

#include "proto/wire/checksum.h"
#include "storage/base/check.h"
#include "storage/store_impl.h"

namespace kvgate::storage {
namespace {

// A pass over the eviction order frees at least this much, so that blocks which may not leave are
// not walked again for every small value.
constexpr uint64_t kEvictBytesMin = 1 << 20;
constexpr uint64_t kEvictShare = 64;  // of memory
// Reclaim takes a while: it begins when this part of the index is left.
constexpr uint64_t kIndexSpareShare = 16;
// Blocks without a place in the log are few at the cold end, or all of them; no long search.
constexpr uint32_t kUnwrittenStepsMax = 64;
// Ranks that read the same chain drift so far apart. A block that was read once stays so long,
// while what stays for that reason is no more than was read in that time, nor this part of memory.
constexpr absl::Duration kDriftMax = absl::Seconds(1);
constexpr uint64_t kProbationShare = 4;
// A chain is not longer than a Lookup; a cycle of parents would be.
constexpr uint32_t kChainKeysMax = wire::kLookupKeysMax;

}  // namespace

std::optional<IndexEntry> StoreImpl::FindLive(const BlockId& id) {
  std::optional<IndexEntry> entry = index_->Find(id);
  if (entry && !Settled(*entry)) return std::nullopt;
  if (!entry || Live(*entry)) return entry;
  Count(counters_.expired_total);
  Departed(id, Departure::kExpired);
  RemoveEntry(*entry);
  return std::nullopt;
}

void StoreImpl::RemoveEntry(const IndexEntry& entry) {
  if (!EraseEntry(entry.id, entry.version)) return;
  if (entry.memory_slot == kNoMemorySlot) return;
  table_.Remove(entry.memory_slot);
  pins_.Moved(entry.id, /*in_memory=*/false);
}

bool StoreImpl::SameKey(const MemorySlot& slot, const KeyRef& key) const {
  if (!key.text.empty() && !slot.key.empty()) return slot.key == key.text;
  // One of both came by handle: the checksum of namespace and key stands for it.
  const auto length = static_cast<uint64_t>(slot.block->bytes().size());
  return slot.block->prefix_crc() ==
         wire::BlockCrcPrefix(key.crc_of_key, slot.id.group, slot.id.shard, length);
}

bool StoreImpl::MayLeave(const MemorySlot& slot) const {
  // References are only taken under mu_, so 1 cannot become more behind our back.
  return slot.write != WriteState::kQueued && slot.block.use_count() == 1 && !pins_.Keeps(slot.id);
}

bool StoreImpl::FamilyMayLeave(const BlockId& id) const {
  for (const IndexEntry& entry : index_->Siblings(id.ns, id.hash)) {
    if (entry.memory_slot != kNoMemorySlot && !MayLeave(table_.at(entry.memory_slot))) return false;
  }
  return true;
}

void StoreImpl::Evict(uint32_t number) {
  const MemorySlot slot = table_.Remove(number);
  pins_.Moved(slot.id, /*in_memory=*/false);
  Count(counters_.eviction_age_seconds_total, clock_->CacheSeconds() - slot.used_s);
  Count(counters_.evicted_bytes_total, slot.block->bytes().size());
  const std::optional<IndexEntry> entry = index_->Find(slot.id);
  KVGATE_CHECK(entry && entry->memory_slot == number && entry->version == slot.version);
  if (entry->place.valid()) {
    index_->SetMemorySlot(slot.id, slot.version, number, kNoMemorySlot);
    Count(counters_.evictions_to_disk_total);
  } else {
    EraseEntry(slot.id, slot.version);
    Departed(slot.id, Departure::kEvicted);
    Count(counters_.evictions_lost_total);
  }
}

bool StoreImpl::EvictSome(uint64_t bytes) {
  const uint64_t wanted =
      std::max(bytes, std::min(kEvictBytesMin, options_.memory.bytes_max / kEvictShare));
  pins_.Expire(clock_->Now());
  uint64_t freed = 0;
  EvictProbation(wanted, /*early=*/false, &freed);
  if (freed >= wanted) return true;
  std::vector<BlockId> victims;
  uint64_t found = freed;
  const EvictionPolicy& policy = table_.policy();
  for (uint32_t number = policy.First(); number != EvictionPolicy::kNone && found < wanted;
       number = policy.Next(number)) {
    const MemorySlot& slot = table_.at(number);
    if (!MayLeave(slot) || !FamilyMayLeave(slot.id)) continue;
    victims.push_back(slot.id);
    found += slot.block->memory().size();
  }
  for (const BlockId& victim : victims) {
    // Pinned ones leave only until their cap is met; the first victim always leaves.
    if (FamilyMayLeave(victim)) EvictFamily(victim, &freed);
  }
  // Rather than to refuse a block, when the rest of memory has nothing to give.
  if (freed == 0) EvictProbation(wanted, /*early=*/true, &freed);
  return freed > 0;
}

void StoreImpl::EvictFamily(const BlockId& id, uint64_t* freed) {
  for (const IndexEntry& entry : index_->Siblings(id.ns, id.hash)) {
    if (entry.memory_slot == kNoMemorySlot) continue;
    *freed += table_.at(entry.memory_slot).block->memory().size();
    Evict(entry.memory_slot);
  }
}

uint64_t StoreImpl::ProbationBytesMax() const {
  const double read = log_->read_bytes_per_s() * absl::ToDoubleSeconds(kDriftMax);
  const uint64_t share = options_.memory.bytes_max / kProbationShare;
  return static_cast<uint64_t>(std::min(read, static_cast<double>(share)));
}

bool StoreImpl::FamilyIsOnProbationSince(const BlockId& id, absl::Time since) const {
  for (const IndexEntry& entry : index_->Siblings(id.ns, id.hash)) {
    if (entry.memory_slot == kNoMemorySlot) continue;
    const MemorySlot& slot = table_.at(entry.memory_slot);
    if (slot.probation && slot.arrived >= since) return false;
  }
  return true;
}

void StoreImpl::EvictProbation(uint64_t wanted, bool early, uint64_t* freed) {
  if (table_.probation().empty()) return;
  const uint64_t bytes_max = ProbationBytesMax();
  const absl::Time since = clock_->Now() - kDriftMax;
  std::vector<BlockId> victims;
  uint64_t found = 0;
  for (const uint32_t number : table_.probation()) {
    if (found >= wanted) break;
    const MemorySlot& slot = table_.at(number);
    const bool may = early || table_.probation_bytes() - found > bytes_max ||
                     FamilyIsOnProbationSince(slot.id, since);
    // The list is in the order of arrival: what follows is younger.
    if (!may && slot.arrived >= since) break;
    if (!may || !MayLeave(slot) || !FamilyMayLeave(slot.id)) continue;
    victims.push_back(slot.id);
    found += slot.block->memory().size();
  }
  for (const BlockId& victim : victims) {
    if (!FamilyMayLeave(victim)) continue;
    if (!FamilyIsOnProbationSince(victim, since)) Count(counters_.probation_ended_early_total);
    EvictFamily(victim, freed);
  }
}

bool StoreImpl::EvictUnwritten() {
  pins_.Expire(clock_->Now());
  const EvictionPolicy& policy = table_.policy();
  uint32_t number = policy.First();
  for (uint32_t steps = 0; number != EvictionPolicy::kNone && steps < kUnwrittenStepsMax;
       ++steps, number = policy.Next(number)) {
    const BlockId id = table_.at(number).id;
    const std::optional<IndexEntry> entry = index_->Find(id);
    if (entry->place.valid() || !FamilyMayLeave(id)) continue;
    for (const IndexEntry& sibling : index_->Siblings(id.ns, id.hash)) {
      if (sibling.memory_slot != kNoMemorySlot) Evict(sibling.memory_slot);
    }
    return true;
  }
  return false;
}

bool StoreImpl::MakeIndexRoom(Deferred* deferred) {
  const uint64_t max = options_.index_blocks_max;
  if (index_->slots() < max - max / kIndexSpareShare) return true;
  while (index_->slots() >= max && EvictUnwritten()) {
  }
  // A reclaim frees entries of blocks on disk alone. Where most are in memory only, it would empty
  // the disk for little: those give way instead, and the disk when there are none to give.
  const uint64_t held = index_->size();
  const uint64_t on_disk = held - std::min(held, table_.blocks() - table_.written());
  if (log_ != nullptr && (on_disk >= held - on_disk || index_->slots() >= max)) {
    deferred->Add([this] {
      const Gate::Pass pass(log_gate_);
      if (pass) log_->ReclaimSoon();
    });
  }
  return index_->slots() < max;
}

PoolBuffer StoreImpl::AllocateEvicting(uint64_t bytes) {
  PoolBuffer buffer = pool_->Allocate(bytes);
  if (!buffer && bytes > pool_->extent_bytes()) return buffer;
  while (!buffer && EvictSome(bytes)) buffer = pool_->Allocate(bytes);
  return buffer;
}

void StoreImpl::MarkUsed(const IndexEntry& entry) {
  if (entry.memory_slot != kNoMemorySlot) {
    table_.Touch(entry.memory_slot, clock_->CacheSeconds());
    // Within the drift it is the read that brought it here, by another rank.
    const MemorySlot& slot = table_.at(entry.memory_slot);
    if (slot.probation && clock_->Now() - slot.arrived > kDriftMax) {
      table_.Promote(entry.memory_slot);
      Count(counters_.probation_promoted_total);
    }
  }
  index_->MarkHit(entry.id);
  // A hit descendant keeps its ancestors on disk. The walk ends at one that is marked already, so
  // that repeated hits cost one step.
  BlockId id = entry.id;
  wire::Hash128 parent = entry.parent;
  for (uint32_t steps = 0; !parent.zero() && steps < kChainKeysMax; ++steps) {
    id.hash = parent;
    const std::optional<IndexEntry> ancestor = index_->Find(id);
    if (!ancestor || ancestor->hit) return;
    index_->MarkHit(id);
    parent = ancestor->parent;
  }
}

void StoreImpl::TouchOne(const Namespace& ns, const wire::Hash128& hash, uint8_t group) {
  const uint32_t now_s = clock_->CacheSeconds();
  BlockId id{ns.info.id, hash, group, 0};
  for (uint32_t shard = 0; shard < ns.shards; ++shard) {
    id.shard = static_cast<uint8_t>(shard);
    const std::optional<IndexEntry> entry = index_->Find(id);
    if (entry && entry->memory_slot != kNoMemorySlot) table_.Touch(entry->memory_slot, now_s);
  }
}

bool StoreImpl::TouchChain(const Namespace& ns, const wire::Hash128& last, uint8_t group,
                           RequestUse* use) {
  const uint32_t now_s = clock_->CacheSeconds();
  bool found = false;
  BlockId id{ns.info.id, last, group, 0};
  for (uint32_t steps = 0; !id.hash.zero() && steps < kChainKeysMax; ++steps) {
    wire::Hash128 parent;
    bool held = false;
    for (uint32_t shard = 0; shard < ns.shards; ++shard) {
      id.shard = static_cast<uint8_t>(shard);
      const std::optional<IndexEntry> entry = index_->Find(id);
      if (!entry) continue;
      held = true;
      parent = entry->parent;
      if (entry->memory_slot != kNoMemorySlot) table_.Touch(entry->memory_slot, now_s);
      index_->MarkHit(id);
      if (use != nullptr) use->bytes += entry->length;
    }
    if (!held) break;
    if (use != nullptr) ++use->blocks;
    if (steps == 0) found = true;
    id.hash = parent;
  }
  return found;
}

}  // namespace kvgate::storage
