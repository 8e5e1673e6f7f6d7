// SPDX-License-Identifier: Apache-2.0
//
// LogWriter's second half: which segment a batch goes to, its bytes, and how it ends.
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/wire/error_id.h"
#include "storage/base/check.h"
#include "storage/log/log_writer.h"

namespace kvgate::storage {

namespace {

bool IsValue(const WriteItem& item) { return item.request.meta.type == RecordType::kValue; }

uint32_t PayloadPages(const std::vector<WriteItem>& items) {
  uint32_t pages = 0;
  for (const WriteItem& item : items) {
    if (IsValue(item)) pages += PagesOf(item.request.meta.length);
  }
  return pages;
}

std::vector<BatchRecord> RecordsOf(const std::vector<WriteItem>& items) {
  std::vector<BatchRecord> records;
  records.reserve(items.size());
  for (const WriteItem& item : items) records.push_back({&item.request.meta, item.request.key});
  return records;
}

}  // namespace

void LogWriter::DropDead(Job& job) {
  std::vector<WriteItem> live;
  for (WriteItem& item : job.items) {
    if (IsValue(item) && context_->ring.Dies(item.request.meta, item.judged_at)) {
      context_->counters.append_aborted++;
      {
        absl::MutexLock lock(&mutex_);
        queued_bytes_ -= item.charge;
      }
      Fail(item, absl::AbortedError("deleted or overwritten before it was written"));
    } else {
      live.push_back(std::move(item));
    }
  }
  job.items = std::move(live);
}

bool LogWriter::TryJob(Job& job) {
  DropDead(job);
  if (job.items.empty()) return true;
  const std::vector<BatchRecord> records = RecordsOf(job.items);
  const uint32_t header_pages = BatchHeaderPages(records);
  const uint32_t pages = header_pages + PayloadPages(job.items);
  std::shared_ptr<OpenSegment> segment = FindPlace(job, pages, records);
  if (segment != nullptr) {
    Submit(segment, std::move(job), header_pages, pages);
    return true;
  }
  const bool offline = std::all_of(
      context_->set.devices.begin(), context_->set.devices.end(),
      [](const auto& device) { return device->health.offline() || device->health.read_only(); });
  if (!offline && !job.reclaim && absl::Now() < job.give_up) return false;
  const absl::Status status =
      offline ? absl::UnavailableError(
                    wire::Tagged(wire::ErrorId::kDeviceOffline, "no disk of the log takes writes"))
              : absl::ResourceExhaustedError(
                    wire::Tagged(wire::ErrorId::kLogFull, "no segment of the log is free"));
  for (WriteItem& item : job.items) {
    {
      absl::MutexLock lock(&mutex_);
      queued_bytes_ -= item.charge;
    }
    context_->counters.append_failures++;
    Fail(item, status);
  }
  return true;
}

std::shared_ptr<OpenSegment> LogWriter::FindPlace(const Job& job, uint32_t pages,
                                                  std::span<const BatchRecord> records) {
  const uint32_t devices = static_cast<uint32_t>(open_.size());
  for (uint32_t i = 0; i < devices; ++i) {
    const uint32_t device = (next_device_ + i) % devices;
    DropFailed(device);
    DeviceHealth& health = context_->device(device).health;
    if (!health.Allows(DeviceHealth::Use::kWrite, context_->clock->Now())) continue;
    if (std::shared_ptr<OpenSegment> segment = FindPlaceOn(device, job, pages, records)) {
      if (!job.reclaim && segment->for_reclaim) {
        segment->for_reclaim = false;
        context_->table.SetCopies(segment->id, false);
      }
      next_device_ = (device + 1) % devices;
      return segment;
    }
  }
  return nullptr;
}

std::shared_ptr<OpenSegment> LogWriter::FindPlaceOn(uint32_t device, const Job& job, uint32_t pages,
                                                    std::span<const BatchRecord> records) {
  const uint32_t total = context_->device(device).segment_pages();
  const auto left = [&](const OpenSegment& segment) -> uint32_t {
    if (!job.reclaim && segment.for_reclaim && context_->table.FreeCount(device) == 0) return 0;
    if (!segment.footer.Fits(job.ns.id, records)) return 0;
    const uint32_t used = segment.next_page + segment.footer.Pages(records.size());
    return used < total ? total - used : 0;
  };
  auto& open = open_[device];
  // A batch over half of what is left goes to the next segment; smaller ones fill the tail.
  for (const auto& segment : open) {
    if (pages <= left(*segment) / 2) return segment;
  }
  if (open.size() < 2) {
    if (auto segment = OpenOn(device, job.reclaim)) return segment;
  }
  for (const auto& segment : open) {
    if (pages <= left(*segment)) return segment;
  }
  if (auto segment = OpenOn(device, job.reclaim)) {
    HandOver(device, 0);
    return segment;
  }
  return nullptr;
}

std::shared_ptr<OpenSegment> LogWriter::OpenOn(uint32_t device, bool reclaim) {
  const auto taken = context_->table.TakeFree(device, reclaim ? 0 : 1);
  if (!taken) return nullptr;
  const auto& [id, info] = *taken;
  auto segment = std::make_shared<OpenSegment>(id, info.lap, info.sequence);
  segment->for_reclaim = reclaim && context_->table.FreeCount(device) == 0;
  context_->table.SetCopies(id, segment->for_reclaim);
  open_[device].push_back(segment);
  return segment;
}

void LogWriter::HandOver(uint32_t device, size_t index) {
  auto& open = open_[device];
  std::shared_ptr<OpenSegment> segment = open[index];
  open.erase(open.begin() + static_cast<ptrdiff_t>(index));
  context_->table.BeginSeal(segment->id);
  seal_(std::move(segment));
}

void LogWriter::HandOverAll() {
  for (uint32_t device = 0; device < open_.size(); ++device) {
    while (!open_[device].empty()) HandOver(device, 0);
  }
}

void LogWriter::DropFailed(uint32_t device) {
  auto& open = open_[device];
  const uint64_t failures = syncs_[device]->failures();
  if (failures != sync_failures_seen_[device]) {
    sync_failures_seen_[device] = failures;
    for (const auto& segment : open) segment->MarkLost();
  }
  for (size_t i = open.size(); i-- > 0;) {
    if (open[i]->failed()) HandOver(device, i);
  }
}

void LogWriter::Submit(const std::shared_ptr<OpenSegment>& segment, Job job, uint32_t header_pages,
                       uint32_t pages) {
  LogDevice& device = context_->device(segment->id.device);
  const uint64_t sequence_max = context_->table.sequence_max();
  for (WriteItem& item : job.items) {
    if (!IsValue(item) && !item.reclaim) item.request.meta.birth_seq = sequence_max;
  }
  const BatchInfo info{.device_uuid = device.uuid,
                       .segment = segment->id.local,
                       .first_page = segment->next_page,
                       .header_pages = header_pages,
                       .batch_pages = pages,
                       .lap = segment->lap,
                       .sequence = segment->sequence,
                       .batch_seq = context_->batch_seq.fetch_add(1) + 1,
                       .prev_batch_seq = segment->last_batch_seq,
                       .incarnation = context_->incarnation,
                       .marks = context_->Marks()};
  auto batch = std::make_shared<InFlightBatch>();
  batch->batch_seq = info.batch_seq;
  batch->end_page = info.first_page + pages;
  batch->items = std::move(job.items);
  const bool packed = batch->items.size() > 1 || !IsValue(batch->items[0]) ||
                      batch->items[0].request.meta.length < own_batch_bytes_;
  batch->pages = AlignedBuffer((packed ? pages : header_pages) * kPageBytes);
  EncodeBatchHeader(info, job.ns, RecordsOf(batch->items),
                    batch->pages.first(header_pages * kPageBytes), &batch->first_pages);
  for (size_t i = 0; i < batch->items.size(); ++i) {
    const AppendRequest& request = batch->items[i].request;
    segment->footer.Add(job.ns, request.meta, batch->first_pages[i]);
    if (!packed || !IsValue(batch->items[i])) continue;
    std::memcpy(batch->pages.data() + (batch->first_pages[i] - info.first_page) * kPageBytes,
                request.payload, AlignToPage(request.meta.length));
  }
  batch->records_after = segment->footer.records();
  batch->writes_left = packed ? 1 : 2;
  segment->next_page = batch->end_page;
  segment->last_batch_seq = info.batch_seq;
  {
    absl::MutexLock lock(&mutex_);
    outstanding_.insert(batch->batch_seq);
  }
  segment->Begin(batch);
  Write(segment, batch, info.first_page, packed,
        job.reclaim ? IoClass::kReinsert : IoClass::kFlush);
}

void LogWriter::Write(const std::shared_ptr<OpenSegment>& segment,
                      const std::shared_ptr<InFlightBatch>& batch, uint32_t first_page, bool packed,
                      IoClass io_class) {
  LogDevice& device = context_->device(segment->id.device);
  LogCounters& counters = context_->counters;
  uint64_t payload = 0, payload_pages = 0;
  for (const WriteItem& item : batch->items) {
    if (!IsValue(item)) continue;
    payload += item.request.meta.length;
    payload_pages += PagesOf(item.request.meta.length);
  }
  const uint64_t all_pages = batch->end_page - first_page;
  counters.batches++;
  counters.page_bytes += (all_pages - payload_pages) * kPageBytes;
  counters.padding_bytes += payload_pages * kPageBytes - payload;
  (batch->items[0].reclaim ? counters.reinserted_bytes : counters.payload_bytes) += payload;

  const uint64_t offset = device.OffsetOf(segment->id.local, first_page);
  const auto done = [this, segment, batch](absl::Status status) {
    OnWrite(segment, batch, status);
  };
  // `batch` may be gone when the first of two writes ends, but not before both did.
  const std::span<const std::byte> pages = batch->pages.span();
  if (packed) {
    device.disk->Write(offset, pages, io_class, done);
    return;
  }
  const AppendRequest& request = batch->items[0].request;
  const std::span<const std::byte> value(request.payload, AlignToPage(request.meta.length));
  device.disk->Write(offset + pages.size(), value, io_class, done);
  device.disk->Write(offset, pages, io_class, done);
}

void LogWriter::OnWrite(const std::shared_ptr<OpenSegment>& segment,
                        const std::shared_ptr<InFlightBatch>& batch, const absl::Status& status) {
  context_->Report(context_->device(segment->id.device), DeviceHealth::Use::kWrite, status);
  for (const OpenSegment::Ended& ended : segment->EndWrite(batch, status)) Finish(segment, ended);
}

void LogWriter::Finish(const std::shared_ptr<OpenSegment>& segment,
                       const OpenSegment::Ended& ended) {
  InFlightBatch& batch = *ended.batch;
  LogCounters& counters = context_->counters;
  for (size_t i = 0; i < batch.items.size(); ++i) {
    WriteItem& item = batch.items[i];
    if (!ended.status.ok()) {
      counters.append_failures++;
      Fail(item, ended.status);
      continue;
    }
    if (!item.reclaim) (IsValue(item) ? counters.appended_records : counters.appended_tombstones)++;
    const Place place{.segment = segment->id.global(), .first_page = batch.first_pages[i]};
    if (!item.request.device_durable) {
      if (item.request.done) item.request.done(place);
      continue;
    }
    syncs_[segment->id.device]->Join(
        [done = std::move(item.request.done), place](const absl::Status& status) {
          if (!done) return;
          if (status.ok())
            done(place);
          else
            done(status);
        });
  }
  Settle(batch);
}

void LogWriter::Settle(const InFlightBatch& batch) {
  absl::MutexLock lock(&mutex_);
  outstanding_.erase(batch.batch_seq);
  for (const WriteItem& item : batch.items) queued_bytes_ -= item.charge;
}

}  // namespace kvgate::storage
