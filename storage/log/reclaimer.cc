// SPDX-License-Identifier: Apache-2.0
#include "storage/log/reclaimer.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "storage/base/thread_name.h"
#include "storage/log/segment_reader.h"

namespace kvgate::storage {

namespace {

constexpr size_t kBudgetSegments = 16;
constexpr uint64_t kCopiesInFlightBytes = 16 << 20;
constexpr absl::Duration kIdlePoll = absl::Milliseconds(200);
constexpr absl::Duration kRetryAfter = absl::Milliseconds(50);

}  // namespace

// Appends of one reclaim, and how they ended. Shared with callbacks on other threads.
struct Reclaimer::Copies {
  struct Ended {
    uint32_t record;
    absl::StatusOr<Place> place;
  };
  struct State {
    absl::Mutex mutex;
    uint64_t bytes_in_flight ABSL_GUARDED_BY(mutex) = 0;
    uint64_t appends_in_flight ABSL_GUARDED_BY(mutex) = 0;
    std::vector<Ended> values ABSL_GUARDED_BY(mutex);
    absl::Status tombstones ABSL_GUARDED_BY(mutex);
  };
  std::shared_ptr<State> state = std::make_shared<State>();
  uint64_t value_bytes = 0;

  void Begin(uint64_t bytes) {
    absl::MutexLock lock(&state->mutex);
    const auto room = [this]() ABSL_SHARED_LOCKS_REQUIRED(state->mutex) {
      return state->bytes_in_flight < kCopiesInFlightBytes;
    };
    state->mutex.Await(absl::Condition(&room));
    state->bytes_in_flight += bytes;
    state->appends_in_flight++;
  }
  // All appends ended; an error when a tombstone was not written.
  absl::Status Wait() {
    absl::MutexLock lock(&state->mutex);
    const auto idle = [this]() ABSL_SHARED_LOCKS_REQUIRED(state->mutex) {
      return state->appends_in_flight == 0;
    };
    state->mutex.Await(absl::Condition(&idle));
    return state->tombstones;
  }
};

void Reclaimer::Start() { thread_ = std::thread(&Reclaimer::Run, this); }

void Reclaimer::Stop() {
  stop_ = true;
  context_->table.Wake();
  if (thread_.joinable()) thread_.join();
}

void Reclaimer::Ask() {
  if (!asked_.exchange(true)) context_->table.Wake();
}

bool Reclaimer::NeedsSpace(uint32_t device) const {
  return context_->table.FreeCount(device) < FreeTarget(context_->device(device).segments);
}

void Reclaimer::Run() {
  SetThreadName("kv-log-reclaim");
  while (!stop_) {
    const uint64_t seen = context_->table.changes();
    bool moved = false;
    for (uint32_t device = 0; device < context_->set.devices.size() && !stop_; ++device) {
      if (NeedsSpace(device) || !context_->table.Closing(device).empty()) {
        moved = Work(device) || moved;
      }
    }
    if (!stop_ && asked_.exchange(false)) moved = WorkAsked() || moved;
    if (!moved && !stop_) context_->table.WaitForChange(seen, kIdlePoll);
  }
}

bool Reclaimer::FinishAllClosing(uint32_t device, absl::Status* status) {
  bool moved = false;
  for (const SegmentId id : context_->table.Closing(device)) {
    if (!context_->table.Idle(id)) continue;
    const absl::Status finished = FinishClosing(id);
    moved = finished.ok() || moved;
    status->Update(finished);
  }
  return moved;
}

void Reclaimer::Failed(uint32_t device) {
  context_->counters.reclaim_failures++;
  if (context_->table.FreeCount(device) <= 1) writer_->Poke(true);
  // Not a spin: what failed will still fail in a microsecond.
  context_->table.WaitForChange(context_->table.changes(), kRetryAfter);
}

bool Reclaimer::WorkAsked() {
  std::optional<std::pair<SegmentId, SegmentInfo>> victim;
  for (uint32_t device = 0; device < context_->set.devices.size(); ++device) {
    if (context_->device(device).health.offline()) continue;
    const auto oldest = context_->table.OldestSealed(device);
    if (oldest && (!victim || oldest->second.sequence < victim->second.sequence)) victim = oldest;
  }
  if (!victim) {
    // One that is being sealed or emptied will do for the next ask.
    if (context_->table.CountIn(SegmentState::kSealing) +
            context_->table.CountIn(SegmentState::kClosing) ==
        0) {
      writer_->SealSoon();
    }
    return false;
  }
  context_->counters.reclaims_asked++;
  if (Reclaim(victim->first, victim->second).ok()) return true;
  Failed(victim->first.device);
  return false;
}

bool Reclaimer::Work(uint32_t device) {
  absl::Status status;
  const bool moved = FinishAllClosing(device, &status);
  if (status.ok()) {
    if (!NeedsSpace(device) || context_->device(device).health.offline()) return moved;
    const auto victim = context_->table.OldestSealed(device);
    if (!victim) return moved;
    status = Reclaim(victim->first, victim->second);
    if (status.ok()) return true;
  }
  // A disk that takes no writes frees nothing: emptying more segments would only lose records.
  Failed(device);
  return moved;
}

absl::StatusOr<Reclaimer::Victim> Reclaimer::Load(SegmentId id, const SegmentInfo& info) {
  Victim victim{.id = id, .info = info};
  const LogDevice& device = context_->device(id.device);
  victim.set_sequence_max = context_->table.sequence_max();
  absl::StatusOr<Footer> footer = ReadFooter(device, id.local);
  if (footer.ok() && footer->info.lap == info.lap) {
    victim.records = std::move(footer->records);
    victim.set_sequence_max = footer->info.marks.sequence_max;
  } else {
    context_->counters.corrupt_footers++;
    absl::StatusOr<WalkEnd> end = WalkSegment(device, id.local, info.lap, [&](const Batch& batch) {
      victim.records.insert(victim.records.end(), batch.records.begin(), batch.records.end());
      victim.keys.insert(victim.keys.end(), batch.keys.begin(), batch.keys.end());
      return true;
    });
    if (!end.ok()) return end.status();
    victim.keys_known = true;
  }
  for (uint32_t i = 0; i < victim.records.size(); ++i) {
    if (victim.records[i].meta.type == RecordType::kValue) victim.values.push_back(i);
  }
  return victim;
}

// Keys stand only in the batch headers.
void Reclaimer::LoadKeys(Victim* victim) {
  if (victim->keys_known) return;
  victim->keys_known = true;
  victim->keys.resize(victim->records.size());
  std::map<uint16_t, uint32_t> by_page;
  for (uint32_t i : victim->values) by_page[victim->records[i].first_page] = i;
  const absl::Status walked =
      WalkSegment(context_->device(victim->id.device), victim->id.local, victim->info.lap,
                  [&](const Batch& batch) {
                    for (size_t i = 0; i < batch.records.size(); ++i) {
                      const auto found = by_page.find(batch.records[i].first_page);
                      if (batch.records[i].first_page == 0 || found == by_page.end()) continue;
                      if (victim->records[found->second].meta.hash == batch.records[i].meta.hash) {
                        victim->keys[found->second] = batch.keys[i];
                      }
                    }
                    return true;
                  })
          .status();
  // What was not reached has no key, and then fails its checksum.
  if (!walked.ok()) context_->counters.reclaim_failures++;
}

bool Reclaimer::CopyValue(Victim* victim, uint32_t index, Copies* copies) {
  const LogRecord& record = victim->records[index];
  const auto ns = context_->namespaces.Find(record.meta.ns);
  if (!ns) return false;
  LoadKeys(victim);
  auto buffer = std::make_shared<AlignedBuffer>();
  const absl::Status read =
      ReadVerified(context_->device(victim->id.device), victim->id.local, record,
                   victim->keys[index], ns->ns_digest, IoClass::kReinsert, buffer.get());
  if (!read.ok()) {
    (absl::IsDataLoss(read) ? context_->counters.corrupt_records
                            : context_->counters.read_errors)++;
    context_->TellDroppedCopy({victim->id.global(), record.first_page}, read);
    return false;
  }
  const uint64_t bytes = AlignToPage(record.meta.length);
  copies->Begin(bytes);
  copies->value_bytes += record.meta.length;
  WriteItem item{.charge = bytes + kPageBytes, .judged_at = victim->judged_at};
  item.request = {.meta = record.meta,
                  .key = victim->keys[index],
                  .payload = buffer->data(),
                  .device_durable = true};
  item.request.done = [state = copies->state, buffer, bytes, index](absl::StatusOr<Place> place) {
    absl::MutexLock lock(&state->mutex);
    state->bytes_in_flight -= bytes;
    state->appends_in_flight--;
    state->values.push_back({index, std::move(place)});
  };
  writer_->AppendAgain(std::move(item));
  return true;
}

void Reclaimer::CopyValues(Victim* victim, const LogOwner::Verdict& verdict, Copies* copies,
                           std::vector<bool>* copied) {
  const auto copy = [&](uint32_t value) {
    if (value >= victim->values.size()) return;
    const uint32_t index = victim->values[value];
    if ((*copied)[index]) return;
    (*copied)[index] = CopyValue(victim, index, copies);
  };
  for (uint32_t value : verdict.must) {
    if (!stop_) copy(value);
  }
  const uint64_t spent = std::accumulate(reinserted_.begin(), reinserted_.end(), uint64_t{0});
  const auto budget = static_cast<uint64_t>(context_->options.reinsert_share_max *
                                            static_cast<double>(context_->set.segment_bytes) *
                                            static_cast<double>(reinserted_.size() + 1));
  uint64_t wanted = 0;
  for (uint32_t value : verdict.want) {
    if (value >= victim->values.size() || stop_) continue;
    const uint64_t bytes = victim->records[victim->values[value]].meta.length;
    if (spent + wanted + bytes > budget) break;
    wanted += bytes;
    copy(value);
  }
  reinserted_.push_back(wanted);
  if (reinserted_.size() >= kBudgetSegments) reinserted_.pop_front();
}

void Reclaimer::AppendTombstone(const RecordMeta& meta, Copies* copies) {
  copies->Begin(kPageBytes);
  WriteItem item{.charge = 512};
  item.request = {.meta = meta, .key = {}, .payload = nullptr, .device_durable = true};
  item.request.done = [state = copies->state](const absl::StatusOr<Place>& place) {
    absl::MutexLock lock(&state->mutex);
    state->bytes_in_flight -= kPageBytes;
    state->appends_in_flight--;
    state->tombstones.Update(place.status());
  };
  writer_->AppendAgain(std::move(item));
}

void Reclaimer::CopyTombstones(const Victim& victim, Copies* copies) {
  const uint64_t oldest = context_->table.MinLiveSequence(victim.id);
  for (const LogRecord& record : victim.records) {
    if (record.meta.type != RecordType::kTombstone) continue;
    if (record.meta.birth_seq < oldest) {
      context_->counters.dropped_tombstones++;
      continue;
    }
    context_->counters.reemitted_tombstones++;
    AppendTombstone(record.meta, copies);
  }
}

void Reclaimer::EndSuperseding(const Victim& victim, const std::vector<bool>& copied,
                               Copies* copies) {
  // What it superseded was placed before the seal, so in a segment up to set_sequence_max.
  if (victim.set_sequence_max < context_->table.MinLiveSequence(victim.id)) return;
  for (uint32_t index : victim.values) {
    RecordMeta meta = victim.records[index].meta;
    if (!meta.supersedes || copied[index] || meta.version <= 1) continue;
    meta.type = RecordType::kTombstone;
    meta.version -= 1;
    meta.supersedes = false;
    meta.birth_seq = victim.set_sequence_max;
    AppendTombstone(meta, copies);
  }
}

absl::Status Reclaimer::WriteAgain(Victim* victim, const LogOwner::Verdict& verdict,
                                   std::vector<bool>* copied) {
  Copies copies;
  CopyTombstones(*victim, &copies);
  if (absl::Status s = copies.Wait(); !s.ok()) return s;
  CopyValues(victim, verdict, &copies, copied);
  if (absl::Status s = copies.Wait(); !s.ok()) return s;
  std::vector<Copies::Ended> ended;
  {
    absl::MutexLock lock(&copies.state->mutex);
    ended = std::move(copies.state->values);
  }
  for (const Copies::Ended& one : ended) {
    if (!one.place.ok()) (*copied)[one.record] = false;
  }
  EndSuperseding(*victim, *copied, &copies);
  if (absl::Status s = copies.Wait(); !s.ok()) return s;
  if (stop_) return absl::CancelledError("the log is closing");

  context_->table.ClearCopies();
  for (const Copies::Ended& one : ended) {
    if (!one.place.ok()) continue;
    context_->counters.reinserted_records++;
    const LogRecord& record = victim->records[one.record];
    const Place from{.segment = victim->id.global(), .first_page = record.first_page};
    context_->owner->Moved(record.meta, from, *one.place);
  }
  return absl::OkStatus();
}

absl::Status Reclaimer::Reclaim(SegmentId id, const SegmentInfo& info) {
  const uint64_t position = context_->ring.position();
  absl::StatusOr<Victim> victim = Load(id, info);
  if (!victim.ok()) return victim.status();
  victim->judged_at = position;
  std::vector<RecordMeta> metas;
  std::vector<Place> places;
  for (uint32_t index : victim->values) {
    metas.push_back(victim->records[index].meta);
    places.push_back({.segment = id.global(), .first_page = victim->records[index].first_page});
  }
  LogOwner::Verdict verdict;
  if (!metas.empty()) verdict = context_->owner->JudgeReclaim(id.global(), metas, places);
  std::vector<bool> copied(victim->records.size(), false);
  if (absl::Status s = WriteAgain(&*victim, verdict, &copied); !s.ok()) {
    ThrowAwayCopies();
    return s;
  }
  if (!metas.empty()) context_->owner->Forget(id.global(), metas, places);
  context_->counters.dropped_records +=
      victim->values.size() - static_cast<size_t>(std::count(copied.begin(), copied.end(), true));
  context_->table.Close(id);
  if (!context_->table.Idle(id)) return absl::OkStatus();
  return FinishClosing(id);
}

// Nobody was told of them, and what they copy is still there.
void Reclaimer::ThrowAwayCopies() {
  for (const SegmentId id : context_->table.SealedCopies()) {
    context_->table.Close(id);
    // A failure leaves it closing, for the next round.
    if (!FinishClosing(id).ok()) context_->counters.reclaim_failures++;
  }
}

absl::Status Reclaimer::FinishClosing(SegmentId id) {
  const LogDevice& device = context_->device(id.device);
  const uint64_t lap = context_->table.Get(id)->lap + 1;
  const SegmentHeader header{.device_uuid = device.uuid,
                             .segment = id.local,
                             .lap = lap,
                             .incarnation = context_->incarnation,
                             .marks = context_->Marks()};
  absl::Status status = WriteSegmentHeader(device, header);
  if (status.ok()) status = EraseFooter(device, id.local);
  if (status.ok()) status = device.disk->SyncSync();
  context_->Report(context_->device(id.device), DeviceHealth::Use::kWrite, status);
  if (!status.ok()) return status;
  context_->counters.header_bytes += 2 * kPageBytes;
  context_->counters.syncs++;
  if (context_->checkpoint != nullptr) {
    // A record that stays is told by its lap; the failure is counted in rocksdb_errors.
    (void)context_->checkpoint->DeleteSegment(id.device, id.local).ok();
  }
  context_->table.Free(id, lap);
  context_->counters.reclaimed_segments++;
  writer_->Poke();
  return absl::OkStatus();
}

}  // namespace kvgate::storage
