// SPDX-License-Identifier: Apache-2.0
#include "storage/log/segment_reader.h"

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "storage/log/format_codec.h"

namespace kvgate::storage {

namespace {

absl::Status ReadAs(const LogDevice& device, uint64_t offset, std::span<std::byte> buffer,
                    IoClass io_class) {
  absl::Notification ended;
  absl::Status result;
  device.disk->Read(offset, buffer, io_class, absl::InfiniteFuture(), [&](absl::Status status) {
    result = std::move(status);
    ended.Notify();
  });
  ended.WaitForNotification();
  return result;
}

std::string Name(const LogDevice& device, uint32_t segment) {
  return absl::StrCat(device.disk->name(), " segment ", segment);
}

}  // namespace

absl::StatusOr<SegmentHeader> ReadSegmentHeader(const LogDevice& device, uint32_t segment) {
  AlignedBuffer page(kPageBytes);
  if (absl::Status s = device.disk->ReadSync(device.OffsetOf(segment), page.span()); !s.ok()) {
    return s;
  }
  absl::StatusOr<SegmentHeader> header = DecodeSegmentHeader(page.span());
  if (!header.ok()) return header.status();
  if (header->device_uuid != device.uuid || header->segment != segment) {
    return internal::Damaged(Name(device, segment), "header of another place");
  }
  return header;
}

absl::Status WriteSegmentHeader(const LogDevice& device, const SegmentHeader& header) {
  AlignedBuffer page(kPageBytes);
  EncodeSegmentHeader(header, std::span<std::byte, kPageBytes>(page.data(), kPageBytes));
  return device.disk->WriteSync(device.OffsetOf(header.segment), page.span());
}

absl::Status CheckFooterPlace(const Footer& footer, const LogDevice& device, uint32_t segment) {
  if (footer.info.device_uuid != device.uuid || footer.info.segment != segment ||
      footer.info.data_pages >= device.segment_pages()) {
    return internal::Damaged(Name(device, segment), "footer of another place");
  }
  return absl::OkStatus();
}

absl::StatusOr<Footer> ReadFooter(const LogDevice& device, uint32_t segment) {
  AlignedBuffer buffer(kPageBytes);
  const uint32_t total = device.segment_pages();
  if (absl::Status s =
          ReadAs(device, device.OffsetOf(segment, total - 1), buffer.span(), IoClass::kReinsert);
      !s.ok()) {
    return s;
  }
  absl::StatusOr<uint32_t> pages = PeekFooterPages(buffer.span());
  if (!pages.ok()) return pages.status();
  if (*pages >= total) return internal::Damaged(Name(device, segment), "footer size");
  if (*pages > 1) {
    buffer = AlignedBuffer(*pages * kPageBytes);
    if (absl::Status s = ReadAs(device, device.OffsetOf(segment, total - *pages), buffer.span(),
                                IoClass::kReinsert);
        !s.ok()) {
      return s;
    }
  }
  absl::StatusOr<Footer> footer = DecodeFooterPages(buffer.span());
  if (!footer.ok()) return footer.status();
  if (absl::Status s = CheckFooterPlace(*footer, device, segment); !s.ok()) return s;
  return footer;
}

absl::Status WriteFooter(const LogDevice& device, uint32_t segment, std::string_view image) {
  const uint32_t pages = FooterPages(image);
  AlignedBuffer buffer(pages * kPageBytes);
  ExpandFooter(image, buffer.span());
  return device.disk->WriteSync(device.OffsetOf(segment, device.segment_pages() - pages),
                                buffer.span());
}

absl::Status EraseFooter(const LogDevice& device, uint32_t segment) {
  const AlignedBuffer zeros = AlignedBuffer::Zeroed(kPageBytes);
  return device.disk->WriteSync(device.OffsetOf(segment, device.segment_pages() - 1), zeros.span());
}

absl::StatusOr<Batch> ReadBatch(const LogDevice& device, uint32_t segment, uint32_t page) {
  AlignedBuffer buffer(kPageBytes);
  if (page >= device.segment_pages()) return internal::Damaged("batch", "past the segment");
  if (absl::Status s =
          ReadAs(device, device.OffsetOf(segment, page), buffer.span(), IoClass::kReinsert);
      !s.ok()) {
    return s;
  }
  absl::StatusOr<uint32_t> pages = PeekBatchHeaderPages(buffer.span());
  if (!pages.ok()) return pages.status();
  if (page + *pages > device.segment_pages()) return internal::Damaged("batch", "past the segment");
  if (*pages > 1) {
    AlignedBuffer whole(*pages * kPageBytes);
    if (absl::Status s =
            ReadAs(device, device.OffsetOf(segment, page), whole.span(), IoClass::kReinsert);
        !s.ok()) {
      return s;
    }
    buffer = std::move(whole);
  }
  absl::StatusOr<Batch> batch = DecodeBatch(buffer.span());
  if (!batch.ok()) return batch.status();
  const BatchInfo& info = batch->info;
  if (info.device_uuid != device.uuid || info.segment != segment || info.first_page != page ||
      page + info.batch_pages > device.segment_pages()) {
    return internal::Damaged("batch", "of another place");
  }
  return batch;
}

absl::StatusOr<WalkEnd> WalkSegment(const LogDevice& device, uint32_t segment, uint64_t lap,
                                    const std::function<bool(const Batch&)>& visit) {
  WalkEnd end;
  while (true) {
    absl::StatusOr<Batch> batch = ReadBatch(device, segment, end.next_page);
    if (!batch.ok()) {
      if (absl::IsFailedPrecondition(batch.status())) return batch.status();
      return end;
    }
    const BatchInfo& info = batch->info;
    if (info.lap != lap || info.prev_batch_seq != end.last_batch_seq) return end;
    if (end.batches > 0 && (info.incarnation != end.incarnation || info.sequence != end.sequence)) {
      return end;
    }
    const bool go_on = visit(*batch);
    end.next_page += info.batch_pages;
    end.sequence = info.sequence;
    end.last_batch_seq = info.batch_seq;
    end.incarnation = info.incarnation;
    ++end.batches;
    if (!go_on) return end;
  }
}

absl::Status VerifyPayload(const LogDevice& device, uint32_t segment, const LogRecord& record,
                           std::string_view key, const wire::NsDigest& ns_digest,
                           std::span<const std::byte> payload) {
  const uint64_t length = record.meta.length;
  if (!internal::AllZero(payload.subspan(length))) {
    return internal::Damaged(Name(device, segment), "padding of a payload");
  }
  const uint32_t prefix = wire::BlockCrcPrefix(wire::BlockCrcOfKey(ns_digest, key),
                                               record.meta.group, record.meta.shard, length);
  if (wire::Crc32c(prefix, payload.data(), length) != record.meta.crc) {
    return internal::Damaged(Name(device, segment), "block checksum");
  }
  return absl::OkStatus();
}

// One read for all small payloads of a batch.
bool ReadPayloads(const LogDevice& device, uint32_t segment, const Batch& batch,
                  AlignedBuffer* buffer) {
  const BatchInfo& info = batch.info;
  const uint64_t bytes = uint64_t{info.batch_pages - info.header_pages} * kPageBytes;
  if (batch.records.size() < 2 || bytes == 0) return false;
  if (buffer->size() < bytes) *buffer = AlignedBuffer(bytes);
  const uint64_t from = device.OffsetOf(segment, info.first_page + info.header_pages);
  return ReadAs(device, from, buffer->first(bytes), IoClass::kRead).ok();
}

absl::Status ReadVerified(const LogDevice& device, uint32_t segment, const LogRecord& record,
                          std::string_view key, const wire::NsDigest& ns_digest, IoClass io_class,
                          AlignedBuffer* buffer) {
  const uint64_t length = record.meta.length, padded = AlignToPage(length);
  if (buffer->size() < padded) *buffer = AlignedBuffer(padded);
  if (absl::Status s = ReadAs(device, device.OffsetOf(segment, record.first_page),
                              buffer->first(padded), io_class);
      !s.ok()) {
    return s;
  }
  return VerifyPayload(device, segment, record, key, ns_digest, buffer->first(padded));
}

}  // namespace kvgate::storage
