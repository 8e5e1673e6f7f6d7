// SPDX-License-Identifier: Apache-2.0
#include "storage/store_recovery.h"

#include <algorithm>
#include <array>

namespace kvgate::storage {
namespace {

BlockId KeyOf(const BlockId& id) { return {id.ns, id.hash, 0, 0}; }

uint64_t VersionIn(const absl::flat_hash_map<BlockId, uint64_t>& map, const BlockId& id) {
  if (map.empty()) return 0;
  const auto it = map.find(id);
  return it == map.end() ? 0 : it->second;
}

}  // namespace

bool RecoveryMerge::Killed(const BlockId& id, uint64_t version) const {
  return version <= std::max(VersionIn(tombstones_, id), VersionIn(key_tombstones_, KeyOf(id)));
}

void RecoveryMerge::AddTombstone(const RecordMeta& meta) {
  const BlockId id = BlockIdOf(meta);
  uint64_t& version = meta.all_siblings ? key_tombstones_[KeyOf(id)] : tombstones_[id];
  version = std::max(version, meta.version);
  for (const IndexEntry& entry : index_->Siblings(meta.ns, meta.hash)) {
    if (Killed(entry.id, entry.version)) index_->Erase(entry.id, entry.version);
  }
}

void RecoveryMerge::AddValue(const RecoveredRecord& record) {
  const RecordMeta& meta = record.meta;
  IndexEntry entry;
  entry.id = BlockIdOf(meta);
  if (!record.place.valid() || Killed(entry.id, meta.version)) return;
  entry.version = meta.version;
  entry.place = record.place;
  entry.length = meta.length;
  entry.crc = meta.crc;
  entry.expiry_s = meta.expiry_s;
  entry.parent = meta.parent;
  entry.depth = meta.depth;
  switch (index_->Put(entry)) {
    case Index::PutResult::kNew:
    case Index::PutResult::kReplaced:
      break;
    case Index::PutResult::kFull: {
      ++dropped_;
      // An older version must not take its place when there is room again.
      uint64_t& version = tombstones_[entry.id];
      version = std::max(version, meta.version);
      break;
    }
    case Index::PutResult::kOlder: {
      const auto held = index_->Find(entry.id);
      if (held && held->version == meta.version) {
        index_->SetPlace(entry.id, meta.version, held->place, record.place);
      }
      break;
    }
  }
}

void RecoveryMerge::Add(std::span<const RecoveredRecord> records) {
  constexpr size_t kAhead = 64;
  std::array<BlockId, kAhead> ids;
  for (size_t i = 0; i < records.size(); ++i) {
    if (i % kAhead == 0) {
      const size_t count = std::min(kAhead, records.size() - i);
      for (size_t j = 0; j < count; ++j) ids[j] = BlockIdOf(records[i + j].meta);
      index_->Prefetch({ids.data(), count});
    }
    const RecoveredRecord& record = records[i];
    version_max_ = std::max(version_max_, record.meta.version);
    if (record.meta.type == RecordType::kTombstone) {
      AddTombstone(record.meta);
    } else {
      AddValue(record);
    }
  }
}

}  // namespace kvgate::storage
