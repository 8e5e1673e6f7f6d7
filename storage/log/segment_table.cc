// SPDX-License-Identifier: Apache-2.0
#include "storage/log/segment_table.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "storage/base/check.h"

namespace kvgate::storage {

SegmentTable::SegmentTable(const std::vector<uint32_t>& segments_a_device) {
  for (uint32_t count : segments_a_device) segments_.emplace_back(count);
  free_.resize(segments_.size());
}

SegmentInfo& SegmentTable::At(SegmentId id) {
  KVGATE_CHECK(id.device < segments_.size() && id.local < segments_[id.device].size());
  return segments_[id.device][id.local];
}

const SegmentInfo& SegmentTable::At(SegmentId id) const {
  KVGATE_CHECK(id.device < segments_.size() && id.local < segments_[id.device].size());
  return segments_[id.device][id.local];
}

void SegmentTable::Restore(SegmentId id, const SegmentInfo& info) {
  absl::MutexLock lock(&mutex_);
  At(id) = info;
  sequence_max_ = std::max(sequence_max_, info.sequence);
}

void SegmentTable::FinishRestore() {
  absl::MutexLock lock(&mutex_);
  for (size_t device = 0; device < segments_.size(); ++device) {
    std::deque<uint32_t>& list = free_[device];
    list.clear();
    for (uint32_t i = 0; i < segments_[device].size(); ++i) {
      if (segments_[device][i].state == SegmentState::kFree) list.push_back(i);
    }
    const std::vector<SegmentInfo>& infos = segments_[device];
    std::stable_sort(list.begin(), list.end(),
                     [&infos](uint32_t a, uint32_t b) { return infos[a].lap < infos[b].lap; });
  }
  ++changes_;
}

std::optional<std::pair<SegmentId, SegmentInfo>> SegmentTable::TakeFree(uint32_t device,
                                                                        uint32_t keep_free) {
  absl::MutexLock lock(&mutex_);
  std::deque<uint32_t>& list = free_[device];
  if (list.size() <= keep_free) return std::nullopt;
  const SegmentId id{.device = device, .local = list.front()};
  list.pop_front();
  SegmentInfo& info = At(id);
  KVGATE_CHECK(info.state == SegmentState::kFree && info.sequence == 0);
  info.state = SegmentState::kOpen;
  info.sequence = ++sequence_max_;
  ++changes_;
  return std::pair(id, info);
}

void SegmentTable::BeginSeal(SegmentId id) {
  absl::MutexLock lock(&mutex_);
  KVGATE_CHECK(At(id).state == SegmentState::kOpen);
  At(id).state = SegmentState::kSealing;
}

void SegmentTable::EndSeal(SegmentId id, uint32_t records, uint32_t tombstones) {
  absl::MutexLock lock(&mutex_);
  KVGATE_CHECK(At(id).state == SegmentState::kSealing);
  At(id).state = SegmentState::kSealed;
  At(id).records = records;
  At(id).tombstones = tombstones;
  ++changes_;
}

void SegmentTable::Close(SegmentId id) {
  absl::MutexLock lock(&mutex_);
  KVGATE_CHECK(At(id).state == SegmentState::kSealed);
  At(id).state = SegmentState::kClosing;
}

bool SegmentTable::Idle(SegmentId id) const {
  absl::MutexLock lock(&mutex_);
  return At(id).reads_in_flight == 0;
}

void SegmentTable::Free(SegmentId id, uint64_t lap) {
  absl::MutexLock lock(&mutex_);
  SegmentInfo& info = At(id);
  KVGATE_CHECK(info.state == SegmentState::kClosing && info.reads_in_flight == 0);
  info = {.state = SegmentState::kFree, .lap = lap};
  free_[id.device].push_back(id.local);
  ++changes_;
}

void SegmentTable::SetCopies(SegmentId id, bool copies) {
  absl::MutexLock lock(&mutex_);
  At(id).copies = copies;
}

void SegmentTable::ClearCopies() {
  absl::MutexLock lock(&mutex_);
  for (auto& device : segments_) {
    for (SegmentInfo& info : device) info.copies = false;
  }
}

std::vector<SegmentId> SegmentTable::SealedCopies() const {
  absl::MutexLock lock(&mutex_);
  std::vector<SegmentId> out;
  for (uint32_t device = 0; device < segments_.size(); ++device) {
    for (uint32_t i = 0; i < segments_[device].size(); ++i) {
      const SegmentInfo& info = segments_[device][i];
      if (info.copies && info.state == SegmentState::kSealed) out.push_back({device, i});
    }
  }
  return out;
}

absl::StatusOr<uint64_t> SegmentTable::BeginRead(uint32_t global) {
  const SegmentId id = SegmentId::Of(global);
  absl::MutexLock lock(&mutex_);
  if (id.device >= segments_.size() || id.local >= segments_[id.device].size()) {
    return absl::InvalidArgumentError(absl::StrCat("no segment ", global));
  }
  SegmentInfo& info = At(id);
  if (info.state == SegmentState::kFree || info.state == SegmentState::kClosing) {
    return absl::AbortedError(absl::StrCat("segment ", global, " was reclaimed"));
  }
  ++info.reads_in_flight;
  return info.lap;
}

bool SegmentTable::EndRead(uint32_t global, uint64_t lap) {
  absl::MutexLock lock(&mutex_);
  SegmentInfo& info = At(SegmentId::Of(global));
  KVGATE_CHECK(info.reads_in_flight > 0);
  if (--info.reads_in_flight == 0 && info.state == SegmentState::kClosing) ++changes_;
  return info.lap == lap && info.state != SegmentState::kFree;
}

std::optional<SegmentInfo> SegmentTable::Get(SegmentId id) const {
  absl::MutexLock lock(&mutex_);
  if (id.device >= segments_.size() || id.local >= segments_[id.device].size()) return std::nullopt;
  return At(id);
}

std::optional<std::pair<SegmentId, SegmentInfo>> SegmentTable::OldestSealed(uint32_t device) const {
  absl::MutexLock lock(&mutex_);
  std::optional<std::pair<SegmentId, SegmentInfo>> oldest;
  for (uint32_t i = 0; i < segments_[device].size(); ++i) {
    const SegmentInfo& info = segments_[device][i];
    if (info.state != SegmentState::kSealed) continue;
    const auto rank = [](const SegmentInfo& of) { return std::pair(of.records != 0, of.sequence); };
    if (!oldest || rank(info) < rank(oldest->second)) {
      oldest = {{.device = device, .local = i}, info};
    }
  }
  return oldest;
}

std::vector<SegmentId> SegmentTable::Closing(uint32_t device) const {
  absl::MutexLock lock(&mutex_);
  std::vector<SegmentId> out;
  for (uint32_t i = 0; i < segments_[device].size(); ++i) {
    if (segments_[device][i].state == SegmentState::kClosing) {
      out.push_back({.device = device, .local = i});
    }
  }
  return out;
}

uint32_t SegmentTable::FreeCount(uint32_t device) const {
  absl::MutexLock lock(&mutex_);
  return static_cast<uint32_t>(free_[device].size());
}

uint32_t SegmentTable::CountIn(SegmentState state) const {
  absl::MutexLock lock(&mutex_);
  uint32_t count = 0;
  for (const auto& device : segments_) {
    for (const SegmentInfo& info : device) count += info.state == state;
  }
  return count;
}

uint64_t SegmentTable::Tombstones() const {
  absl::MutexLock lock(&mutex_);
  uint64_t count = 0;
  for (const auto& device : segments_) {
    for (const SegmentInfo& info : device) count += info.tombstones;
  }
  return count;
}

uint64_t SegmentTable::MinLiveSequence(SegmentId except) const {
  absl::MutexLock lock(&mutex_);
  uint64_t lowest = std::numeric_limits<uint64_t>::max();
  for (uint32_t device = 0; device < segments_.size(); ++device) {
    for (uint32_t i = 0; i < segments_[device].size(); ++i) {
      const SegmentInfo& info = segments_[device][i];
      if (info.state == SegmentState::kFree || (except.device == device && except.local == i)) {
        continue;
      }
      lowest = std::min(lowest, info.sequence);
    }
  }
  return lowest;
}

uint64_t SegmentTable::sequence_max() const {
  absl::MutexLock lock(&mutex_);
  return sequence_max_;
}

void SegmentTable::RaiseSequence(uint64_t sequence) {
  absl::MutexLock lock(&mutex_);
  sequence_max_ = std::max(sequence_max_, sequence);
}

uint64_t SegmentTable::changes() const {
  absl::MutexLock lock(&mutex_);
  return changes_;
}

void SegmentTable::WaitForChange(uint64_t seen, absl::Duration timeout) const {
  absl::MutexLock lock(&mutex_);
  const auto changed = [this, seen]()
                           ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return changes_ > seen; };
  mutex_.AwaitWithTimeout(absl::Condition(&changed), timeout);
}

void SegmentTable::Wake() {
  absl::MutexLock lock(&mutex_);
  ++changes_;
}

}  // namespace kvgate::storage
