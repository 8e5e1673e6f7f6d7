// SPDX-License-Identifier: Apache-2.0
//
// What the log asks of its owner when it reclaims a segment.
#include <algorithm>

#include "storage/store_impl.h"
#include "storage/store_recovery.h"

namespace kvgate::storage {

LogOwner::Verdict StoreImpl::JudgeReclaim(uint32_t segment, std::span<const RecordMeta> records,
                                          std::span<const Place> places) {
  (void)segment;
  Verdict verdict;
  absl::MutexLock lock(&mu_);
  pins_.Expire(clock_->Now());
  for (uint32_t i = 0; i < records.size(); ++i) {
    const RecordMeta& record = records[i];
    const std::optional<IndexEntry> entry = index_->Find(BlockIdOf(record));
    if (!entry || entry->version != record.version || entry->place != places[i]) continue;
    if (!Live(*entry)) continue;
    if (pins_.IsPinned(entry->id)) {
      verdict.must.push_back(i);
    } else if (entry->hit) {
      verdict.want.push_back(i);
    }
  }
  // Roots first: without them what lies deeper is out of reach.
  std::stable_sort(verdict.want.begin(), verdict.want.end(), [&records](uint32_t a, uint32_t b) {
    return records[a].depth < records[b].depth;
  });
  Count(counters_.reclaim_judged_total, records.size());
  Count(counters_.reclaim_wanted_total, verdict.want.size());
  Count(counters_.reclaim_pinned_total, verdict.must.size());
  return verdict;
}

void StoreImpl::Moved(const RecordMeta& record, Place from, Place to) {
  absl::MutexLock lock(&mu_);
  index_->SetPlace(BlockIdOf(record), record.version, from, to);
}

void StoreImpl::Forget(uint32_t segment, std::span<const RecordMeta> records,
                       std::span<const Place> places) {
  (void)segment;
  absl::MutexLock lock(&mu_);
  for (size_t i = 0; i < records.size(); ++i) {
    const std::optional<IndexEntry> entry = index_->Find(BlockIdOf(records[i]));
    if (!entry || entry->version != records[i].version || entry->place != places[i]) continue;
    Count(counters_.reclaim_forgotten_total);
    if (entry->memory_slot == kNoMemorySlot) {
      EraseEntry(entry->id, entry->version);
      Departed(entry->id, Departure::kReclaimed);
    } else {
      index_->SetPlace(entry->id, entry->version, places[i], Place{});
      table_.SetWrite(entry->memory_slot, WriteState::kNone);
    }
  }
}

}  // namespace kvgate::storage
