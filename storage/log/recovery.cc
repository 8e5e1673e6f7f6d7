// SPDX-License-Identifier: Apache-2.0
#include "storage/log/recovery.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/wire/error_id.h"
#include "storage/log/sealer.h"
#include "storage/log/segment_reader.h"

namespace kvgate::storage {

namespace {

constexpr uint64_t kWallGapMax = 30ull * 24 * 3600;
constexpr uint64_t kWallStepBackMax = 60;  // seconds
// More segments of a device were never open at once, and twice as many, to be sure.
constexpr size_t kOpenAtOnce = 4, kYoungest = 2 * kOpenAtOnce;

// A sector that cannot be read is as good as a rotten one, as long as others can be.
bool IsDamage(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsUnavailable(status);
}

uint32_t Tombstones(const std::vector<LogRecord>& records) {
  return static_cast<uint32_t>(std::count_if(records.begin(), records.end(), [](const auto& r) {
    return r.meta.type == RecordType::kTombstone;
  }));
}

}  // namespace

void Recovery::Learn(const SetMarks& marks) {
  context_->table.RaiseSequence(marks.sequence_max);
  context_->RaiseVersion(marks.version_max);
  context_->namespaces.RaiseId(marks.namespace_id_max);
  if (marks.anchor.cache_s >= anchor_.cache_s) anchor_ = marks.anchor;
}

absl::Status Recovery::LearnNamespace(const NamespaceRef& ref) {
  absl::Status status = context_->namespaces.Learn(ref);
  if (status.ok()) return status;
  return absl::FailedPreconditionError(
      wire::Tagged(wire::ErrorId::kCheckpointOfAnotherSet,
                   absl::StrCat(status.message(),
                                ": the disks and the checkpoint do not belong together; remove "
                                "the checkpoint directory and start again")));
}

absl::Status Recovery::ReadHeader(SegmentId id, Header* out) {
  const LogDevice& device = context_->device(id.device);
  absl::StatusOr<SegmentHeader> header = ReadSegmentHeader(device, id.local);
  if (absl::IsUnavailable(header.status())) header = ReadSegmentHeader(device, id.local);
  if (!header.ok()) {
    if (!IsDamage(header.status())) return header.status();
    context_->counters.corrupt_headers++;
    ++corrupt_headers_;
    return absl::OkStatus();
  }
  *out = {.intact = true, .lap = header->lap};
  lap_max_ = std::max(lap_max_, header->lap);
  Learn(header->marks);
  // Whatever is wrong with the first batch is met again, and told, where the segment is read whole.
  absl::StatusOr<Batch> first = ReadBatch(device, id.local, 1);
  if (first.ok() && first->info.lap == header->lap) {
    out->sequence = first->info.sequence;
    Learn(first->info.marks);
  }
  return absl::OkStatus();
}

absl::Status Recovery::ReadHeaders() {
  for (const auto& device : context_->set.devices) {
    std::vector<Header>& headers = headers_.emplace_back(device->segments);
    for (uint32_t i = 0; i < device->segments; ++i) {
      if (absl::Status s = ReadHeader({device->ordinal, i}, &headers[i]); !s.ok()) return s;
    }
  }
  return absl::OkStatus();
}

absl::Status Recovery::LoadNamespaces() {
  if (context_->checkpoint == nullptr) return absl::OkStatus();
  std::vector<NamespaceRecord> namespaces;
  if (absl::Status s = context_->checkpoint->Namespaces(&namespaces); !s.ok()) {
    if (s = EmptyCheckpoint(s); !s.ok()) return s;
  }
  for (const NamespaceRecord& record : namespaces) {
    if (absl::Status s = context_->namespaces.Put(record); !s.ok()) return s;
  }
  return absl::OkStatus();
}

// The footers have all that it had, but for identities and aliases.
absl::Status Recovery::EmptyCheckpoint(const absl::Status& why) {
  context_->counters.rocksdb_errors++;
  context_->TellCheckpoint(
      EventLevel::kWarning,
      absl::StrCat("the checkpoint could not be read and was emptied: ", why.message()));
  return context_->checkpoint->Empty();
}

absl::StatusOr<std::optional<std::string>> Recovery::FromCheckpoint(SegmentId id) {
  if (context_->checkpoint == nullptr) return std::optional<std::string>();
  absl::StatusOr<std::string> image = context_->checkpoint->Segment(id.device, id.local);
  if (image.ok()) return std::optional<std::string>(*std::move(image));
  if (absl::IsNotFound(image.status())) return std::optional<std::string>();
  if (absl::Status s = EmptyCheckpoint(image.status()); !s.ok()) return s;
  return std::optional<std::string>();
}

absl::Status Recovery::Accept(SegmentId id, const Footer& footer) {
  for (const NamespaceRef& ref : footer.namespaces) {
    if (absl::Status s = LearnNamespace(ref); !s.ok()) return s;
  }
  Learn(footer.info.marks);
  lap_max_ = std::max(lap_max_, footer.info.lap);
  batch_seq_max_ = std::max(batch_seq_max_, footer.info.last_batch_seq);
  context_->table.Restore(id, {.state = SegmentState::kSealed,
                               .lap = footer.info.lap,
                               .sequence = footer.info.sequence,
                               .records = static_cast<uint32_t>(footer.records.size()),
                               .tombstones = Tombstones(footer.records)});
  found_.push_back(
      {.id = id, .sequence = footer.info.sequence, .lap = footer.info.lap, .records = {}});
  std::vector<RecoveredRecord>& found = found_.back().records;
  found.reserve(footer.records.size());
  for (const LogRecord& record : footer.records) {
    context_->RaiseVersion(record.meta.version);
    found.push_back(
        {.meta = record.meta, .place = {.segment = id.global(), .first_page = record.first_page}});
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Recovery::FromFooter(SegmentId id, const Header& header) {
  const LogDevice& device = context_->device(id.device);
  absl::StatusOr<std::optional<std::string>> image = std::optional<std::string>();
  if (header.intact) image = FromCheckpoint(id);
  if (!image.ok()) return image.status();
  if (*image) {
    absl::StatusOr<Footer> copy = DecodeFooterImage(**image);
    if (copy.ok() && CheckFooterPlace(*copy, device, id.local).ok() &&
        copy->info.lap == header.lap) {
      if (absl::Status s = Accept(id, *copy); !s.ok()) return s;
      return true;
    }
    if (absl::IsFailedPrecondition(copy.status())) return copy.status();
  }
  absl::StatusOr<Footer> footer = ReadFooter(device, id.local);
  if (!footer.ok()) {
    // Neither end of the segment can be read: that is the device, not a sector.
    if (absl::IsDataLoss(footer.status()) || (header.intact && IsDamage(footer.status()))) {
      return false;
    }
    return footer.status();
  }
  if (header.intact && footer->info.lap != header.lap) return false;
  if (absl::Status s = Accept(id, *footer); !s.ok()) return s;
  if (!header.intact) {
    // The footer is whole, so no reclaim had ended: the header was rotten, or torn by one that was
    // only beginning.
    const SegmentHeader restored{.device_uuid = device.uuid,
                                 .segment = id.local,
                                 .lap = footer->info.lap,
                                 .incarnation = context_->incarnation,
                                 .marks = footer->info.marks};
    if (absl::Status s = WriteSegmentHeader(device, restored); !s.ok()) return s;
  }
  if (absl::Status s = RestoreToCheckpoint(id, *footer); !s.ok()) return s;
  return true;
}

absl::Status Recovery::FromWalk(SegmentId id, const Header& header) {
  const LogDevice& device = context_->device(id.device);
  FooterBuilder builder;
  std::vector<RecoveredRecord> found;
  AlignedBuffer buffer;
  absl::Status failure;
  absl::StatusOr<WalkEnd> end = WalkSegment(device, id.local, header.lap, [&](const Batch& batch) {
    failure = WalkBatch(id, batch, &builder, &found, &buffer);
    return failure.ok();
  });
  if (!end.ok()) return end.status();
  if (!failure.ok()) return failure;
  if (end->batches == 0) {
    context_->table.Restore(id, {.state = SegmentState::kFree, .lap = header.lap});
    return absl::OkStatus();
  }
  batch_seq_max_ = std::max(batch_seq_max_, end->last_batch_seq);
  context_->table.Restore(id, {.state = SegmentState::kSealed,
                               .lap = header.lap,
                               .sequence = end->sequence,
                               .records = static_cast<uint32_t>(builder.records()),
                               .tombstones = builder.tombstones()});
  walked_.push_back({.id = id,
                     .info = {.device_uuid = device.uuid,
                              .segment = id.local,
                              .data_pages = end->next_page,
                              .lap = header.lap,
                              .sequence = end->sequence,
                              .last_batch_seq = end->last_batch_seq,
                              .incarnation = end->incarnation},
                     .builder = std::move(builder)});
  found_.push_back(
      {.id = id, .sequence = end->sequence, .lap = header.lap, .records = std::move(found)});
  return absl::OkStatus();
}

// Takes what is good in one batch: entries are proven by the header's checksum, values only by
// their own.
absl::Status Recovery::WalkBatch(SegmentId id, const Batch& batch, FooterBuilder* builder,
                                 std::vector<RecoveredRecord>* found, AlignedBuffer* buffer) {
  if (absl::Status s = LearnNamespace(batch.ns); !s.ok()) return s;
  Learn(batch.info.marks);
  const wire::NsDigest ns_digest = context_->namespaces.Find(batch.ns.id)->ns_digest;
  const LogDevice& device = context_->device(id.device);
  const uint32_t payload_page = batch.info.first_page + batch.info.header_pages;
  const bool together = ReadPayloads(device, id.local, batch, buffer);
  bool torn = false;
  for (size_t i = 0; i < batch.records.size(); ++i) {
    const LogRecord& record = batch.records[i];
    context_->RaiseVersion(record.meta.version);
    if (record.meta.type == RecordType::kValue) {
      const uint32_t at = record.first_page - payload_page;
      const absl::Status status =
          together ? VerifyPayload(device, id.local, record, batch.keys[i], ns_digest,
                                   buffer->span().subspan(uint64_t{at} * kPageBytes,
                                                          AlignToPage(record.meta.length)))
                   : ReadVerified(device, id.local, record, batch.keys[i], ns_digest,
                                  IoClass::kRead, buffer);
      if (!status.ok()) {
        if (!IsDamage(status)) return status;
        torn = true;
        context_->counters.torn_records++;
        ++torn_records_;
        continue;
      }
    }
    builder->Add(batch.ns, record.meta, record.first_page);
    found->push_back(
        {.meta = record.meta, .place = {.segment = id.global(), .first_page = record.first_page}});
  }
  if (torn) context_->counters.torn_batches++;
  return absl::OkStatus();
}

absl::Status Recovery::RecoverSegment(SegmentId id) {
  const Header& header = headers_[id.device][id.local];
  absl::StatusOr<bool> explained = FromFooter(id, header);
  if (!explained.ok()) return explained.status();
  if (*explained) return absl::OkStatus();
  if (header.intact) return FromWalk(id, header);
  lost_.push_back(id);
  // Its batches must stay below the lap that it will get.
  absl::StatusOr<Batch> first = ReadBatch(context_->device(id.device), id.local, 1);
  if (first.ok()) lap_max_ = std::max(lap_max_, first->info.lap);
  return absl::OkStatus();
}

absl::Status Recovery::StartLap(SegmentId id, uint64_t lap) {
  const LogDevice& device = context_->device(id.device);
  const SegmentHeader header{.device_uuid = device.uuid,
                             .segment = id.local,
                             .lap = lap,
                             .incarnation = context_->incarnation,
                             .marks = RecoveredMarks()};
  if (absl::Status s = WriteSegmentHeader(device, header); !s.ok()) return s;
  if (absl::Status s = EraseFooter(device, id.local); !s.ok()) return s;
  context_->table.Restore(id, {.state = SegmentState::kFree, .lap = lap});
  return absl::OkStatus();
}

// Segments that nothing explains: a lap above all others, so that none of their old batches counts.
absl::Status Recovery::RestartLost() {
  for (const SegmentId id : lost_) {
    if (absl::Status s = StartLap(id, lap_max_ + 1); !s.ok()) return s;
  }
  return absl::OkStatus();
}

// Whether every record of this one of `found_` is in another segment too.
absl::StatusOr<bool> Recovery::OnlyCopies(size_t segment) {
  using Key =
      std::tuple<uint64_t, uint64_t, uint32_t, uint8_t, uint8_t, uint64_t, RecordType, bool>;
  std::set<Key> missing;
  const auto key_of = [](const RecordMeta& meta) {
    return Key{meta.hash.lo, meta.hash.hi, meta.ns,   meta.group,
               meta.shard,   meta.version, meta.type, meta.all_siblings};
  };
  const auto strike = [&](const RecordMeta& meta) {
    missing.erase(key_of(meta));
    if (!meta.supersedes) return;
    // Stands in for the tombstone that reclaim leaves when it drops the value.
    RecordMeta ended = meta;
    ended.type = RecordType::kTombstone;
    ended.version -= 1;
    missing.erase(key_of(ended));
  };
  std::set<uint32_t> kept;
  for (const RecoveredRecord& record : found_[segment].records) missing.insert(key_of(record.meta));
  for (size_t i = 0; i < found_.size(); ++i) {
    kept.insert(found_[i].id.global());
    if (i == segment) continue;
    for (const RecoveredRecord& record : found_[i].records) strike(record.meta);
  }
  // The others were handed over and are read once more: this happens once in a crash's life.
  for (const auto& device : context_->set.devices) {
    for (uint32_t i = 0; i < device->segments && !missing.empty(); ++i) {
      const SegmentId id{device->ordinal, i};
      const auto info = context_->table.Get(id);
      if (kept.contains(id.global()) || info->state != SegmentState::kSealed) continue;
      absl::StatusOr<std::optional<std::string>> image = FromCheckpoint(id);
      if (!image.ok()) return image.status();
      absl::StatusOr<Footer> footer =
          *image ? DecodeFooterImage(**image) : absl::StatusOr<Footer>(absl::DataLossError(""));
      if (!footer.ok() || footer->info.lap != info->lap) footer = ReadFooter(*device, i);
      if (!footer.ok() || footer->info.lap != info->lap) continue;
      for (const LogRecord& record : footer->records) strike(record.meta);
    }
  }
  return missing.empty();
}

absl::Status Recovery::FreeCopiesOn(uint32_t device) {
  std::vector<size_t> candidates;
  for (size_t i = 0; i < found_.size(); ++i) {
    if (found_[i].id.device == device) candidates.push_back(i);
  }
  std::sort(candidates.begin(), candidates.end(),
            [this](size_t a, size_t b) { return found_[a].sequence > found_[b].sequence; });
  if (candidates.size() > kOpenAtOnce) candidates.resize(kOpenAtOnce);
  for (size_t i : candidates) {
    const absl::StatusOr<bool> copies_only = OnlyCopies(i);
    if (!copies_only.ok()) return copies_only.status();
    if (!*copies_only) continue;
    const Found copies = std::move(found_[i]);
    found_.erase(found_.begin() + static_cast<ptrdiff_t>(i));
    std::erase_if(walked_, [&](const Walked& walked) { return walked.id == copies.id; });
    if (context_->checkpoint != nullptr) {
      absl::Status s = context_->checkpoint->DeleteSegment(copies.id.device, copies.id.local);
      if (!s.ok()) return s;
    }
    return StartLap(copies.id, copies.lap + 1);
  }
  return absl::OkStatus();
}

absl::Status Recovery::FreeCopies() {
  for (const auto& device : context_->set.devices) {
    bool any_free = false;
    for (uint32_t i = 0; i < device->segments && !any_free; ++i) {
      any_free = context_->table.Get({device->ordinal, i})->state == SegmentState::kFree;
    }
    if (any_free) continue;
    if (absl::Status s = FreeCopiesOn(device->ordinal); !s.ok()) return s;
  }
  return absl::OkStatus();
}

SetMarks Recovery::RecoveredMarks() const {
  return {.sequence_max = context_->table.sequence_max(),
          .version_max = context_->version_max.load(),
          .namespace_id_max = context_->namespaces.id_max(),
          .anchor = anchor_};
}

void Recovery::Seal(const Walked& walked) {
  FooterInfo info = walked.info;
  info.marks = RecoveredMarks();
  // Without its footer the segment is walked again next time: not a reason to fail.
  if (!WriteSeal(context_, walked.id, walked.builder.Encode(info)).ok()) {
    context_->counters.seal_failures++;
  }
}

absl::Status Recovery::RestoreToCheckpoint(SegmentId id, const Footer& footer) {
  if (context_->checkpoint == nullptr) return absl::OkStatus();
  FooterBuilder builder;
  std::map<uint32_t, const NamespaceRef*> refs;
  for (const NamespaceRef& ref : footer.namespaces) refs[ref.id] = &ref;
  for (const LogRecord& record : footer.records) {
    builder.Add(*refs[record.meta.ns], record.meta, record.first_page);
  }
  ++restored_segments_;
  restored_blocks_ += footer.records.size();
  return context_->checkpoint->PutSegment(id.device, id.local, builder.Encode(footer.info));
}

// Those that only the disks remember.
absl::Status Recovery::RestoreNamespaces() {
  if (context_->checkpoint == nullptr) return absl::OkStatus();
  for (const NamespaceRecord& record : context_->namespaces.All()) {
    if (absl::Status s = context_->checkpoint->PutNamespace(record); !s.ok()) return s;
  }
  return absl::OkStatus();
}

// Seconds went on while nobody ran. In the same boot the kernel's clock says how many; else the
// wall clock does, if it is believable. A small step back is the work of a time service.
void Recovery::SetClock() {
  Anchor now = AnchorOf(*context_->clock);
  const bool same_boot =
      now.boot_id != Uuid{} && now.boot_id == anchor_.boot_id && now.boot_s >= anchor_.boot_s;
  uint64_t passed = 0;
  if (anchor_.cache_s == 0) {
    passed = 0;
  } else if (same_boot) {
    passed = now.boot_s - anchor_.boot_s;
  } else if (now.wall_s >= anchor_.wall_s) {
    passed = now.wall_s - anchor_.wall_s;
    clock_lost_ = passed > kWallGapMax;
  } else {
    clock_lost_ = anchor_.wall_s - now.wall_s > kWallStepBackMax;
  }
  if (clock_lost_) passed = 0;
  cache_seconds_ = static_cast<uint32_t>(
      std::min<uint64_t>(anchor_.cache_s + passed, std::numeric_limits<uint32_t>::max()));
  now.cache_s = cache_seconds_;
  context_->recovered_anchor = now;
}

void Recovery::TellDamage() const {
  if (corrupt_headers_ + torn_records_ + lost_.size() == 0) return;
  // Records of a write that a crash cut are no more than that; the rest is rot.
  const bool rot = corrupt_headers_ + lost_.size() > 0;
  Tell(context_->options.events,
       {.kind = EventKind::kDamage,
        .level = rot ? EventLevel::kWarning : EventLevel::kInfo,
        .text = "start found what was not whole on disk, and went on without it",
        .details = {{"headers_damaged", absl::StrCat(corrupt_headers_)},
                    {"segments_lost", absl::StrCat(lost_.size())},
                    {"blocks_torn", absl::StrCat(torn_records_)}}});
}

void Recovery::TellCheckpoint(absl::Duration took) const {
  if (restored_segments_ == 0) return;
  context_->TellCheckpoint(
      EventLevel::kWarning,
      absl::StrFormat("checkpoint rebuilt from the footers of %d segments with %d blocks in %.3f s",
                      restored_segments_, restored_blocks_, absl::ToDoubleSeconds(took)));
}

void Recovery::HandOver(Found* segment) {
  std::vector<RecoveredRecord> records = std::move(segment->records);
  if (clock_lost_) {
    std::erase_if(records, [this](const RecoveredRecord& record) {
      if (record.meta.expiry_s == 0) return false;
      ttl_dropped_.push_back(record.meta);
      context_->counters.ttl_dropped++;
      return true;
    });
  }
  if (!records.empty()) (*sink_)(records);
}

// And those of which nothing tells when they were opened: what they hold may be as young.
absl::Status Recovery::RecoverYoungest() {
  for (const auto& device : context_->set.devices) {
    const std::vector<Header>& headers = headers_[device->ordinal];
    std::vector<uint32_t> order(device->segments);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return headers[a].sequence > headers[b].sequence;
    });
    for (size_t rank = 0; rank < order.size(); ++rank) {
      if (rank >= kYoungest && headers[order[rank]].sequence != 0) continue;
      const SegmentId id{device->ordinal, order[rank]};
      if (absl::Status s = RecoverSegment(id); !s.ok()) return s;
      recovered_.insert(id.global());
    }
  }
  return absl::OkStatus();
}

uint64_t Recovery::records_expected() const {
  if (found_.empty()) return 0;
  uint64_t records = 0, segments = 0;
  for (const Found& segment : found_) records += segment.records.size();
  for (const std::vector<Header>& device : headers_) {
    for (const Header& header : device) segments += header.sequence != 0;
  }
  return records * segments / found_.size();
}

absl::Status Recovery::Prepare() {
  began_ = context_->clock->Now();
  // What was read before the last crash may never have been durable.
  for (const auto& device : context_->set.devices) {
    if (absl::Status s = device->disk->SyncSync(); !s.ok()) return s;
  }
  if (absl::Status s = ReadHeaders(); !s.ok()) return s;
  if (absl::Status s = LoadNamespaces(); !s.ok()) return s;
  if (absl::Status s = RecoverYoungest(); !s.ok()) return s;
  SetClock();
  return absl::OkStatus();
}

absl::Status Recovery::RecoverOthers(const std::atomic<bool>& stop) {
  std::vector<std::pair<uint64_t, SegmentId>> order;
  for (const auto& device : context_->set.devices) {
    for (uint32_t i = 0; i < device->segments; ++i) {
      const SegmentId id{device->ordinal, i};
      if (recovered_.contains(id.global())) continue;
      order.emplace_back(headers_[device->ordinal][i].sequence, id);
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  const size_t kept = found_.size(), open = walked_.size();
  for (const auto& [sequence, id] : order) {
    if (stop) return absl::CancelledError("the log is closing");
    if (absl::Status s = RecoverSegment(id); !s.ok()) return s;
    for (; walked_.size() > open; walked_.pop_back()) Seal(walked_.back());
    for (; found_.size() > kept; found_.pop_back()) HandOver(&found_.back());
  }
  return absl::OkStatus();
}

absl::Status Recovery::Load(const RecoverSink& sink, const std::atomic<bool>& stop) {
  sink_ = &sink;
  if (absl::Status s = RecoverOthers(stop); !s.ok()) return s;
  context_->batch_seq = batch_seq_max_;
  if (absl::Status s = RestartLost(); !s.ok()) return s;
  if (absl::Status s = FreeCopies(); !s.ok()) return s;
  for (const Walked& walked : walked_) Seal(walked);
  for (const auto& device : context_->set.devices) {
    if (absl::Status s = device->disk->SyncSync(); !s.ok()) return s;
  }
  if (absl::Status s = RestoreNamespaces(); !s.ok()) return s;
  TellDamage();
  TellCheckpoint(context_->clock->Now() - began_);
  context_->table.FinishRestore();
  std::sort(found_.begin(), found_.end(),
            [](const Found& a, const Found& b) { return a.sequence < b.sequence; });
  for (Found& segment : found_) HandOver(&segment);
  return absl::OkStatus();
}

}  // namespace kvgate::storage
