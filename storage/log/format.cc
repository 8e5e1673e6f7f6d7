// SPDX-License-Identifier: Apache-2.0
#include "storage/log/format.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/escaping.h"
#include "proto/wire/checksum.h"
#include "storage/base/check.h"
#include "storage/log/format_codec.h"

namespace kvgate::storage {

using internal::AllZero;
using internal::Damaged;
using internal::FromLaterVersion;
using internal::Load;

uint64_t SegmentsOn(uint64_t device_bytes, uint64_t segment_bytes) {
  if (segment_bytes == 0 || device_bytes < kSegmentsStart + kDeviceTailBytes) return 0;
  return std::min<uint64_t>((device_bytes - kSegmentsStart - kDeviceTailBytes) / segment_bytes,
                            kSegmentsADeviceMax);
}

Anchor AnchorOf(const Clock& clock) {
  const BootTime boot = clock.Boot();
  return {.cache_s = clock.CacheSeconds(),
          .wall_s = clock.WallSeconds(),
          .boot_id = boot.boot_id,
          .boot_s = boot.seconds};
}

std::array<uint64_t, 4> SuperblockOffsets(uint64_t device_bytes) {
  return {0, 64 << 10, device_bytes - (128 << 10), device_bytes - (64 << 10)};
}

std::string UuidText(const Uuid& uuid) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(uuid.data()), uuid.size()));
}

void EncodeSuperblock(const Superblock& superblock, std::span<std::byte, kPageBytes> page) {
  KVGATE_CHECK(superblock.members.size() == superblock.count && superblock.count <= kDevicesMax);
  DiskSuperblock out{};
  std::memcpy(out.magic, internal::kSuperblockMagic, 8);
  out.format_version.set(kFormatVersion);
  out.state.set(static_cast<uint32_t>(superblock.state));
  out.generation.set(superblock.generation);
  std::memcpy(out.set_uuid, superblock.set_uuid.data(), 16);
  std::memcpy(out.device_uuid, superblock.device_uuid.data(), 16);
  out.ordinal.set(superblock.ordinal);
  out.count.set(superblock.count);
  out.checksum_algorithm.set(kChecksumCrc32c);
  out.segment_bytes.set(superblock.segment_bytes);
  out.device_bytes.set(superblock.device_bytes);
  out.created_wall_s.set(superblock.created_wall_s);
  std::memcpy(out.hash_secret, superblock.hash_secret.data(), 16);
  for (size_t i = 0; i < superblock.members.size(); ++i) {
    std::memcpy(out.members[i], superblock.members[i].data(), 16);
  }
  out.crc.set(wire::Crc32c(0, &out, offsetof(DiskSuperblock, crc)));
  std::memcpy(page.data(), &out, sizeof(out));
}

namespace {

absl::Status CheckSuperblock(const DiskSuperblock& in) {
  if (std::memcmp(in.magic, internal::kSuperblockMagic, 8) != 0) {
    return Damaged("superblock", "no magic");
  }
  if (in.crc.get() != wire::Crc32c(0, &in, offsetof(DiskSuperblock, crc))) {
    return Damaged("superblock", "checksum");
  }
  if (in.format_version.get() > kFormatVersion) {
    return FromLaterVersion("superblock", in.format_version.get());
  }
  const uint64_t segment = in.segment_bytes.get(), device = in.device_bytes.get();
  const uint64_t count = in.count.get(), state = in.state.get();
  if (in.format_version.get() == 0 || (state != 1 && state != 2) || in.generation.get() == 0 ||
      in.checksum_algorithm.get() != kChecksumCrc32c) {
    return Damaged("superblock", "version, state, generation or algorithm");
  }
  if (count == 0 || count > kDevicesMax || in.ordinal.get() >= count) {
    return Damaged("superblock", "ordinal or count");
  }
  if (segment < kSegmentBytesMin || segment > kSegmentBytesMax || segment % kPageBytes != 0 ||
      device % kPageBytes != 0 || SegmentsOn(device, segment) < kSegmentsADeviceMin) {
    return Damaged("superblock", "segment or device size");
  }
  if (!AllZero(in.zero1) || !AllZero(in.zero2)) return Damaged("superblock", "padding");
  for (uint64_t i = count; i < kDevicesMax; ++i) {
    if (!AllZero(in.members[i])) return Damaged("superblock", "members past count");
  }
  if (std::memcmp(in.members[in.ordinal.get()], in.device_uuid, 16) != 0) {
    return Damaged("superblock", "device is not the member it says");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Superblock> DecodeSuperblock(std::span<const std::byte> page) {
  if (page.size() != kPageBytes) return Damaged("superblock", "size");
  const auto in = Load<DiskSuperblock>(page);
  if (absl::Status status = CheckSuperblock(in); !status.ok()) return status;
  Superblock out;
  out.state = static_cast<SuperblockState>(in.state.get());
  out.generation = in.generation.get();
  std::memcpy(out.set_uuid.data(), in.set_uuid, 16);
  std::memcpy(out.device_uuid.data(), in.device_uuid, 16);
  out.ordinal = static_cast<uint32_t>(in.ordinal.get());
  out.count = static_cast<uint32_t>(in.count.get());
  out.segment_bytes = in.segment_bytes.get();
  out.device_bytes = in.device_bytes.get();
  out.created_wall_s = in.created_wall_s.get();
  std::memcpy(out.hash_secret.data(), in.hash_secret, 16);
  out.members.resize(out.count);
  for (uint32_t i = 0; i < out.count; ++i) std::memcpy(out.members[i].data(), in.members[i], 16);
  return out;
}

void EncodeSegmentHeader(const SegmentHeader& header, std::span<std::byte, kPageBytes> page) {
  DiskSegmentHeader out{};
  std::memcpy(out.magic, internal::kSegmentMagic, 8);
  out.format_version.set(kFormatVersion);
  out.segment.set(header.segment);
  std::memcpy(out.device_uuid, header.device_uuid.data(), 16);
  out.lap.set(header.lap);
  out.incarnation.set(header.incarnation);
  internal::EncodeMarks(header.marks, &out);
  out.crc.set(wire::Crc32c(0, &out, offsetof(DiskSegmentHeader, crc)));
  std::memcpy(page.data(), &out, sizeof(out));
}

absl::StatusOr<SegmentHeader> DecodeSegmentHeader(std::span<const std::byte> page) {
  if (page.size() != kPageBytes) return Damaged("segment header", "size");
  const auto in = Load<DiskSegmentHeader>(page);
  if (std::memcmp(in.magic, internal::kSegmentMagic, 8) != 0) {
    return Damaged("segment header", "no magic");
  }
  if (in.crc.get() != wire::Crc32c(0, &in, offsetof(DiskSegmentHeader, crc))) {
    return Damaged("segment header", "checksum");
  }
  if (in.format_version.get() > kFormatVersion) {
    return FromLaterVersion("segment header", in.format_version.get());
  }
  if (in.format_version.get() == 0 || in.lap.get() == 0 || !AllZero(in.zero) ||
      in.version_max.get() > kVersionMax) {
    return Damaged("segment header", "field out of range");
  }
  SegmentHeader out;
  std::memcpy(out.device_uuid.data(), in.device_uuid, 16);
  out.segment = static_cast<uint32_t>(in.segment.get());
  out.lap = in.lap.get();
  out.incarnation = in.incarnation.get();
  out.marks = internal::DecodeMarks(in);
  return out;
}

namespace internal {

void EncodeNamespace(const NamespaceRef& ns, DiskNamespace* out) {
  KVGATE_CHECK(ns.tenant.size() <= kTenantBytesMax) << ns.tenant.size();
  *out = DiskNamespace{};
  out->id.set(ns.id);
  out->epoch.set(ns.epoch);
  std::memcpy(out->identity_digest, ns.identity_digest.data(), 32);
  out->tenant_bytes = static_cast<uint8_t>(ns.tenant.size());
  std::memcpy(out->tenant, ns.tenant.data(), ns.tenant.size());
}

absl::StatusOr<NamespaceRef> DecodeNamespace(const DiskNamespace& in) {
  if (in.id.get() == 0 || in.tenant_bytes > kTenantBytesMax || in.epoch.get() > kVersionMax ||
      !AllZero(in.zero) || !AllZero(std::span(in.tenant).subspan(in.tenant_bytes))) {
    return Damaged("namespace", "field out of range");
  }
  NamespaceRef out;
  out.id = static_cast<uint32_t>(in.id.get());
  out.epoch = in.epoch.get();
  out.tenant.assign(reinterpret_cast<const char*>(in.tenant), in.tenant_bytes);
  std::memcpy(out.identity_digest.data(), in.identity_digest, 32);
  return out;
}

void EncodeEntry(const RecordMeta& meta, uint16_t first_page, uint8_t namespace_index,
                 uint8_t producer_index, DiskEntry* out) {
  *out = DiskEntry{};
  out->hash_lo.set(meta.hash.lo);
  out->hash_hi.set(meta.hash.hi);
  out->parent_lo.set(meta.parent.lo);
  out->parent_hi.set(meta.parent.hi);
  out->version.set(meta.version);
  out->type = static_cast<uint8_t>(meta.type);
  if (meta.supersedes) out->flags |= kFlagSupersedes;
  if (meta.type == RecordType::kTombstone) {
    if (meta.all_siblings) out->flags |= kFlagAllSiblings;
    out->length.set(meta.birth_seq & 0xffffffff);
    out->crc.set(meta.birth_seq >> 32);
  } else {
    out->length.set(meta.length);
    out->crc.set(meta.crc);
    out->expiry_s.set(meta.expiry_s);
    out->first_page.set(first_page);
  }
  out->written_s.set(meta.written_s);
  out->depth.set(std::min<uint32_t>(meta.depth, 65535));
  out->producer_index = producer_index;
  out->namespace_index = namespace_index;
  out->group = meta.group;
  out->shard = meta.shard;
}

absl::StatusOr<LogRecord> DecodeEntry(const DiskEntry& in, std::span<const NamespaceRef> namespaces,
                                      std::span<const uint64_t> producers) {
  const bool value = in.type == kEntryValue;
  if (!value && in.type != kEntryTombstone) return Damaged("entry", "type");
  const uint8_t flags = value ? kFlagSupersedes : kFlagSupersedes | kFlagAllSiblings;
  if ((in.flags & ~flags) != 0) return Damaged("entry", "flags");
  if (in.version.get() == 0) return Damaged("entry", "version");
  if (in.namespace_index >= namespaces.size() || in.producer_index >= producers.size()) {
    return Damaged("entry", "index past its table");
  }
  LogRecord out;
  out.meta.type = value ? RecordType::kValue : RecordType::kTombstone;
  out.meta.supersedes = (in.flags & kFlagSupersedes) != 0;
  out.meta.all_siblings = (in.flags & kFlagAllSiblings) != 0;
  out.meta.ns = namespaces[in.namespace_index].id;
  out.meta.producer = producers[in.producer_index];
  out.meta.hash = {.lo = in.hash_lo.get(), .hi = in.hash_hi.get()};
  out.meta.parent = {.lo = in.parent_lo.get(), .hi = in.parent_hi.get()};
  out.meta.group = in.group;
  out.meta.shard = in.shard;
  out.meta.version = in.version.get();
  out.meta.expiry_s = static_cast<uint32_t>(in.expiry_s.get());
  out.meta.written_s = static_cast<uint32_t>(in.written_s.get());
  out.meta.depth = static_cast<uint32_t>(in.depth.get());
  out.first_page = static_cast<uint16_t>(in.first_page.get());
  if (value) {
    out.meta.length = static_cast<uint32_t>(in.length.get());
    out.meta.crc = static_cast<uint32_t>(in.crc.get());
    if (out.meta.length == 0 || out.meta.length > wire::kValueBytesMax || out.first_page < 2) {
      return Damaged("entry", "length or place of a value");
    }
  } else {
    out.meta.birth_seq = in.length.get() | in.crc.get() << 32;
    if (out.first_page != 0 || out.meta.expiry_s != 0) return Damaged("entry", "tombstone");
  }
  return out;
}

}  // namespace internal

}  // namespace kvgate::storage
