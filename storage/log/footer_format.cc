// SPDX-License-Identifier: Apache-2.0
//
// Footers: all entries of a sealed segment, on its last pages and in the checkpoint.
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

// Entries and tables before the trailer.
uint64_t BodyBytes(uint64_t entries, uint64_t namespaces, uint64_t producers) {
  return entries * sizeof(DiskEntry) + namespaces * sizeof(DiskNamespace) + producers * 8;
}

uint64_t BodyBytes(const DiskFooterTrailer& trailer) {
  return BodyBytes(trailer.entries.get(), trailer.namespaces.get(), trailer.producers.get());
}

uint32_t FooterCrc(std::span<const std::byte> body, DiskFooterTrailer trailer) {
  trailer.crc.set(0);
  return wire::Crc32c(wire::Crc32c(0, body.data(), body.size()), &trailer, sizeof(trailer));
}

absl::Status CheckTrailer(const DiskFooterTrailer& in) {
  if (std::memcmp(in.magic, internal::kFooterMagic, 8) != 0) return Damaged("footer", "no magic");
  const uint64_t pages = in.footer_pages.get();
  if (pages == 0 || pages >= 65536 || pages != PagesOf(BodyBytes(in) + sizeof(DiskFooterTrailer))) {
    return Damaged("footer", "size");
  }
  return absl::OkStatus();
}

absl::Status CheckFields(const DiskFooterTrailer& in) {
  if (in.format_version.get() > kFormatVersion) {
    return internal::FromLaterVersion("footer", in.format_version.get());
  }
  if (in.format_version.get() == 0 || in.checksum_algorithm != kChecksumCrc32c ||
      in.namespaces.get() > kTableMax || in.producers.get() > kTableMax ||
      in.data_pages.get() == 0 || in.data_pages.get() + in.footer_pages.get() > 65536 ||
      in.lap.get() == 0 || in.sequence.get() == 0 || in.version_max.get() > kVersionMax ||
      in.zero1 != 0 || in.zero2.get() != 0 || !AllZero(in.zero3)) {
    return Damaged("footer", "field out of range");
  }
  return absl::OkStatus();
}

absl::StatusOr<Footer> DecodeFooter(std::span<const std::byte> body, const DiskFooterTrailer& in) {
  if (in.crc.get() != FooterCrc(body, in)) return Damaged("footer", "checksum");
  if (absl::Status status = CheckFields(in); !status.ok()) return status;
  Footer out;
  std::memcpy(out.info.device_uuid.data(), in.device_uuid, 16);
  out.info.segment = static_cast<uint32_t>(in.segment.get());
  out.info.data_pages = static_cast<uint32_t>(in.data_pages.get());
  out.info.lap = in.lap.get();
  out.info.sequence = in.sequence.get();
  out.info.last_batch_seq = in.last_batch_seq.get();
  out.info.incarnation = in.incarnation.get();
  out.info.marks = internal::DecodeMarks(in);
  auto tables = body.subspan(in.entries.get() * sizeof(DiskEntry));
  for (uint64_t i = 0; i < in.namespaces.get(); ++i, tables = tables.subspan(112)) {
    absl::StatusOr<NamespaceRef> ns = internal::DecodeNamespace(Load<DiskNamespace>(tables));
    if (!ns.ok()) return ns.status();
    out.namespaces.push_back(*std::move(ns));
  }
  std::vector<uint64_t> producers;
  for (uint64_t i = 0; i < in.producers.get(); ++i, tables = tables.subspan(8)) {
    producers.push_back(Load<Le<8>>(tables).get());
  }
  out.records.reserve(in.entries.get());
  for (uint64_t i = 0; i < in.entries.get(); ++i) {
    absl::StatusOr<LogRecord> record = internal::DecodeEntry(
        Load<DiskEntry>(body.subspan(i * sizeof(DiskEntry))), out.namespaces, producers);
    if (!record.ok()) return record.status();
    if (uint64_t{record->first_page} + PagesOf(record->meta.length) > out.info.data_pages) {
      return Damaged("footer", "payload past the data");
    }
    out.records.push_back(*record);
  }
  return out;
}

}  // namespace

int FooterBuilder::IndexOf(uint32_t ns) const {
  for (size_t i = 0; i < namespaces_.size(); ++i) {
    if (namespaces_[i].id == ns) return static_cast<int>(i);
  }
  return -1;
}

int FooterBuilder::IndexOfProducer(uint64_t producer) const {
  const auto at = std::find(producers_.begin(), producers_.end(), producer);
  return at == producers_.end() ? -1 : static_cast<int>(at - producers_.begin());
}

bool FooterBuilder::Fits(uint32_t ns, std::span<const BatchRecord> records) const {
  if (IndexOf(ns) < 0 && namespaces_.size() == kTableMax) return false;
  // At worst each unknown producer is counted once a record.
  size_t unknown = 0;
  for (const BatchRecord& record : records) {
    if (IndexOfProducer(record.meta->producer) < 0) ++unknown;
  }
  return producers_.size() + unknown <= kTableMax;
}

void FooterBuilder::Add(const NamespaceRef& ns, const RecordMeta& meta, uint16_t first_page) {
  int ns_index = IndexOf(ns.id);
  if (ns_index < 0) {
    ns_index = static_cast<int>(namespaces_.size());
    namespaces_.push_back(ns);
  }
  int producer_index = IndexOfProducer(meta.producer);
  if (producer_index < 0) {
    producer_index = static_cast<int>(producers_.size());
    producers_.push_back(meta.producer);
  }
  KVGATE_CHECK(namespaces_.size() <= kTableMax && producers_.size() <= kTableMax);
  internal::EncodeEntry(meta, first_page, static_cast<uint8_t>(ns_index),
                        static_cast<uint8_t>(producer_index), &entries_.emplace_back());
}

uint32_t FooterBuilder::tombstones() const {
  return static_cast<uint32_t>(
      std::count_if(entries_.begin(), entries_.end(),
                    [](const DiskEntry& e) { return e.type == kEntryTombstone; }));
}

void FooterBuilder::Truncate(size_t records) {
  if (records < entries_.size()) entries_.resize(records);
}

uint32_t FooterBuilder::Pages(size_t more_records) const {
  const size_t namespaces = std::min<size_t>(namespaces_.size() + 1, kTableMax);
  const size_t producers = std::min<size_t>(producers_.size() + more_records, kTableMax);
  return PagesOf(BodyBytes(entries_.size() + more_records, namespaces, producers) +
                 sizeof(DiskFooterTrailer));
}

std::string FooterBuilder::Encode(const FooterInfo& info) const {
  const uint64_t body = BodyBytes(entries_.size(), namespaces_.size(), producers_.size());
  std::string image(body + sizeof(DiskFooterTrailer), '\0');
  char* at = image.data();
  if (!entries_.empty()) std::memcpy(at, entries_.data(), entries_.size() * sizeof(DiskEntry));
  at += entries_.size() * sizeof(DiskEntry);
  for (const NamespaceRef& ns : namespaces_) {
    DiskNamespace out;
    internal::EncodeNamespace(ns, &out);
    std::memcpy(at, &out, sizeof(out));
    at += sizeof(out);
  }
  for (uint64_t producer : producers_) {
    Le<8> le;
    le.set(producer);
    std::memcpy(at, &le, 8);
    at += 8;
  }
  DiskFooterTrailer trailer{};
  std::memcpy(trailer.magic, internal::kFooterMagic, 8);
  trailer.format_version.set(kFormatVersion);
  trailer.checksum_algorithm = kChecksumCrc32c;
  trailer.entries.set(entries_.size());
  trailer.namespaces.set(namespaces_.size());
  trailer.producers.set(producers_.size());
  trailer.footer_pages.set(PagesOf(image.size()));
  trailer.data_pages.set(info.data_pages);
  std::memcpy(trailer.device_uuid, info.device_uuid.data(), 16);
  trailer.segment.set(info.segment);
  trailer.lap.set(info.lap);
  trailer.sequence.set(info.sequence);
  trailer.last_batch_seq.set(info.last_batch_seq);
  trailer.incarnation.set(info.incarnation);
  internal::EncodeMarks(info.marks, &trailer);
  trailer.crc.set(FooterCrc(std::as_bytes(std::span(image)).first(body), trailer));
  std::memcpy(at, &trailer, sizeof(trailer));
  return image;
}

uint32_t FooterPages(std::string_view image) { return PagesOf(image.size()); }

void ExpandFooter(std::string_view image, std::span<std::byte> pages) {
  KVGATE_CHECK(image.size() >= sizeof(DiskFooterTrailer));
  KVGATE_CHECK(pages.size() == FooterPages(image) * kPageBytes);
  const size_t body = image.size() - sizeof(DiskFooterTrailer);
  std::memset(pages.data(), 0, pages.size());
  std::memcpy(pages.data(), image.data(), body);
  std::memcpy(pages.data() + pages.size() - sizeof(DiskFooterTrailer), image.data() + body,
              sizeof(DiskFooterTrailer));
}

absl::StatusOr<uint32_t> PeekFooterPages(std::span<const std::byte> last_page) {
  if (last_page.size() < sizeof(DiskFooterTrailer)) return Damaged("footer", "size");
  const auto in = Load<DiskFooterTrailer>(last_page.last(sizeof(DiskFooterTrailer)));
  if (absl::Status status = CheckTrailer(in); !status.ok()) return status;
  return static_cast<uint32_t>(in.footer_pages.get());
}

absl::StatusOr<Footer> DecodeFooterPages(std::span<const std::byte> pages) {
  if (pages.size() < sizeof(DiskFooterTrailer)) return Damaged("footer", "size");
  const auto in = Load<DiskFooterTrailer>(pages.last(sizeof(DiskFooterTrailer)));
  if (absl::Status status = CheckTrailer(in); !status.ok()) return status;
  if (pages.size() != in.footer_pages.get() * kPageBytes) return Damaged("footer", "size");
  const auto before = pages.first(pages.size() - sizeof(DiskFooterTrailer));
  if (!AllZero(before.subspan(BodyBytes(in)))) return Damaged("footer", "padding");
  return DecodeFooter(before.first(BodyBytes(in)), in);
}

absl::StatusOr<Footer> DecodeFooterImage(std::string_view image) {
  const auto bytes = std::as_bytes(std::span(image));
  if (bytes.size() < sizeof(DiskFooterTrailer)) return Damaged("footer", "size");
  const auto in = Load<DiskFooterTrailer>(bytes.last(sizeof(DiskFooterTrailer)));
  if (absl::Status status = CheckTrailer(in); !status.ok()) return status;
  const auto body = bytes.first(bytes.size() - sizeof(DiskFooterTrailer));
  if (body.size() != BodyBytes(in)) return Damaged("footer", "size");
  return DecodeFooter(body, in);
}

}  // namespace kvgate::storage
