// SPDX-License-Identifier: Apache-2.0
//
// Batches: header pages with entries, tables and full keys.
#include <algorithm>
#include <cstring>

#include "proto/wire/checksum.h"
#include "storage/base/check.h"
#include "storage/log/format.h"
#include "storage/log/format_codec.h"

namespace kvgate::storage {

using internal::AllZero;
using internal::Damaged;
using internal::Load;

namespace {

std::vector<uint64_t> ProducersOf(std::span<const BatchRecord> records) {
  std::vector<uint64_t> producers;
  for (const BatchRecord& record : records) {
    if (std::find(producers.begin(), producers.end(), record.meta->producer) == producers.end()) {
      producers.push_back(record.meta->producer);
    }
  }
  return producers;
}

size_t BatchHeaderBytes(std::span<const BatchRecord> records, size_t producers) {
  size_t bytes = sizeof(DiskBatchHeader) + sizeof(DiskNamespace) + producers * 8;
  for (const BatchRecord& record : records) bytes += sizeof(DiskEntry) + 2 + record.key.size();
  return bytes;
}

// CRC of the header pages with the crc field as zero.
uint32_t BatchCrc(std::span<const std::byte> pages) {
  constexpr size_t kAt = offsetof(DiskBatchHeader, crc);
  constexpr uint32_t kZero = 0;
  uint32_t crc = wire::Crc32c(0, pages.data(), kAt);
  crc = wire::Crc32c(crc, &kZero, 4);
  return wire::Crc32c(crc, pages.data() + kAt + 4, pages.size() - kAt - 4);
}

DiskBatchHeader HeaderOf(const BatchInfo& info) {
  DiskBatchHeader out{};
  std::memcpy(out.magic, internal::kBatchMagic, 8);
  out.format_version.set(kFormatVersion);
  out.checksum_algorithm = kChecksumCrc32c;
  out.header_pages = static_cast<uint8_t>(info.header_pages);
  out.namespaces = 1;
  out.batch_pages.set(info.batch_pages);
  std::memcpy(out.device_uuid, info.device_uuid.data(), 16);
  out.segment.set(info.segment);
  out.first_page.set(info.first_page);
  out.lap.set(info.lap);
  out.sequence.set(info.sequence);
  out.batch_seq.set(info.batch_seq);
  out.prev_batch_seq.set(info.prev_batch_seq);
  out.incarnation.set(info.incarnation);
  internal::EncodeMarks(info.marks, &out);
  return out;
}

BatchInfo InfoOf(const DiskBatchHeader& in) {
  BatchInfo out;
  std::memcpy(out.device_uuid.data(), in.device_uuid, 16);
  out.segment = static_cast<uint32_t>(in.segment.get());
  out.first_page = static_cast<uint32_t>(in.first_page.get());
  out.header_pages = in.header_pages;
  out.batch_pages = static_cast<uint32_t>(in.batch_pages.get());
  out.lap = in.lap.get();
  out.sequence = in.sequence.get();
  out.batch_seq = in.batch_seq.get();
  out.prev_batch_seq = in.prev_batch_seq.get();
  out.incarnation = in.incarnation.get();
  out.marks = internal::DecodeMarks(in);
  return out;
}

// Magic, version and the ranges that the rest of decoding relies on.
absl::Status CheckHeader(const DiskBatchHeader& in) {
  if (std::memcmp(in.magic, internal::kBatchMagic, 8) != 0) return Damaged("batch", "no magic");
  if (in.header_pages == 0 || in.header_pages > kBatchHeaderPagesMax) {
    return Damaged("batch", "header pages");
  }
  return absl::OkStatus();
}

absl::Status CheckFields(const DiskBatchHeader& in) {
  if (in.format_version.get() > kFormatVersion) {
    return internal::FromLaterVersion("batch", in.format_version.get());
  }
  const uint64_t first = in.first_page.get(), pages = in.batch_pages.get();
  if (in.format_version.get() == 0 || in.checksum_algorithm != kChecksumCrc32c || in.entries == 0 ||
      in.entries > kBatchEntriesMax || in.namespaces != 1 || in.producers == 0 ||
      in.producers > in.entries) {
    return Damaged("batch", "version, algorithm or counts");
  }
  if (first == 0 || pages < in.header_pages || first + pages > 65536 || in.lap.get() == 0 ||
      in.sequence.get() == 0 || in.prev_batch_seq.get() >= in.batch_seq.get() ||
      in.version_max.get() > kVersionMax) {
    return Damaged("batch", "place or order");
  }
  if (in.zero1 != 0 || !AllZero(in.zero2)) return Damaged("batch", "padding");
  return absl::OkStatus();
}

// The payloads must follow one another from the header to the end of the batch.
absl::Status CheckPayloads(const Batch& batch) {
  uint64_t page = batch.info.first_page + batch.info.header_pages;
  for (const LogRecord& record : batch.records) {
    if (record.meta.type != RecordType::kValue) continue;
    if (record.first_page != page) return Damaged("batch", "payloads are not contiguous");
    page += PagesOf(record.meta.length);
  }
  if (page != uint64_t{batch.info.first_page} + batch.info.batch_pages) {
    return Damaged("batch", "payloads and batch end differ");
  }
  return absl::OkStatus();
}

absl::Status DecodeKeys(std::span<const std::byte> bytes, uint64_t key_bytes, Batch* batch) {
  if (bytes.size() < key_bytes) return Damaged("batch", "keys past the end");
  if (!AllZero(bytes.subspan(key_bytes))) return Damaged("batch", "padding after the keys");
  bytes = bytes.first(key_bytes);
  for (size_t i = 0; i < batch->records.size(); ++i) {
    if (bytes.size() < 2) return Damaged("batch", "key length past the end");
    const uint64_t length = Load<Le<2>>(bytes).get();
    bytes = bytes.subspan(2);
    if (length > wire::kKeyBytesMax || length > bytes.size()) return Damaged("batch", "key length");
    batch->keys.emplace_back(reinterpret_cast<const char*>(bytes.data()), length);
    bytes = bytes.subspan(length);
  }
  return bytes.empty() ? absl::OkStatus() : Damaged("batch", "bytes after the last key");
}

}  // namespace

uint32_t BatchHeaderPages(std::span<const BatchRecord> records) {
  return PagesOf(BatchHeaderBytes(records, ProducersOf(records).size()));
}

void EncodeBatchHeader(const BatchInfo& info, const NamespaceRef& ns,
                       std::span<const BatchRecord> records, std::span<std::byte> pages,
                       std::vector<uint16_t>* first_pages) {
  const std::vector<uint64_t> producers = ProducersOf(records);
  KVGATE_CHECK(!records.empty() && records.size() <= kBatchEntriesMax);
  KVGATE_CHECK(info.header_pages == PagesOf(BatchHeaderBytes(records, producers.size())));
  KVGATE_CHECK(pages.size() == info.header_pages * kPageBytes);
  std::memset(pages.data(), 0, pages.size());
  std::byte* at = pages.data() + sizeof(DiskBatchHeader);
  first_pages->clear();
  uint32_t page = info.first_page + info.header_pages;
  for (const BatchRecord& record : records) {
    const bool value = record.meta->type == RecordType::kValue;
    first_pages->push_back(value ? static_cast<uint16_t>(page) : 0);
    if (value) page += PagesOf(record.meta->length);
    const auto producer = std::find(producers.begin(), producers.end(), record.meta->producer);
    DiskEntry entry;
    internal::EncodeEntry(*record.meta, first_pages->back(), 0,
                          static_cast<uint8_t>(producer - producers.begin()), &entry);
    std::memcpy(at, &entry, sizeof(entry));
    at += sizeof(entry);
  }
  KVGATE_CHECK(page == info.first_page + info.batch_pages);
  DiskNamespace disk_ns;
  internal::EncodeNamespace(ns, &disk_ns);
  std::memcpy(at, &disk_ns, sizeof(disk_ns));
  at += sizeof(disk_ns);
  for (uint64_t producer : producers) {
    Le<8> le;
    le.set(producer);
    std::memcpy(at, &le, 8);
    at += 8;
  }
  const std::byte* keys_start = at;
  for (const BatchRecord& record : records) {
    KVGATE_CHECK(record.key.size() <= wire::kKeyBytesMax);
    Le<2> le;
    le.set(record.key.size());
    std::memcpy(at, &le, 2);
    std::memcpy(at + 2, record.key.data(), record.key.size());
    at += 2 + record.key.size();
  }
  DiskBatchHeader header = HeaderOf(info);
  header.entries = static_cast<uint8_t>(records.size());
  header.producers = static_cast<uint8_t>(producers.size());
  header.key_bytes.set(static_cast<uint64_t>(at - keys_start));
  std::memcpy(pages.data(), &header, sizeof(header));
  header.crc.set(BatchCrc(pages));
  std::memcpy(pages.data(), &header, sizeof(header));
}

absl::StatusOr<uint32_t> PeekBatchHeaderPages(std::span<const std::byte> first_page) {
  if (first_page.size() < sizeof(DiskBatchHeader)) return Damaged("batch", "size");
  const auto in = Load<DiskBatchHeader>(first_page);
  if (absl::Status status = CheckHeader(in); !status.ok()) return status;
  return in.header_pages;
}

absl::StatusOr<Batch> DecodeBatch(std::span<const std::byte> pages) {
  if (pages.size() < kPageBytes) return Damaged("batch", "size");
  const auto in = Load<DiskBatchHeader>(pages);
  if (absl::Status status = CheckHeader(in); !status.ok()) return status;
  if (pages.size() != in.header_pages * kPageBytes) return Damaged("batch", "size");
  if (in.crc.get() != BatchCrc(pages)) return Damaged("batch", "checksum");
  if (absl::Status status = CheckFields(in); !status.ok()) return status;
  const size_t fixed = sizeof(DiskBatchHeader) + in.entries * sizeof(DiskEntry) +
                       sizeof(DiskNamespace) + in.producers * 8;
  if (fixed > pages.size()) return Damaged("batch", "tables past the end");

  Batch out;
  out.info = InfoOf(in);
  const auto entries = pages.subspan(sizeof(DiskBatchHeader));
  const auto tables = entries.subspan(in.entries * sizeof(DiskEntry));
  absl::StatusOr<NamespaceRef> ns = internal::DecodeNamespace(Load<DiskNamespace>(tables));
  if (!ns.ok()) return ns.status();
  out.ns = *std::move(ns);
  std::vector<uint64_t> producers(in.producers);
  for (size_t i = 0; i < producers.size(); ++i) {
    producers[i] = Load<Le<8>>(tables.subspan(sizeof(DiskNamespace) + i * 8)).get();
  }
  for (size_t i = 0; i < in.entries; ++i) {
    absl::StatusOr<LogRecord> record = internal::DecodeEntry(
        Load<DiskEntry>(entries.subspan(i * sizeof(DiskEntry))), {&out.ns, 1}, producers);
    if (!record.ok()) return record.status();
    out.records.push_back(*record);
  }
  if (absl::Status status = CheckPayloads(out); !status.ok()) return status;
  if (absl::Status status = DecodeKeys(pages.subspan(fixed), in.key_bytes.get(), &out);
      !status.ok()) {
    return status;
  }
  return out;
}

}  // namespace kvgate::storage
