// SPDX-License-Identifier: Apache-2.0
//
// One fixed example of every structure, for the golden file and the tests of the format. Tests
// only.
#pragma once

#include <string>
#include <vector>

#include "storage/log/format.h"

namespace kvgate::storage {

inline Uuid SampleUuid(uint8_t start) {
  Uuid uuid;
  for (size_t i = 0; i < uuid.size(); ++i) uuid[i] = static_cast<uint8_t>(start + i);
  return uuid;
}

inline SetMarks SampleMarks() {
  return {.sequence_max = 44,
          .version_max = 0x123456789abc,
          .namespace_id_max = 9,
          .anchor = {.cache_s = 1000,
                     .wall_s = 1'700'000'000,
                     .boot_id = SampleUuid(65),
                     .boot_s = 0x1122334455}};
}

inline Superblock SampleSuperblock() {
  Superblock out{.state = SuperblockState::kReady,
                 .generation = 2,
                 .set_uuid = SampleUuid(1),
                 .device_uuid = SampleUuid(33),
                 .ordinal = 1,
                 .count = 2,
                 .segment_bytes = 80 << 20,
                 .device_bytes = 1 << 30,
                 .created_wall_s = 1'700'000'000,
                 .members = {SampleUuid(17), SampleUuid(33)}};
  for (size_t i = 0; i < 16; ++i) out.hash_secret[i] = static_cast<uint8_t>(0xf0 + i);
  return out;
}

inline SegmentHeader SampleSegmentHeader() {
  return {.device_uuid = SampleUuid(33),
          .segment = 5,
          .lap = 3,
          .incarnation = 0x1122334455667788,
          .marks = SampleMarks()};
}

inline NamespaceRef SampleNamespace() {
  NamespaceRef out{.id = 7, .epoch = 3, .tenant = "tenant", .identity_digest = {}};
  for (size_t i = 0; i < 32; ++i) out.identity_digest[i] = static_cast<uint8_t>(i);
  return out;
}

// Two values and a tombstone, of two producers.
inline std::vector<RecordMeta> SampleRecords() {
  RecordMeta value{.supersedes = true,
                   .ns = 7,
                   .hash = {.lo = 1, .hi = 2},
                   .parent = {.lo = 3, .hi = 4},
                   .group = 1,
                   .shard = 2,
                   .version = 100,
                   .length = 5000,
                   .crc = 0xdeadbeef,
                   .expiry_s = 2000,
                   .written_s = 1000,
                   .depth = 70000,
                   .producer = 0xaaaabbbbccccdddd};
  RecordMeta tombstone{.type = RecordType::kTombstone,
                       .all_siblings = true,
                       .ns = 7,
                       .hash = {.lo = 5, .hi = 6},
                       .version = 101,
                       .birth_seq = 0x123456789a,
                       .written_s = 1001};
  RecordMeta small = value;
  small.supersedes = false;
  small.hash = {.lo = 7, .hi = 8};
  small.parent = {};
  small.version = 102;
  small.length = 1;
  small.expiry_s = 0;
  small.depth = 3;
  return {value, tombstone, small};
}

inline std::vector<std::string> SampleKeys() { return {"key one", "", std::string(1024, 'x')}; }

inline BatchInfo SampleBatchInfo(uint32_t header_pages, uint32_t batch_pages) {
  return {.device_uuid = SampleUuid(33),
          .segment = 5,
          .first_page = 1,
          .header_pages = header_pages,
          .batch_pages = batch_pages,
          .lap = 3,
          .sequence = 44,
          .batch_seq = 1234,
          .prev_batch_seq = 0,
          .incarnation = 0x1122334455667788,
          .marks = SampleMarks()};
}

inline std::vector<BatchRecord> AsBatch(const std::vector<RecordMeta>& metas,
                                        const std::vector<std::string>& keys) {
  std::vector<BatchRecord> out;
  for (size_t i = 0; i < metas.size(); ++i) out.push_back({&metas[i], keys[i]});
  return out;
}

inline std::vector<std::byte> SampleBatch() {
  const std::vector<RecordMeta> metas = SampleRecords();
  const std::vector<std::string> keys = SampleKeys();
  const std::vector<BatchRecord> records = AsBatch(metas, keys);
  const uint32_t header_pages = BatchHeaderPages(records);
  std::vector<std::byte> pages(header_pages * kPageBytes);
  std::vector<uint16_t> first_pages;
  EncodeBatchHeader(SampleBatchInfo(header_pages, header_pages + 3), SampleNamespace(), records,
                    pages, &first_pages);
  return pages;
}

inline FooterInfo SampleFooterInfo() {
  return {.device_uuid = SampleUuid(33),
          .segment = 5,
          .data_pages = 6,
          .lap = 3,
          .sequence = 44,
          .last_batch_seq = 1234,
          .incarnation = 0x1122334455667788,
          .marks = SampleMarks()};
}

inline std::string SampleFooterImage() {
  FooterBuilder builder;
  const std::vector<RecordMeta> metas = SampleRecords();
  builder.Add(SampleNamespace(), metas[0], 2);
  builder.Add(SampleNamespace(), metas[1], 0);
  builder.Add(SampleNamespace(), metas[2], 4);
  return builder.Encode(SampleFooterInfo());
}

inline std::vector<std::byte> SampleFooterPages() {
  const std::string image = SampleFooterImage();
  std::vector<std::byte> pages(FooterPages(image) * kPageBytes);
  ExpandFooter(image, pages);
  return pages;
}

inline std::vector<std::byte> SampleSuperblockPage() {
  std::vector<std::byte> page(kPageBytes);
  EncodeSuperblock(SampleSuperblock(), std::span<std::byte, kPageBytes>(page));
  return page;
}

inline std::vector<std::byte> SampleSegmentHeaderPage() {
  std::vector<std::byte> page(kPageBytes);
  EncodeSegmentHeader(SampleSegmentHeader(), std::span<std::byte, kPageBytes>(page));
  return page;
}

}  // namespace kvgate::storage
