// SPDX-License-Identifier: Apache-2.0
#include "storage/log/format.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>

#include "absl/strings/str_cat.h"
#include "proto/wire/checksum.h"
#include "storage/log/format_samples.h"

namespace kvgate::storage {
namespace {

using Bytes = std::vector<std::byte>;
using Decode = std::function<absl::Status(std::span<const std::byte>)>;

absl::Status TrySuperblock(std::span<const std::byte> b) { return DecodeSuperblock(b).status(); }
absl::Status TryHeader(std::span<const std::byte> b) { return DecodeSegmentHeader(b).status(); }
absl::Status TryBatch(std::span<const std::byte> b) { return DecodeBatch(b).status(); }
absl::Status TryFooter(std::span<const std::byte> b) { return DecodeFooterPages(b).status(); }
absl::Status TryImage(std::span<const std::byte> b) {
  return DecodeFooterImage({reinterpret_cast<const char*>(b.data()), b.size()}).status();
}

Bytes ImageBytes() {
  const std::string image = SampleFooterImage();
  const auto bytes = std::as_bytes(std::span(image));
  return {bytes.begin(), bytes.end()};
}

struct Sample {
  const char* name;
  Bytes bytes;
  Decode decode;
  size_t version_at;  // from the start, or from the end when counted_from_end
  bool counted_from_end;
};

std::vector<Sample> Samples() {
  return {{"superblock", SampleSuperblockPage(), TrySuperblock, 8, false},
          {"segment header", SampleSegmentHeaderPage(), TryHeader, 8, false},
          {"batch", SampleBatch(), TryBatch, 12, false},
          {"footer", SampleFooterPages(), TryFooter, 256 - 12, true},
          {"checkpoint image", ImageBytes(), TryImage, 256 - 12, true}};
}

TEST(FormatTest, SuperblockComesBack) {
  const absl::StatusOr<Superblock> back = DecodeSuperblock(SampleSuperblockPage());
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(*back, SampleSuperblock());
}

TEST(FormatTest, SegmentHeaderComesBack) {
  const absl::StatusOr<SegmentHeader> back = DecodeSegmentHeader(SampleSegmentHeaderPage());
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(*back, SampleSegmentHeader());
}

void ExpectSame(const RecordMeta& a, const RecordMeta& b) {
  EXPECT_EQ(a.type, b.type);
  EXPECT_EQ(a.supersedes, b.supersedes);
  EXPECT_EQ(a.all_siblings, b.all_siblings);
  EXPECT_EQ(a.ns, b.ns);
  EXPECT_EQ(a.hash, b.hash);
  EXPECT_EQ(a.parent, b.parent);
  EXPECT_EQ(a.group, b.group);
  EXPECT_EQ(a.shard, b.shard);
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.length, b.length);
  EXPECT_EQ(a.crc, b.crc);
  EXPECT_EQ(a.birth_seq, b.birth_seq);
  EXPECT_EQ(a.expiry_s, b.expiry_s);
  EXPECT_EQ(a.written_s, b.written_s);
  EXPECT_EQ(std::min(a.depth, 65535u), std::min(b.depth, 65535u));
  EXPECT_EQ(a.producer, b.producer);
}

TEST(FormatTest, BatchComesBackWithKeysAndPlaces) {
  const Bytes pages = SampleBatch();
  ASSERT_EQ(*PeekBatchHeaderPages(pages), pages.size() / kPageBytes);
  const absl::StatusOr<Batch> back = DecodeBatch(pages);
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(back->ns, SampleNamespace());
  EXPECT_EQ(back->keys, SampleKeys());
  EXPECT_EQ(back->info.marks, SampleMarks());
  EXPECT_EQ(back->info.batch_seq, 1234u);
  const uint32_t payloads = 1 + back->info.header_pages;
  EXPECT_EQ(back->records[0].first_page, payloads);
  EXPECT_EQ(back->records[1].first_page, 0);
  EXPECT_EQ(back->records[2].first_page, payloads + 2);
  for (int i = 0; i < 3; ++i) ExpectSame(back->records[i].meta, SampleRecords()[i]);
}

TEST(FormatTest, FooterComesBackFromPagesAndFromTheCheckpoint) {
  const Bytes pages = SampleFooterPages();
  EXPECT_EQ(*PeekFooterPages(std::span(pages).last(kPageBytes)), pages.size() / kPageBytes);
  for (const absl::StatusOr<Footer>& back :
       {DecodeFooterPages(pages), DecodeFooterImage(SampleFooterImage())}) {
    ASSERT_TRUE(back.ok()) << back.status().ToString();
    EXPECT_EQ(back->info, SampleFooterInfo());
    ASSERT_EQ(back->records.size(), 3u);
    for (int i = 0; i < 3; ++i) ExpectSame(back->records[i].meta, SampleRecords()[i]);
    EXPECT_EQ(back->records[2].first_page, 4);
  }
}

TEST(FormatTest, EveryFlippedBitIsDetected) {
  for (Sample& sample : Samples()) {
    for (size_t i = 0; i < sample.bytes.size(); ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        sample.bytes[i] ^= std::byte(1 << bit);
        ASSERT_FALSE(sample.decode(sample.bytes).ok()) << sample.name << " byte " << i;
        sample.bytes[i] ^= std::byte(1 << bit);
      }
    }
    EXPECT_TRUE(sample.decode(sample.bytes).ok()) << sample.name;
  }
}

TEST(FormatTest, TruncatedBytesAreRefused) {
  for (const Sample& sample : Samples()) {
    for (size_t bytes = 0; bytes < sample.bytes.size(); bytes += bytes < 300 ? 1 : 97) {
      EXPECT_FALSE(sample.decode(std::span(sample.bytes).first(bytes)).ok())
          << sample.name << " of " << bytes;
    }
  }
}

TEST(FormatTest, BlankBytesAreNothing) {
  for (const Sample& sample : Samples()) {
    const absl::Status status = sample.decode(Bytes(sample.bytes.size()));
    EXPECT_TRUE(absl::IsDataLoss(status)) << sample.name << ": " << status.ToString();
  }
}

void FixCrc(Bytes* bytes, const std::string& name) {
  size_t at = 4092, begin = 0;
  uint32_t crc = 0;
  if (name == "superblock" || name == "segment header") {
    crc = wire::Crc32c(0, bytes->data(), 4092);
  } else {
    at = name == "batch" ? 8 : bytes->size() - 256 + 8;
    std::memset(bytes->data() + at, 0, 4);
    if (name == "footer") {
      // Entries and tables, then the trailer; the zeros between do not count.
      const size_t body = SampleFooterImage().size() - 256;
      crc = wire::Crc32c(0, bytes->data(), body);
      begin = bytes->size() - 256;
    }
    crc = wire::Crc32c(crc, bytes->data() + begin, bytes->size() - begin);
  }
  Le<4> le;
  le.set(crc);
  std::memcpy(bytes->data() + at, &le, 4);
}

TEST(FormatTest, ALaterVersionIsRefusedByName) {
  for (Sample& sample : Samples()) {
    Bytes later = sample.bytes;
    const size_t at =
        sample.counted_from_end ? later.size() - sample.version_at : sample.version_at;
    later[at] = std::byte{2};
    FixCrc(&later, sample.name);
    const absl::Status status = sample.decode(later);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << sample.name << ": " << status.ToString();
    EXPECT_NE(status.message().find("has format 2"), absl::string_view::npos);
  }
}

// With a good checksum, so that it is the checks behind it that must hold.
TEST(FormatTest, HostileBytesWithAGoodChecksumNeverReachOutside) {
  std::mt19937_64 random(1);
  for (Sample& sample : Samples()) {
    for (int round = 0; round < 20000; ++round) {
      Bytes hostile = sample.bytes;
      for (int changes = 1 + round % 4; changes > 0; --changes) {
        // Mostly where fields are.
        const size_t span =
            random() % 2 == 0 ? std::min<size_t>(hostile.size(), 600) : hostile.size();
        size_t at = random() % span;
        if (sample.counted_from_end) at = hostile.size() - 1 - at;
        hostile[at] = std::byte(random());
      }
      FixCrc(&hostile, sample.name);
      (void)sample.decode(hostile).ok();  // must not crash; sanitizers watch
    }
  }
}

TEST(FormatTest, ValuesOutOfRangeAreRefused) {
  const auto refused = [](const char* name, size_t at, uint8_t byte) {
    for (Sample& sample : Samples()) {
      if (std::string(name) != sample.name) continue;
      Bytes bytes = sample.bytes;
      ASSERT_NE(bytes[at], std::byte{byte}) << "the test changes nothing";
      bytes[at] = std::byte{byte};
      FixCrc(&bytes, sample.name);
      EXPECT_TRUE(absl::IsDataLoss(sample.decode(bytes))) << name << " byte " << at;
    }
  };
  refused("superblock", 12, 3);        // state
  refused("superblock", 56, 2);        // ordinal = count
  refused("superblock", 58, 65);       // count
  refused("superblock", 40, 0);        // not the member it says
  refused("superblock", 4000, 1);      // padding
  refused("segment header", 32, 0);    // lap
  refused("batch", 14, 2);             // algorithm
  refused("batch", 15, 61);            // entries
  refused("batch", 17, 2);             // namespaces
  refused("batch", 20, 9);             // pages
  refused("batch", 44, 0);             // first page
  refused("batch", 74, 255);           // a predecessor that is younger
  refused("batch", 256 + 38, 3);       // a type kept free
  refused("batch", 256 + 39, 4);       // an unknown flag
  refused("batch", 256 + 56, 9);       // payload not contiguous
  refused("batch", 256 + 60, 3);       // producer index
  refused("batch", 256 + 61, 1);       // namespace index
  refused("batch", 256 + 64 + 56, 1);  // a tombstone with a place
}

TEST(FormatTest, TheLargestBatchHasSeventeenPages) {
  std::vector<RecordMeta> metas(kBatchEntriesMax, SampleRecords()[2]);
  for (size_t i = 0; i < metas.size(); ++i) metas[i].producer = i;
  const std::vector<std::string> keys(kBatchEntriesMax, std::string(1024, 'k'));
  const std::vector<BatchRecord> records = AsBatch(metas, keys);
  ASSERT_EQ(BatchHeaderPages(records), kBatchHeaderPagesMax);
  Bytes pages(kBatchHeaderPagesMax * kPageBytes);
  std::vector<uint16_t> first_pages;
  EncodeBatchHeader(SampleBatchInfo(17, 17 + 60), SampleNamespace(), records, pages, &first_pages);
  const absl::StatusOr<Batch> back = DecodeBatch(pages);
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(back->keys, keys);
  EXPECT_EQ(back->records.back().meta.producer, 59u);
}

TEST(FormatTest, AFooterTakes255NamespacesAndProducersAndNoMore) {
  FooterBuilder builder;
  RecordMeta meta = SampleRecords()[2];
  NamespaceRef ns = SampleNamespace();
  const std::vector<BatchRecord> records = {{&meta, "k"}};
  for (uint32_t i = 1; i <= kTableMax; ++i) {
    meta.ns = ns.id = i;
    meta.producer = i;
    ASSERT_TRUE(builder.Fits(i, records)) << i;
    builder.Add(ns, meta, 2);
  }
  EXPECT_TRUE(builder.Fits(1, records));
  EXPECT_FALSE(builder.Fits(kTableMax + 1, records));
  meta.producer = kTableMax + 1;
  EXPECT_FALSE(builder.Fits(1, records));
  const absl::StatusOr<Footer> back = DecodeFooterImage(builder.Encode(SampleFooterInfo()));
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(back->records[200].meta.ns, 201u);
}

// Bytes of version 1 as they were written once: what any later kvgate must read. When the format
// changes on purpose, the version changes, and this file stays beside a new one.
TEST(FormatTest, TheGoldenSegmentIsReadAndWrittenAlike) {
  Bytes written;
  for (const Bytes& part :
       {SampleSuperblockPage(), SampleSegmentHeaderPage(), SampleBatch(), SampleFooterPages()}) {
    written.insert(written.end(), part.begin(), part.end());
  }
  std::ifstream file("storage/log/testdata/golden_v1.bin", std::ios::binary);
  const std::string golden((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
  const bool same = golden.size() == written.size() &&
                    std::memcmp(golden.data(), written.data(), golden.size()) == 0;
  if (!same) {
    const char* directory = std::getenv("TEST_UNDECLARED_OUTPUTS_DIR");
    std::ofstream(absl::StrCat(directory == nullptr ? "." : directory, "/golden_v1.bin"),
                  std::ios::binary)
        .write(reinterpret_cast<const char*>(written.data()),
               static_cast<std::streamsize>(written.size()));
  }
  EXPECT_TRUE(same) << "the bytes of format 1 changed";
  const auto bytes = std::as_bytes(std::span(golden));
  ASSERT_GE(bytes.size(), 4 * kPageBytes);
  EXPECT_TRUE(DecodeSuperblock(bytes.first(kPageBytes)).ok());
  EXPECT_TRUE(DecodeSegmentHeader(bytes.subspan(kPageBytes, kPageBytes)).ok());
  EXPECT_TRUE(DecodeFooterPages(bytes.last(kPageBytes)).ok());
}

}  // namespace
}  // namespace kvgate::storage
