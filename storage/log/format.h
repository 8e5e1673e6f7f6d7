// SPDX-License-Identifier: Apache-2.0
//
// Bytes on disk: the one place that knows where each field of the log lies. docs/formats.md says
// the same in prose; neither changes without the other, and never without a new kFormatVersion.
//
// Promises
//  1. Encode* writes every byte of its output, unused ones as zero; equal input gives equal bytes.
//  2. Decode* takes hostile bytes: it never reads outside its input, and whatever it accepts is the
//     canonical form (magic, version, checksum, ranges, zero padding, contiguous payloads checked).
// All integers are little endian. All functions are pure and thread-safe.
// Errors: DATA_LOSS for bytes that are not such a structure (blank, torn, rotten),
// FAILED_PRECONDITION for an intact structure of a later format version.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/log/log.h"

namespace kvgate::storage {

inline constexpr uint32_t kFormatVersion = 1;
inline constexpr uint64_t kPageBytes = 4096;
inline constexpr uint32_t kChecksumCrc32c = 1;
inline constexpr uint64_t kSegmentsStart = 1 << 20;      // first segment; superblocks before it
inline constexpr uint64_t kDeviceTailBytes = 128 << 10;  // the last two superblock copies
inline constexpr uint64_t kSegmentBytesMin = 1 << 20;
inline constexpr uint64_t kSegmentBytesMax = 256 << 20;  // 65,536 pages: a page number fits 16 bit
inline constexpr uint32_t kSegmentsADeviceMin = 4;
inline constexpr uint32_t kSegmentsADeviceMax = 1 << 20;  // also the stride of Place.segment
inline constexpr uint32_t kDevicesMax = 64;
inline constexpr uint32_t kBatchEntriesMax = 60;
inline constexpr uint32_t kBatchHeaderPagesMax = 17;
inline constexpr uint32_t kTableMax = 255;  // namespaces, and producers, of one segment
inline constexpr uint64_t kVersionMax = (1ull << 48) - 1;
inline constexpr size_t kTenantBytesMax = 64;

using Uuid = std::array<uint8_t, 16>;

// A little-endian unsigned integer of N bytes, without alignment.
template <size_t N>
struct Le {
  uint8_t b[N];
  uint64_t get() const {
    uint64_t v = 0;
    for (size_t i = 0; i < N; ++i) v |= uint64_t{b[i]} << (8 * i);
    return v;
  }
  void set(uint64_t v) {
    for (size_t i = 0; i < N; ++i) b[i] = static_cast<uint8_t>(v >> (8 * i));
  }
};

// ---- What lies on the disk -----------------------------------------------------------------

// DO NOT CHANGE THESE NUMBERS. 1 and 2 are RecordType; the others are kept free for entries of
// later versions, which must raise kFormatVersion since old decoders refuse them:
// 3 purge intent {predicate, version bound}, 4 purge done, 5 expire/persist {new expiry},
// 6 flush {namespace, version}.
inline constexpr uint8_t kEntryValue = 1;
inline constexpr uint8_t kEntryTombstone = 2;
inline constexpr uint8_t kFlagSupersedes = 1 << 0;
inline constexpr uint8_t kFlagAllSiblings = 1 << 1;  // tombstones only

struct DiskEntry {
  Le<8> hash_lo, hash_hi;
  Le<8> parent_lo, parent_hi;  // both 0: no parent
  Le<6> version;
  uint8_t type;
  uint8_t flags;
  Le<4> length;  // tombstone: birth_seq, low half
  Le<4> crc;     // tombstone: birth_seq, high half
  Le<4> expiry_s;
  Le<4> written_s;
  Le<2> first_page;  // of the payload, counted from the segment's start; 0 in tombstones
  Le<2> depth;
  uint8_t producer_index;
  uint8_t namespace_index;
  uint8_t group;
  uint8_t shard;
};
static_assert(sizeof(DiskEntry) == 64 && alignof(DiskEntry) == 1);
static_assert(offsetof(DiskEntry, parent_lo) == 16 && offsetof(DiskEntry, version) == 32);
static_assert(offsetof(DiskEntry, type) == 38 && offsetof(DiskEntry, length) == 40);
static_assert(offsetof(DiskEntry, expiry_s) == 48 && offsetof(DiskEntry, first_page) == 56);
static_assert(offsetof(DiskEntry, producer_index) == 60 && offsetof(DiskEntry, shard) == 63);

struct DiskNamespace {
  Le<4> id;
  Le<8> epoch;  // version of the last flush of the namespace; 0: never flushed
  uint8_t identity_digest[32];
  uint8_t tenant_bytes;
  uint8_t tenant[kTenantBytesMax];
  uint8_t zero[3];
};
static_assert(sizeof(DiskNamespace) == 112);

struct DiskAnchor {
  Le<4> cache_s;
  Le<8> wall_s;
  uint8_t boot_id[16];  // zero: not recorded
  Le<8> boot_s;         // CLOCK_BOOTTIME in that boot
};

// Copies at 0, 64 KiB, end - 128 KiB and end - 64 KiB.
struct DiskSuperblock {
  uint8_t magic[8];  // "KVGATESB"
  Le<4> format_version;
  Le<4> state;
  Le<8> generation;
  uint8_t set_uuid[16];
  uint8_t device_uuid[16];
  Le<2> ordinal;
  Le<2> count;
  Le<4> checksum_algorithm;
  Le<8> segment_bytes;
  Le<8> device_bytes;
  Le<8> created_wall_s;
  uint8_t hash_secret[16];
  uint8_t zero1[24];
  uint8_t members[kDevicesMax][16];  // device uuids of the set, by ordinal
  uint8_t zero2[kPageBytes - 128 - kDevicesMax * 16 - 4];
  Le<4> crc;  // of all bytes before it
};
static_assert(sizeof(DiskSuperblock) == kPageBytes);
static_assert(offsetof(DiskSuperblock, members) == 128 && offsetof(DiskSuperblock, crc) == 4092);

// Page 0 of each segment. Written at format and at each reclaim, nowhere else: whether it is used
// and by which sequence stands in its batches, so no tear can bring back an older lap.
struct DiskSegmentHeader {
  uint8_t magic[8];  // "KVGATESG"
  Le<4> format_version;
  Le<4> segment;
  uint8_t device_uuid[16];
  Le<8> lap;
  Le<8> incarnation;
  Le<8> sequence_max;
  Le<8> version_max;
  Le<4> namespace_id_max;
  DiskAnchor anchor;
  uint8_t zero[kPageBytes - 108];
  Le<4> crc;  // of all bytes before it
};
static_assert(sizeof(DiskSegmentHeader) == kPageBytes);

// First 256 B of a batch; then entries, one DiskNamespace, producers (8 B each), keys (u16 length
// each), zeros up to a page. Payloads follow, each from a page boundary, in the entries' order.
struct DiskBatchHeader {
  uint8_t magic[8];  // "KVGATEBH"
  Le<4> crc;         // of all header pages, this field as 0
  Le<2> format_version;
  uint8_t checksum_algorithm;
  uint8_t entries;
  uint8_t header_pages;
  uint8_t namespaces;  // 1
  uint8_t producers;
  uint8_t zero1;
  Le<4> batch_pages;  // header and payloads
  uint8_t device_uuid[16];
  Le<4> segment;
  Le<4> first_page;  // where in the segment this batch begins
  Le<8> lap;
  Le<8> sequence;  // of the segment, over the whole set
  Le<8> batch_seq;
  Le<8> prev_batch_seq;  // of the batch before it in this segment; 0: the first
  Le<8> incarnation;
  Le<8> version_max;
  Le<8> sequence_max;
  DiskAnchor anchor;
  Le<4> namespace_id_max;
  Le<4> key_bytes;  // with their lengths
  uint8_t zero2[108];
};
static_assert(sizeof(DiskBatchHeader) == 256);
static_assert(offsetof(DiskBatchHeader, device_uuid) == 24 && offsetof(DiskBatchHeader, lap) == 48);
static_assert(sizeof(DiskBatchHeader) + kBatchEntriesMax * (sizeof(DiskEntry) + 2 + 1024) == 65656);
static_assert(65656 + sizeof(DiskNamespace) + kBatchEntriesMax * 8 <=
              kBatchHeaderPagesMax * kPageBytes);

// Last 256 B of a sealed segment. Before it: entries, namespaces, producers from the first byte of
// the footer on, then zeros. The checkpoint keeps the same without the zeros.
struct DiskFooterTrailer {
  uint8_t magic[8];  // "KVGATEFT"
  Le<4> crc;         // of entries, tables and trailer (this field as 0), without the zeros between
  Le<2> format_version;
  uint8_t checksum_algorithm;
  uint8_t zero1;
  Le<4> entries;
  Le<2> namespaces;
  Le<2> producers;
  Le<4> footer_pages;
  Le<4> data_pages;  // segment header and batches
  uint8_t device_uuid[16];
  Le<4> segment;
  Le<4> zero2;
  Le<8> lap;
  Le<8> sequence;
  Le<8> last_batch_seq;
  Le<8> incarnation;
  Le<8> version_max;
  Le<8> sequence_max;
  DiskAnchor anchor;
  Le<4> namespace_id_max;
  uint8_t zero3[112];
};
static_assert(sizeof(DiskFooterTrailer) == 256);

// ---- The same, decoded ---------------------------------------------------------------------

struct Anchor {
  uint32_t cache_s = 0;
  uint64_t wall_s = 0;
  Uuid boot_id{};  // zero: not recorded
  uint64_t boot_s = 0;
  friend bool operator==(const Anchor&, const Anchor&) = default;
};

Anchor AnchorOf(const Clock& clock);

enum class SuperblockState : uint32_t { kFormatting = 1, kReady = 2 };

struct Superblock {
  SuperblockState state = SuperblockState::kFormatting;
  uint64_t generation = 1;
  Uuid set_uuid{}, device_uuid{};
  uint32_t ordinal = 0, count = 1;
  uint64_t segment_bytes = 0, device_bytes = 0, created_wall_s = 0;
  wire::HashSecret hash_secret{};
  std::vector<Uuid> members;  // `count` of them
  friend bool operator==(const Superblock&, const Superblock&) = default;
};

// What headers, batches and footers repeat of the set's state, so that any of them can be lost.
struct SetMarks {
  uint64_t sequence_max = 0;  // highest segment sequence opened so far
  uint64_t version_max = 0;
  uint32_t namespace_id_max = 0;
  Anchor anchor;
  friend bool operator==(const SetMarks&, const SetMarks&) = default;
};

struct SegmentHeader {
  Uuid device_uuid{};
  uint32_t segment = 0;  // number on its device
  uint64_t lap = 0, incarnation = 0;
  SetMarks marks;
  friend bool operator==(const SegmentHeader&, const SegmentHeader&) = default;
};

struct NamespaceRef {
  uint32_t id = 0;
  uint64_t epoch = 0;
  std::string tenant;
  wire::IdentityDigest identity_digest{};
  friend bool operator==(const NamespaceRef&, const NamespaceRef&) = default;
};

struct BatchInfo {
  Uuid device_uuid{};
  uint32_t segment = 0, first_page = 0;
  uint32_t header_pages = 0, batch_pages = 0;
  uint64_t lap = 0, sequence = 0, batch_seq = 0, prev_batch_seq = 0, incarnation = 0;
  SetMarks marks;
};

struct LogRecord {  // an entry; meta.ns and meta.producer are resolved
  RecordMeta meta;
  uint16_t first_page = 0;
};

struct Batch {
  BatchInfo info;
  NamespaceRef ns;
  std::vector<LogRecord> records;
  std::vector<std::string> keys;  // one a record
};

struct FooterInfo {
  Uuid device_uuid{};
  uint32_t segment = 0, data_pages = 0;
  uint64_t lap = 0, sequence = 0, last_batch_seq = 0, incarnation = 0;
  SetMarks marks;
  friend bool operator==(const FooterInfo&, const FooterInfo&) = default;
};

struct Footer {
  FooterInfo info;
  std::vector<NamespaceRef> namespaces;
  std::vector<LogRecord> records;
};

// ---- Functions -------------------------------------------------------------------------------

constexpr uint64_t AlignToPage(uint64_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}
constexpr uint32_t PagesOf(uint64_t bytes) {
  return static_cast<uint32_t>((bytes + kPageBytes - 1) / kPageBytes);
}
// Pages of one segment; a device's segments; where one begins.
constexpr uint32_t SegmentPages(uint64_t segment_bytes) {
  return static_cast<uint32_t>(segment_bytes / kPageBytes);
}
uint64_t SegmentsOn(uint64_t device_bytes, uint64_t segment_bytes);
constexpr uint64_t SegmentOffset(uint32_t segment, uint64_t segment_bytes) {
  return kSegmentsStart + segment * segment_bytes;
}
// Offsets of the four superblock copies. REQUIRES: device_bytes is a multiple of kPageBytes.
std::array<uint64_t, 4> SuperblockOffsets(uint64_t device_bytes);

using Page = std::array<std::byte, kPageBytes>;

void EncodeSuperblock(const Superblock& superblock, std::span<std::byte, kPageBytes> page);
absl::StatusOr<Superblock> DecodeSuperblock(std::span<const std::byte> page);

void EncodeSegmentHeader(const SegmentHeader& header, std::span<std::byte, kPageBytes> page);
absl::StatusOr<SegmentHeader> DecodeSegmentHeader(std::span<const std::byte> page);

struct BatchRecord {  // of one namespace
  const RecordMeta* meta = nullptr;
  std::string_view key;
};

// Header pages that these records need. REQUIRES: 1 … 60 records, keys of at most 1,024 B.
uint32_t BatchHeaderPages(std::span<const BatchRecord> records);

// Fills `pages` (info.header_pages of them) and *first_pages, the payloads' pages in the segment.
// REQUIRES: header_pages and batch_pages as BatchHeaderPages and the lengths say.
void EncodeBatchHeader(const BatchInfo& info, const NamespaceRef& ns,
                       std::span<const BatchRecord> records, std::span<std::byte> pages,
                       std::vector<uint16_t>* first_pages);

// Header pages of the batch whose first page this is: what must be read before DecodeBatch.
absl::StatusOr<uint32_t> PeekBatchHeaderPages(std::span<const std::byte> first_page);
absl::StatusOr<Batch> DecodeBatch(std::span<const std::byte> header_pages);

// The entries of a segment as they gather while it is open. Thread-compatible.
class FooterBuilder {
 public:
  // False when these records would need a 256th namespace or producer.
  bool Fits(uint32_t ns, std::span<const BatchRecord> records) const;
  void Add(const NamespaceRef& ns, const RecordMeta& meta, uint16_t first_page);
  // Pages of the footer with that many more records, at worst.
  uint32_t Pages(size_t more_records) const;
  size_t records() const { return entries_.size(); }
  uint32_t tombstones() const;
  // Forgets all records but the first `records`.
  void Truncate(size_t records);
  // The compact image; its CRC makes it whole. ExpandFooter makes pages of it.
  std::string Encode(const FooterInfo& info) const;

 private:
  int IndexOf(uint32_t ns) const;
  int IndexOfProducer(uint64_t producer) const;

  std::vector<DiskEntry> entries_;
  std::vector<NamespaceRef> namespaces_;
  std::vector<uint64_t> producers_;
};

// The footer as pages: entries first, trailer at the very end. REQUIRES: `pages` holds
// FooterPages(image) pages.
uint32_t FooterPages(std::string_view image);
void ExpandFooter(std::string_view image, std::span<std::byte> pages);
// Pages of the footer whose last page this is.
absl::StatusOr<uint32_t> PeekFooterPages(std::span<const std::byte> last_page);
absl::StatusOr<Footer> DecodeFooterPages(std::span<const std::byte> pages);
absl::StatusOr<Footer> DecodeFooterImage(std::string_view image);

std::string UuidText(const Uuid& uuid);

}  // namespace kvgate::storage
