// SPDX-License-Identifier: Apache-2.0
#include "storage/log/kill_ring.h"

#include <algorithm>

namespace kvgate::storage {

KillRing::Key KillRing::KeyOf(const RecordMeta& record, bool all) {
  const uint32_t sibling = all ? kAll : uint32_t{record.group} << 8 | record.shard;
  return {.hash = record.hash, .ns = record.ns, .sibling = sibling};
}

void KillRing::Add(const RecordMeta& record) {
  const bool tombstone = record.type == RecordType::kTombstone;
  if (!tombstone && !record.supersedes) return;
  const uint64_t version = tombstone ? record.version : record.version - 1;
  const Key key = KeyOf(record, tombstone && record.all_siblings);
  absl::MutexLock lock(&mutex_);
  const uint64_t position = position_++;
  Killer& killer = killers_[key];
  killer.version = std::max(killer.version, version);
  killer.position = position;
  events_.push_back({key, version, position});
  if (events_.size() <= capacity_) return;
  const Event gone = events_.front();
  events_.pop_front();
  gone_version_ = std::max(gone_version_, gone.version);
  gone_position_ = gone.position;
  const auto found = killers_.find(gone.key);
  if (found != killers_.end() && found->second.position == gone.position) killers_.erase(found);
}

uint64_t KillRing::position() const {
  absl::MutexLock lock(&mutex_);
  return position_;
}

bool KillRing::Dies(const RecordMeta& value, uint64_t judged_at) const {
  absl::MutexLock lock(&mutex_);
  if (judged_at == 0 ? value.version <= gone_version_ : judged_at <= gone_position_) return true;
  for (const bool all : {false, true}) {
    const auto found = killers_.find(KeyOf(value, all));
    if (found != killers_.end() && value.version <= found->second.version) return true;
  }
  return false;
}

}  // namespace kvgate::storage
