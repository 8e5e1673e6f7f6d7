// SPDX-License-Identifier: Apache-2.0
#include "storage/io/memory_disk.h"

#include <gtest/gtest.h>

#include "storage/base/manual_clock.h"
#include "storage/io/disk_conformance.h"

namespace kvgate::storage {
namespace {

INSTANTIATE_TEST_SUITE_P(Memory, DiskConformance,
                         testing::Values(DiskMaker{
                             "memory", [](uint64_t bytes, const DiskOptions& options) {
                               return OpenMemoryDisk(MemoryMedium::Create(bytes), "m", options);
                             }}));

class MemoryMediumTest : public testing::Test {
 protected:
  static constexpr uint64_t kBytes = 16 << 20;
  static constexpr size_t kPage = 4096;

  void Reopen() { disk_ = OpenMemoryDisk(medium_); }
  void Write(uint64_t offset, uint64_t seed, size_t bytes = 65536) {
    ASSERT_TRUE(disk_->WriteSync(offset, RandomPages(bytes, seed).span()).ok());
  }
  bool Holds(uint64_t offset, uint64_t seed, size_t bytes = 65536) {
    AlignedBuffer read(bytes);
    medium_->Peek(offset, read.span());
    return SameBytes(read.span(), RandomPages(bytes, seed).span());
  }
  std::vector<std::byte> All() {
    std::vector<std::byte> bytes(kBytes);
    medium_->Peek(0, bytes);
    return bytes;
  }

  std::shared_ptr<MemoryMedium> medium_ = MemoryMedium::Create(kBytes);
  std::unique_ptr<Disk> disk_ = OpenMemoryDisk(medium_);
};

TEST_F(MemoryMediumTest, SyncedWritesSurviveEveryPowerCut) {
  Write(0, 1);
  ASSERT_TRUE(disk_->SyncSync().ok());
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Write(1 << 20, seed + 100);
    medium_->Crash(MemoryMedium::kPowerCut, seed);
    Reopen();
    EXPECT_TRUE(Holds(0, 1)) << seed;
  }
}

TEST_F(MemoryMediumTest, UnsyncedWritesAreKeptLostAndTorn) {
  int kept = 0, lost = 0, torn = 0;
  const AlignedBuffer zeros = AlignedBuffer::Zeroed(65536);
  for (uint64_t seed = 0; seed < 60; ++seed) {
    medium_ = MemoryMedium::Create(kBytes);
    Reopen();
    Write(0, seed + 1);
    medium_->Crash(MemoryMedium::kPowerCut, seed);
    AlignedBuffer after(65536);
    medium_->Peek(0, after.span());
    ++(Holds(0, seed + 1) ? kept : SameBytes(after.span(), zeros.span()) ? lost : torn);
  }
  EXPECT_GT(kept, 5);
  EXPECT_GT(lost, 5);
  EXPECT_GT(torn, 5);
}

TEST_F(MemoryMediumTest, ALaterWriteMaySurviveAnEarlierOne) {
  bool seen = false;
  for (uint64_t seed = 0; seed < 60 && !seen; ++seed) {
    medium_ = MemoryMedium::Create(kBytes);
    Reopen();
    Write(0, 1);
    Write(1 << 20, 2);
    medium_->Crash(MemoryMedium::kPowerCut, seed);
    seen = !Holds(0, 1) && Holds(1 << 20, 2);
  }
  EXPECT_TRUE(seen);
}

TEST_F(MemoryMediumTest, AnOverwriteThatIsLostLeavesTheOldBytes) {
  Write(0, 1);
  ASSERT_TRUE(disk_->SyncSync().ok());
  bool seen = false;
  for (uint64_t seed = 0; seed < 60 && !seen; ++seed) {
    Write(0, 2);
    Write(0, 3);
    medium_->Crash(MemoryMedium::kPowerCut, seed);
    Reopen();
    seen = Holds(0, 1);
    Write(0, 1);
    ASSERT_TRUE(disk_->SyncSync().ok());
  }
  EXPECT_TRUE(seen);
}

TEST_F(MemoryMediumTest, KillKeepsWhatWasWritten) {
  Write(0, 1);
  medium_->Crash(MemoryMedium::kKill, 1);
  Reopen();
  EXPECT_TRUE(Holds(0, 1));
}

TEST_F(MemoryMediumTest, APowerCutAfterAKillStillTakesUnsyncedWrites) {
  bool seen = false;
  for (uint64_t seed = 0; seed < 60 && !seen; ++seed) {
    medium_ = MemoryMedium::Create(kBytes);
    Reopen();
    Write(0, 1);
    medium_->Crash(MemoryMedium::kKill, seed);
    Reopen();
    medium_->Crash(MemoryMedium::kPowerCut, seed);
    seen = !Holds(0, 1);
  }
  EXPECT_TRUE(seen);
}

TEST_F(MemoryMediumTest, ACrashedDiskAnswersUnavailableUntilReopened) {
  AlignedBuffer page(kPage);
  medium_->Crash(MemoryMedium::kKill, 1);
  EXPECT_TRUE(medium_->crashed());
  EXPECT_EQ(disk_->ReadSync(0, page.span()).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(disk_->WriteSync(0, page.span()).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(disk_->SyncSync().code(), absl::StatusCode::kUnavailable);
  const std::unique_ptr<Disk> next = OpenMemoryDisk(medium_);
  EXPECT_FALSE(medium_->crashed());
  EXPECT_TRUE(next->ReadSync(0, page.span()).ok());
  EXPECT_FALSE(disk_->WriteSync(0, page.span()).ok()) << "a disk of before the crash came back";
}

TEST_F(MemoryMediumTest, CrashAtTheNthOperationTearsThatWrite) {
  medium_->CrashAt(3, MemoryMedium::kKill, 7);
  Write(0, 1);
  ASSERT_TRUE(disk_->SyncSync().ok());
  EXPECT_FALSE(disk_->WriteSync(1 << 20, RandomPages(65536, 2).span()).ok());
  EXPECT_TRUE(medium_->crashed());
  EXPECT_TRUE(Holds(0, 1));
  EXPECT_FALSE(Holds(1 << 20, 2));
}

TEST_F(MemoryMediumTest, ASyncThatCrashesCoversNothing) {
  bool lost = false;
  for (uint64_t seed = 0; seed < 60 && !lost; ++seed) {
    medium_ = MemoryMedium::Create(kBytes);
    Reopen();
    medium_->CrashAt(2, MemoryMedium::kPowerCut, seed);
    Write(0, 1);
    EXPECT_FALSE(disk_->SyncSync().ok());
    lost = !Holds(0, 1);
  }
  EXPECT_TRUE(lost);
}

TEST_F(MemoryMediumTest, TheSameSeedGivesTheSameBytes) {
  std::vector<std::vector<std::byte>> images;
  for (int run = 0; run < 2; ++run) {
    medium_ = MemoryMedium::Create(kBytes);
    Reopen();
    for (uint64_t i = 0; i < 20; ++i) Write(i * 131072, i + 1, 131072);
    medium_->Crash(MemoryMedium::kPowerCut, 42);
    images.push_back(All());
  }
  EXPECT_EQ(images[0], images[1]);
}

TEST_F(MemoryMediumTest, CountsCallsInPieces) {
  Write(0, 1, 4 << 20);
  ASSERT_TRUE(disk_->SyncSync().ok());
  const MemoryMedium::Calls calls = medium_->calls();
  EXPECT_EQ(calls.writes, 4u);
  EXPECT_EQ(calls.written_bytes, 4u << 20);
  EXPECT_EQ(calls.syncs, 1u);
  EXPECT_EQ(calls.reads, 0u);
}

TEST_F(MemoryMediumTest, DeadlinesFollowTheGivenClock) {
  ManualClock clock;
  const std::unique_ptr<Disk> disk = OpenMemoryDisk(medium_, "m", DiskOptions(), &clock);
  const absl::Time deadline = clock.Now() + absl::Seconds(1);
  const auto read = [&] {
    AlignedBuffer page(kPage);
    absl::Status result;
    absl::Notification ended;
    disk->Read(0, page.span(), IoClass::kRead, deadline, [&](absl::Status status) {
      result = std::move(status);
      ended.Notify();
    });
    ended.WaitForNotification();
    return result;
  };
  EXPECT_TRUE(read().ok());
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(read().code(), absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace kvgate::storage
