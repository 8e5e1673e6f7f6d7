// SPDX-License-Identifier: Apache-2.0
#include "storage/log/sealer.h"

#include "absl/strings/str_cat.h"
#include "proto/wire/error_id.h"
#include "storage/base/thread_name.h"
#include "storage/log/segment_reader.h"

namespace kvgate::storage {

absl::Status WriteSeal(LogContext* context, SegmentId id, std::string_view image) {
  LogDevice& device = context->device(id.device);
  // Synced before as well: a footer that outlives a power cut must not vouch for payloads that do
  // not.
  absl::Status status = device.disk->SyncSync();
  if (status.ok()) status = WriteFooter(device, id.local, image);
  if (status.ok()) status = device.disk->SyncSync();
  if (status.ok()) {
    context->counters.footer_bytes += FooterPages(image) * kPageBytes;
    context->counters.syncs += 2;
    context->counters.seals++;
  }
  context->Report(device, DeviceHealth::Use::kWrite, status);
  if (!status.ok() || context->checkpoint == nullptr) return status;
  // Counted in rocksdb_errors when it fails; a stale record is told by its lap.
  const absl::Status put = context->checkpoint->PutSegment(id.device, id.local, image);
  if (!put.ok()) context->TellCheckpoint(EventLevel::kWarning, std::string(put.message()));
  return absl::OkStatus();
}

void Sealer::Start() { thread_ = std::thread(&Sealer::Run, this); }

void Sealer::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void Sealer::Add(std::shared_ptr<OpenSegment> segment) {
  absl::MutexLock lock(&mutex_);
  queue_.push_back(std::move(segment));
}

absl::Status Sealer::WaitIdle(absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  const auto idle = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return stop_ || (queue_.empty() && !busy_);
  };
  if (!mutex_.AwaitWithDeadline(absl::Condition(&idle), deadline)) {
    return absl::DeadlineExceededError("log flush: seals did not end in time");
  }
  absl::Status error = std::move(error_);
  error_ = absl::OkStatus();
  return error;
}

void Sealer::Run() {
  SetThreadName("kv-log-seal");
  while (true) {
    std::shared_ptr<OpenSegment> segment;
    {
      absl::MutexLock lock(&mutex_);
      const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
        return stop_ || !queue_.empty();
      };
      mutex_.Await(absl::Condition(&ready));
      if (stop_) return;
      segment = std::move(queue_.front());
      queue_.pop_front();
      busy_ = true;
    }
    absl::Status status = Seal(*segment);
    absl::MutexLock lock(&mutex_);
    busy_ = false;
    error_.Update(status);
  }
}

absl::Status Sealer::Seal(OpenSegment& segment) {
  segment.WaitUntilIdle();
  const OpenSegment::Good good = segment.good();
  segment.footer.Truncate(good.records);
  absl::Status status;
  if (segment.lost()) {
    status = absl::UnavailableError(wire::Tagged(
        wire::ErrorId::kNotDurable,
        absl::StrCat("segment ", segment.id.global(), ": a sync failed, so it was not sealed")));
  } else {
    const FooterInfo info{.device_uuid = context_->device(segment.id.device).uuid,
                          .segment = segment.id.local,
                          .data_pages = good.end_page,
                          .lap = segment.lap,
                          .sequence = segment.sequence,
                          .last_batch_seq = good.batch_seq,
                          .incarnation = context_->incarnation,
                          .marks = context_->Marks()};
    status = WriteSeal(context_, segment.id, segment.footer.Encode(info));
  }
  if (!status.ok()) context_->counters.seal_failures++;
  context_->table.EndSeal(segment.id, static_cast<uint32_t>(segment.footer.records()),
                          segment.footer.tombstones());
  return status;
}

}  // namespace kvgate::storage
