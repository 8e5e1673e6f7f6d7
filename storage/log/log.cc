// SPDX-License-Identifier: Apache-2.0
#include "storage/log/log.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "proto/wire/error_id.h"
#include "storage/io/file_util.h"
#include "storage/log/log_impl.h"
#include "storage/log/recovery.h"
#include "storage/log/segment_reader.h"

namespace kvgate::storage {

absl::StatusOr<std::unique_ptr<Log>> Log::Open(const LogOptions& options,
                                               std::vector<std::unique_ptr<Disk>> disks,
                                               const std::string& checkpoint_dir, LogOwner* owner,
                                               Clock* clock) {
  absl::StatusOr<DeviceSet> set = OpenDeviceSet(options, std::move(disks), *clock);
  if (!set.ok()) return set.status();
  auto context = std::make_unique<LogContext>(options, *std::move(set), owner, clock);
  uint8_t random[8];
  FillRandom(random);
  std::memcpy(&context->incarnation, random, sizeof(random));
  if (options.checkpoint && !checkpoint_dir.empty()) {
    const bool used_before = PathExists(checkpoint_dir);
    if (context->set.formatted && used_before) {
      Tell(options.events, {.kind = EventKind::kFormatted,
                            .level = EventLevel::kWarning,
                            .text = "the data file was gone or empty: formatted anew, what it held "
                                    "is lost",
                            .details = {{"checkpoint", checkpoint_dir}}});
    }
    if (absl::Status s = MakeDirectory(checkpoint_dir); !s.ok()) return s;
    absl::StatusOr<std::unique_ptr<Checkpoint>> checkpoint =
        Checkpoint::Open(checkpoint_dir, context->set.set_uuid, &context->counters);
    if (!checkpoint.ok()) return checkpoint.status();
    context->checkpoint = *std::move(checkpoint);
    if (const std::string& why = context->checkpoint->lost_why(); !why.empty()) {
      context->TellCheckpoint(
          EventLevel::kWarning,
          absl::StrCat("the checkpoint could not be used and was emptied: ", why));
    }
  }
  return std::make_unique<LogImpl>(std::move(context));
}

LogImpl::LogImpl(std::unique_ptr<LogContext> context)
    : context_(std::move(context)),
      sealer_(context_.get()),
      writer_(context_.get(),
              [this](std::shared_ptr<OpenSegment> segment) { sealer_.Add(std::move(segment)); }),
      reclaimer_(context_.get(), &writer_) {}

LogImpl::~LogImpl() {
  reclaimer_.Stop();
  writer_.Stop();
  sealer_.Stop();
  // Waits for what is in flight; the callbacks still find every part alive, the pointer included:
  // reset() would clear it first.
  for (const auto& device : context_->set.devices) {
    device->disk.get_deleter()(device->disk.get());
    (void)device->disk.release();
  }
}

absl::Status LogImpl::Prepare() {
  recovery_ = std::make_unique<Recovery>(context_.get());
  if (absl::Status s = recovery_->Prepare(); !s.ok()) return s;
  cache_seconds_ = recovery_->cache_seconds();
  records_expected_ = recovery_->records_expected();
  // Every namespace is durable in the checkpoint before it is used.
  namespaces_known_ = context_->checkpoint != nullptr && !context_->checkpoint->made_anew() &&
                      context_->counters.rocksdb_rebuilds == 0;
  prepared_ = true;
  return absl::OkStatus();
}

absl::Status LogImpl::Load(const RecoverSink& sink) {
  if (!prepared_) return absl::FailedPreconditionError("log: Prepare comes before Load");
  if (absl::Status s = recovery_->Load(sink, stop_loading_); !s.ok()) return s;
  recovered_ = true;
  writer_.Start();
  sealer_.Start();
  reclaimer_.Start();
  // Values whose age nobody knows must not come back at the next start either.
  for (RecordMeta meta : recovery_->take_ttl_dropped()) {
    meta.type = RecordType::kTombstone;
    AppendRequest request;
    request.meta = meta;
    writer_.Append(std::move(request));
  }
  recovery_.reset();
  return absl::OkStatus();
}

std::vector<NamespaceRecord> LogImpl::Namespaces() const { return context_->namespaces.All(); }

absl::Status LogImpl::PutNamespace(const NamespaceRecord& record) {
  if (absl::Status s = context_->namespaces.Put(record); !s.ok()) return s;
  if (context_->checkpoint == nullptr) return absl::OkStatus();
  return context_->checkpoint->PutNamespace(record);
}

uint32_t LogImpl::NextNamespaceId() { return context_->namespaces.TakeNextId(); }

void LogImpl::Append(AppendRequest request) {
  if (prepared_) {
    writer_.Append(std::move(request));
  } else if (request.done) {
    request.done(absl::FailedPreconditionError("log: Prepare comes before Append"));
  }
}

void LogImpl::Read(Place place, uint32_t length, std::span<std::byte> buffer, absl::Time deadline,
                   IoDone done) {
  const SegmentId id = SegmentId::Of(place.segment);
  const uint64_t bytes = AlignToPage(length);
  absl::StatusOr<uint64_t> lap = context_->table.BeginRead(place.segment);
  if (!lap.ok()) {
    context_->counters.read_aborted++;
    done(lap.status());
    return;
  }
  LogDevice& device = context_->device(id.device);
  absl::Status status;
  if (!place.valid() || bytes == 0 ||
      place.first_page + bytes / kPageBytes > device.segment_pages() || buffer.size() < bytes) {
    status = absl::InvalidArgumentError(absl::StrCat("read of ", length, " bytes at page ",
                                                     place.first_page, " into ", buffer.size()));
  } else if (const absl::Time now = context_->clock->Now();
             !device.health.Allows(DeviceHealth::Use::kRead, now)) {
    status = absl::UnavailableError(wire::Tagged(wire::ErrorId::kDeviceOffline,
                                                 absl::StrCat(device.disk->name(), " is offline")));
  } else if (device.latency.Refuses(deadline, now)) {
    context_->counters.reads_refused_slow++;
    status = absl::ResourceExhaustedError(
        absl::StrCat(device.disk->name(), " is slower than the read has time"));
  }
  if (!status.ok()) {
    context_->table.EndRead(place.segment, *lap);
    context_->counters.read_errors++;
    done(status);
    return;
  }
  read_bytes_in_flight_ += bytes;
  device.disk->Read(device.OffsetOf(id.local, place.first_page), buffer.first(bytes),
                    IoClass::kRead, deadline,
                    [this, device = &device, place, lap = *lap, bytes,
                     began = context_->clock->Now(), done = std::move(done)](absl::Status ended) {
                      EndRead(device, place, lap, bytes, began, std::move(ended), done);
                    });
}

void LogImpl::EndRead(LogDevice* device, Place place, uint64_t lap, uint64_t bytes,
                      absl::Time began, absl::Status status, const IoDone& done) {
  const absl::Time now = context_->clock->Now();
  read_bytes_in_flight_ -= bytes;
  context_->counters.reads++;
  context_->Report(*device, DeviceHealth::Use::kRead, status);
  if (status.ok()) {
    context_->counters.read_bytes += bytes;
    Measure(bytes, now - began);
    device->latency.Record(bytes, now - began, now);
  } else {
    context_->counters.read_errors++;
  }
  if (!context_->table.EndRead(place.segment, lap)) {
    context_->counters.read_aborted++;
    status = absl::AbortedError(absl::StrCat("segment ", place.segment, " was reclaimed"));
  }
  done(status);
}

void LogImpl::Measure(uint64_t bytes, absl::Duration took) {
  const double ms = std::max(absl::ToDoubleMilliseconds(took), 0.001);
  const auto blend = [](std::atomic<double>& average, double sample) {
    const double old = average.load(std::memory_order_relaxed);
    average.store(old + (sample - old) / 16, std::memory_order_relaxed);
  };
  if (bytes < (256 << 10)) {
    blend(read_base_ms_, ms);
  } else {
    const double queued = static_cast<double>(read_bytes_in_flight_.load() + bytes);
    blend(read_bytes_per_ms_, queued / ms);
  }
}

double LogImpl::predicted_read_ms(uint64_t bytes) const {
  const auto queued = static_cast<double>(read_bytes_in_flight_.load() + bytes);
  return read_base_ms_.load() + queued / std::max(read_bytes_per_ms_.load(), 1.0);
}

absl::StatusOr<uint32_t> LogImpl::BatchOf(SegmentId id, uint64_t lap, uint32_t page) {
  absl::MutexLock lock(&map_mutex_);
  const bool known = batch_map_.segment == id.global() && batch_map_.lap == lap;
  // An open segment grows: what lies past the last known batch needs a new walk.
  if (!known || batch_map_.first_pages.empty() || page >= batch_map_.first_pages.back()) {
    BatchMap map{.segment = id.global(), .lap = lap, .first_pages = {}};
    absl::StatusOr<WalkEnd> end =
        WalkSegment(context_->device(id.device), id.local, lap, [&](const Batch& batch) {
          map.first_pages.push_back(batch.info.first_page);
          return true;
        });
    if (!end.ok()) return end.status();
    batch_map_ = std::move(map);
  }
  const auto& pages = batch_map_.first_pages;
  const auto after = std::upper_bound(pages.begin(), pages.end(), page);
  if (after == pages.begin()) return absl::NotFoundError("no batch holds this place");
  return *(after - 1);
}

absl::StatusOr<std::string> LogImpl::ReadKey(Place place, const wire::Hash128& hash) {
  const SegmentId id = SegmentId::Of(place.segment);
  absl::StatusOr<uint64_t> lap = context_->table.BeginRead(place.segment);
  if (!lap.ok()) return lap.status();
  absl::StatusOr<uint32_t> page = BatchOf(id, *lap, place.first_page);
  absl::StatusOr<Batch> batch = page.ok() ? ReadBatch(context_->device(id.device), id.local, *page)
                                          : absl::StatusOr<Batch>(page.status());
  if (!context_->table.EndRead(place.segment, *lap)) {
    return absl::AbortedError(absl::StrCat("segment ", place.segment, " was reclaimed"));
  }
  if (!batch.ok()) return batch.status();
  for (size_t i = 0; i < batch->records.size(); ++i) {
    const LogRecord& record = batch->records[i];
    if (batch->info.lap == *lap && record.first_page == place.first_page &&
        record.meta.hash == hash) {
      return batch->keys[i];
    }
  }
  return absl::NotFoundError("no record of this hash at this place");
}

void LogImpl::RegisterBuffer(std::span<std::byte> memory) {
  for (const auto& device : context_->set.devices) device->disk->RegisterBuffer(memory);
}

absl::Status LogImpl::Flush(bool seal, absl::Duration limit) {
  if (!recovered_) return absl::FailedPreconditionError("log: Load comes before Flush");
  const absl::Time deadline = absl::Now() + limit;
  if (absl::Status s = writer_.Flush(seal, deadline); !s.ok() || !seal) return s;
  return sealer_.WaitIdle(deadline);
}

LogFacts LogImpl::facts() const {
  LogFacts out;
  out.segment_bytes = context_->set.segment_bytes;
  out.value_bytes_max = context_->value_bytes_max();
  out.hash_secret = context_->set.hash_secret;
  out.version_max = context_->version_max.load();
  out.cache_seconds = cache_seconds_;
  out.namespaces_known = namespaces_known_;
  out.records_expected = records_expected_;
  out.devices = static_cast<uint32_t>(context_->set.devices.size());
  for (const auto& device : context_->set.devices) {
    out.segments += device->segments;
    out.made_with_bytes += device->made_with_bytes;
    const std::string_view mode = device->disk->mode(), engine = device->disk->engine();
    if (out.mode.empty() || mode == "buffered") out.mode = mode;
    if (out.engine.empty() || engine == "posix") out.engine = engine;
  }
  out.capacity_bytes = uint64_t{out.segments} * out.segment_bytes;
  return out;
}

}  // namespace kvgate::storage
