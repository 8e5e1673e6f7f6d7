// SPDX-License-Identifier: Apache-2.0
#include "storage/io/faulty_disk.h"

#include <gtest/gtest.h>

#include <bit>

#include "storage/io/disk_conformance.h"
#include "storage/io/memory_disk.h"

namespace kvgate::storage {
namespace {

INSTANTIATE_TEST_SUITE_P(PassThrough, DiskConformance,
                         testing::Values(DiskMaker{
                             "faulty", [](uint64_t bytes, const DiskOptions& options) {
                               return std::make_unique<FaultyDisk>(
                                   OpenMemoryDisk(MemoryMedium::Create(bytes), "m", options));
                             }}));

class FaultyDiskTest : public testing::Test {
 protected:
  FaultyDiskTest() {
    EXPECT_TRUE(disk_->WriteSync(0, old_.span()).ok());
    EXPECT_TRUE(disk_->WriteSync(kOther, old_.span()).ok());
  }

  absl::Status Read() { return disk_->ReadSync(0, read_.span()); }
  absl::Status Write() { return disk_->WriteSync(0, new_.span()); }
  int BitsThatDiffer(std::span<const std::byte> a, std::span<const std::byte> b) {
    int bits = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      bits += std::popcount(std::to_integer<unsigned>(a[i] ^ b[i]));
    }
    return bits;
  }
  AlignedBuffer OnMedium(uint64_t offset = 0) {
    AlignedBuffer bytes(kBytes);
    medium_->Peek(offset, bytes.span());
    return bytes;
  }

  static constexpr size_t kBytes = 65536;
  static constexpr uint64_t kOther = 1 << 20;
  const AlignedBuffer old_ = RandomPages(kBytes, 1), new_ = RandomPages(kBytes, 2);
  AlignedBuffer read_ = AlignedBuffer::Zeroed(kBytes);
  std::shared_ptr<MemoryMedium> medium_ = MemoryMedium::Create(4 << 20);
  std::unique_ptr<FaultyDisk> disk_ = std::make_unique<FaultyDisk>(OpenMemoryDisk(medium_));
};

TEST_F(FaultyDiskTest, AnErrorEndsTheRequestAndMovesNothing) {
  const int fault =
      disk_->Add({.on_writes = true, .error = absl::ResourceExhaustedError("no space")});
  EXPECT_EQ(Write().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(SameBytes(OnMedium().span(), old_.span()));
  EXPECT_TRUE(Read().ok());
  EXPECT_EQ(disk_->struck(fault), 1u);
}

TEST_F(FaultyDiskTest, StrikesTheNthCallAndOnlySoManyTimes) {
  disk_->Add({.on_reads = true, .first_call = 3, .calls = 2});
  EXPECT_TRUE(Read().ok());
  EXPECT_TRUE(Read().ok());
  EXPECT_FALSE(Read().ok());
  EXPECT_FALSE(Read().ok());
  EXPECT_TRUE(Read().ok());
}

TEST_F(FaultyDiskTest, StrikesOnlyItsRange) {
  disk_->Add({.on_reads = true, .begin = kOther, .end = kOther + 4096});
  EXPECT_TRUE(Read().ok());
  EXPECT_FALSE(disk_->ReadSync(kOther, read_.span()).ok());
  EXPECT_TRUE(disk_->ReadSync(kOther + 4096, read_.span()).ok());
}

TEST_F(FaultyDiskTest, StrikesByProbabilityTheSameForTheSameSeed) {
  const auto pattern = [&](uint64_t seed) {
    FaultyDisk disk(OpenMemoryDisk(medium_), seed);
    disk.Add({.on_reads = true, .probability = 0.3});
    std::string marks;
    for (int i = 0; i < 200; ++i) marks += disk.ReadSync(0, read_.span()).ok() ? '.' : 'x';
    return marks;
  };
  const std::string first = pattern(1);
  EXPECT_EQ(first, pattern(1));
  EXPECT_NE(first, pattern(2));
  EXPECT_NEAR(static_cast<double>(std::count(first.begin(), first.end(), 'x')), 60, 25);
}

TEST_F(FaultyDiskTest, ABitFlipOnReadLeavesTheMedium) {
  disk_->Add({.kind = Fault::kBitFlip, .on_reads = true, .calls = 1});
  EXPECT_TRUE(Read().ok());
  EXPECT_EQ(BitsThatDiffer(read_.span(), old_.span()), 1);
  EXPECT_TRUE(Read().ok());
  EXPECT_TRUE(SameBytes(read_.span(), old_.span()));
}

TEST_F(FaultyDiskTest, ABitFlipOnWriteLeavesTheCallersBuffer) {
  disk_->Add({.kind = Fault::kBitFlip, .on_writes = true});
  EXPECT_TRUE(Write().ok());
  EXPECT_EQ(BitsThatDiffer(OnMedium().span(), new_.span()), 1);
  EXPECT_TRUE(SameBytes(new_.span(), RandomPages(kBytes, 2).span()));
}

TEST_F(FaultyDiskTest, AShortWriteLeavesTheFirstHalf) {
  disk_->Add({.kind = Fault::kShort, .on_writes = true});
  EXPECT_FALSE(Write().ok());
  const AlignedBuffer bytes = OnMedium();
  EXPECT_TRUE(SameBytes(bytes.span().first(kBytes / 2), new_.span().first(kBytes / 2)));
  EXPECT_TRUE(SameBytes(bytes.span().subspan(kBytes / 2), old_.span().subspan(kBytes / 2)));
}

TEST_F(FaultyDiskTest, AMisdirectedWriteHitsAnotherPlaceAndSaysOk) {
  disk_->Add({.kind = Fault::kMisdirect, .on_writes = true, .shift = kOther});
  EXPECT_TRUE(Write().ok());
  EXPECT_TRUE(SameBytes(OnMedium().span(), old_.span()));
  EXPECT_TRUE(SameBytes(OnMedium(kOther).span(), new_.span()));
}

TEST_F(FaultyDiskTest, ALostWriteSaysOkAndALostSyncCoversNothing) {
  disk_->Add({.kind = Fault::kLost, .on_writes = true, .calls = 1});
  EXPECT_TRUE(Write().ok());
  EXPECT_TRUE(SameBytes(OnMedium().span(), old_.span()));
  disk_->Add({.kind = Fault::kLost, .on_syncs = true});
  const uint64_t before = medium_->calls().syncs;
  EXPECT_TRUE(disk_->SyncSync().ok());
  EXPECT_EQ(medium_->calls().syncs, before);
}

TEST_F(FaultyDiskTest, ADelayedRequestWaitsForRelease) {
  disk_->Add({.kind = Fault::kDelay, .on_reads = true, .calls = 1});
  absl::Notification ended;
  disk_->Read(0, read_.span(), IoClass::kRead, absl::InfiniteFuture(), [&](absl::Status status) {
    EXPECT_TRUE(status.ok());
    ended.Notify();
  });
  EXPECT_EQ(disk_->held(), 1u);
  AlignedBuffer other(4096);
  EXPECT_TRUE(disk_->ReadSync(0, other.span()).ok()) << "others pass";
  EXPECT_FALSE(ended.HasBeenNotified());
  disk_->Release();
  ended.WaitForNotification();
  EXPECT_TRUE(SameBytes(read_.span(), old_.span()));
}

TEST_F(FaultyDiskTest, ANeverCompletingRequestEndsWithTheDiskOnly) {
  disk_->Add({.kind = Fault::kNeverComplete, .on_writes = true});
  absl::Status result;
  absl::Notification ended;
  disk_->Write(0, new_.span(), IoClass::kFlush, [&](absl::Status status) {
    result = std::move(status);
    ended.Notify();
  });
  disk_->Release();
  EXPECT_EQ(disk_->held(), 1u);
  EXPECT_FALSE(ended.HasBeenNotified());
  disk_.reset();
  ended.WaitForNotification();
  EXPECT_TRUE(absl::IsCancelled(result));
}

TEST_F(FaultyDiskTest, ClearEndsAllFaults) {
  disk_->Add({.on_reads = true, .on_writes = true});
  EXPECT_FALSE(Read().ok());
  disk_->Clear();
  EXPECT_TRUE(Read().ok());
  EXPECT_TRUE(Write().ok());
}

}  // namespace
}  // namespace kvgate::storage
