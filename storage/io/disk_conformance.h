// SPDX-License-Identifier: Apache-2.0
//
// The suite that binds every Disk. A test program includes it and adds one line:
//   INSTANTIATE_TEST_SUITE_P(Posix, DiskConformance, testing::Values(DiskMaker{"posix", Open}));
// Open makes a fresh, zeroed disk of the given size in a place of the test's own. Test only.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "storage/base/aligned_buffer.h"
#include "storage/io/disk.h"

namespace kvgate::storage {

struct DiskMaker {
  std::string name;
  std::function<std::unique_ptr<Disk>(uint64_t bytes, const DiskOptions& options)> open;
};

inline std::ostream& operator<<(std::ostream& out, const DiskMaker& maker) {
  return out << maker.name;
}

inline AlignedBuffer RandomPages(size_t bytes, uint64_t seed) {
  AlignedBuffer buffer(bytes);
  std::mt19937_64 random(seed);
  for (size_t i = 0; i < buffer.size(); i += 8) {
    const uint64_t word = random();
    std::memcpy(buffer.data() + i, &word, sizeof(word));
  }
  return buffer;
}

inline bool SameBytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

class DiskConformance : public testing::TestWithParam<DiskMaker> {
 protected:
  static constexpr uint64_t kBytes = 32 << 20;

  void Open(const DiskOptions& options = DiskOptions()) {
    disk_ = GetParam().open(kBytes, options);
    ASSERT_NE(disk_, nullptr);
  }

  absl::Status ReadUntil(absl::Time deadline, uint64_t offset, std::span<std::byte> buffer) {
    absl::Status result;
    absl::Notification ended;
    disk_->Read(offset, buffer, IoClass::kRead, deadline, [&](absl::Status status) {
      result = std::move(status);
      ended.Notify();
    });
    ended.WaitForNotification();
    return result;
  }

  void ExpectBytes(uint64_t offset, std::span<const std::byte> expected) {
    AlignedBuffer read(expected.size());
    ASSERT_TRUE(disk_->ReadSync(offset, read.span()).ok());
    EXPECT_TRUE(SameBytes(read.span(), expected)) << "at " << offset;
  }

  std::unique_ptr<Disk> disk_;
};

TEST_P(DiskConformance, FreshSpaceIsZero) {
  Open();
  EXPECT_EQ(disk_->bytes(), kBytes);
  ExpectBytes(0, AlignedBuffer::Zeroed(65536).span());
  ExpectBytes(kBytes - 4096, AlignedBuffer::Zeroed(4096).span());
}

TEST_P(DiskConformance, WrittenBytesAreReadBackAtEverySize) {
  Open();
  uint64_t seed = 1;
  for (const size_t bytes : {4096u, 8192u, 65536u, 1048576u, 1052672u, 5242880u}) {
    for (const uint64_t offset : {uint64_t{0}, uint64_t{4096}, kBytes - bytes}) {
      const AlignedBuffer written = RandomPages(bytes, ++seed);
      ASSERT_TRUE(disk_->WriteSync(offset, written.span()).ok());
      ExpectBytes(offset, written.span());
    }
  }
  EXPECT_TRUE(disk_->SyncSync().ok());
}

TEST_P(DiskConformance, NeighboursOfAWriteStayAsTheyWere) {
  Open();
  const AlignedBuffer before = RandomPages(3 * 4096, 1), middle = RandomPages(4096, 2);
  ASSERT_TRUE(disk_->WriteSync(8192, before.span()).ok());
  ASSERT_TRUE(disk_->WriteSync(8192 + 4096, middle.span()).ok());
  ExpectBytes(8192, before.span().first(4096));
  ExpectBytes(8192 + 4096, middle.span());
  ExpectBytes(8192 + 8192, before.span().subspan(8192));
}

TEST_P(DiskConformance, MisalignedRequestsAreRefused) {
  Open();
  AlignedBuffer buffer(16384);
  const auto refused = [](const absl::Status& status) {
    return status.code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused(disk_->ReadSync(512, buffer.first(4096))));
  EXPECT_TRUE(refused(disk_->ReadSync(0, buffer.first(4095))));
  EXPECT_TRUE(refused(disk_->ReadSync(0, buffer.first(0))));
  EXPECT_TRUE(refused(disk_->ReadSync(0, buffer.span().subspan(8, 4096))));
  EXPECT_TRUE(refused(disk_->WriteSync(1, buffer.first(4096))));
  EXPECT_TRUE(refused(disk_->WriteSync(0, buffer.first(100))));
  EXPECT_TRUE(refused(disk_->WriteSync(0, buffer.span().subspan(512, 4096))));
  ExpectBytes(0, AlignedBuffer::Zeroed(8192).span());
}

TEST_P(DiskConformance, PastTheEndIsRefused) {
  Open();
  AlignedBuffer buffer(8192);
  const auto refused = [](const absl::Status& status) {
    return status.code() == absl::StatusCode::kOutOfRange;
  };
  EXPECT_TRUE(refused(disk_->ReadSync(kBytes, buffer.first(4096))));
  EXPECT_TRUE(refused(disk_->ReadSync(kBytes - 4096, buffer.span())));
  EXPECT_TRUE(refused(disk_->WriteSync(kBytes - 4096, buffer.span())));
  EXPECT_TRUE(refused(disk_->ReadSync(~uint64_t{4095}, buffer.span())));
}

TEST_P(DiskConformance, DoneNeverRunsOnTheCallersThread) {
  Open();
  const auto caller = std::this_thread::get_id();
  AlignedBuffer buffer(4096);
  for (const uint64_t offset : {uint64_t{0}, uint64_t{1}, kBytes}) {  // good and refused
    absl::Notification ended;
    std::thread::id runner;
    disk_->Read(offset, buffer.span(), IoClass::kRead, absl::InfiniteFuture(), [&](absl::Status) {
      runner = std::this_thread::get_id();
      ended.Notify();
    });
    ended.WaitForNotification();
    EXPECT_NE(runner, caller);
  }
}

TEST_P(DiskConformance, AnExpiredReadIsDroppedAndLeavesTheBuffer) {
  Open();
  const AlignedBuffer poison = RandomPages(65536, 9);
  AlignedBuffer buffer(65536);
  std::memcpy(buffer.data(), poison.data(), buffer.size());
  EXPECT_EQ(ReadUntil(absl::InfinitePast(), 0, buffer.span()).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(ReadUntil(absl::UnixEpoch(), 0, buffer.span()).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(SameBytes(buffer.span(), poison.span()));
  EXPECT_EQ(disk_->stats().deadline_drops, 2u);
  EXPECT_TRUE(ReadUntil(absl::Now() + absl::Hours(1), 0, buffer.span()).ok());
}

TEST_P(DiskConformance, DoneMaySubmitMore) {
  Open();
  AlignedBuffer buffer = RandomPages(4096, 3);
  absl::Notification ended;
  std::atomic<int> steps{0};
  IoDone next = [&](absl::Status status) {
    EXPECT_TRUE(status.ok()) << status;
    const int step = ++steps;
    if (step == 100) return ended.Notify();
    disk_->Write(4096 * static_cast<uint64_t>(step), buffer.span(), IoClass::kFlush, next);
  };
  disk_->Write(0, buffer.span(), IoClass::kFlush, next);
  ended.WaitForNotification();
  ExpectBytes(4096 * 99, buffer.span());
}

TEST_P(DiskConformance, ManyThreadsRequestsEndExactlyOnce) {
  DiskOptions options;
  options.queue_depth = 8;
  options.in_flight_bytes_max = 512 << 10;
  options.split_bytes = 64 << 10;
  Open(options);
  constexpr int kThreads = 4, kRequests = 150;
  constexpr size_t kSlot = 192 << 10;  // each request's own place on the disk; three pieces
  std::vector<std::atomic<int>> ends(kThreads * kRequests);
  absl::BlockingCounter open(kThreads * kRequests);
  std::vector<std::jthread> threads;
  const AlignedBuffer data = RandomPages(kSlot, 4);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRequests; ++i) {
        const int id = t * kRequests + i;
        const auto io_class = static_cast<IoClass>(id % kIoClasses);
        disk_->Write(id * kSlot % (kBytes - kSlot) / kSlot * kSlot, data.span(), io_class,
                     [&, id](absl::Status status) {
                       EXPECT_TRUE(status.ok()) << status;
                       ++ends[id];
                       open.DecrementCount();
                     });
      }
    });
  }
  threads.clear();
  open.Wait();
  for (const auto& count : ends) EXPECT_EQ(count, 1);
  ExpectBytes(0, data.span());
  ExpectBytes(kSlot * 50, data.span());
  const DiskStats stats = disk_->stats();
  EXPECT_EQ(stats.writes, static_cast<uint64_t>(kThreads * kRequests));
  EXPECT_EQ(stats.written_bytes, kThreads * kRequests * kSlot);
  EXPECT_EQ(stats.queued, 0u);
  EXPECT_EQ(stats.in_flight, 0u);
}

TEST_P(DiskConformance, DestructionEndsEveryRequest) {
  DiskOptions options;
  options.queue_depth = 2;
  Open(options);
  constexpr int kRequests = 200;
  std::atomic<int> good{0}, cancelled{0}, other{0};
  const AlignedBuffer buffer = RandomPages(256 << 10, 1);
  for (int i = 0; i < kRequests; ++i) {
    disk_->Write(0, buffer.span(), IoClass::kReinsert, [&](absl::Status status) {
      ++(status.ok() ? good : absl::IsCancelled(status) ? cancelled : other);
    });
  }
  disk_.reset();
  EXPECT_EQ(good + cancelled, kRequests);
  EXPECT_EQ(other, 0);
}

TEST_P(DiskConformance, AFullQueueRefuses) {
  DiskOptions options;
  options.queued_max = 0;
  Open(options);
  AlignedBuffer buffer(4096);
  EXPECT_EQ(disk_->ReadSync(0, buffer.span()).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(disk_->SyncSync().code(), absl::StatusCode::kResourceExhausted);
}

TEST_P(DiskConformance, RegisteredMemoryReadsAndWritesTheSame) {
  Open();
  AlignedBuffer memory = RandomPages(8 << 20, 5);
  disk_->RegisterBuffer(memory.span());
  const AlignedBuffer outside = RandomPages(1 << 20, 6);
  // Again and again, so that requests come before, during and after the registration.
  for (int round = 0; round < 50; ++round) {
    const auto inside = memory.span().subspan((round % 7) << 20, 1 << 20);
    ASSERT_TRUE(disk_->WriteSync(0, inside).ok());
    ExpectBytes(0, inside);
    ASSERT_TRUE(disk_->WriteSync(1 << 20, outside.span()).ok());
    ASSERT_TRUE(disk_->ReadSync(1 << 20, inside).ok());
    EXPECT_TRUE(SameBytes(inside, outside.span()));
  }
  disk_->UnregisterBuffer(memory.span());
  ASSERT_TRUE(disk_->ReadSync(0, memory.first(1 << 20)).ok());
  ASSERT_TRUE(disk_->WriteSync(2 << 20, memory.first(2 << 20)).ok());
  ExpectBytes(2 << 20, memory.first(2 << 20));
}

TEST_P(DiskConformance, UnregisteringUnknownMemoryIsHarmless) {
  Open();
  AlignedBuffer memory(65536);
  disk_->UnregisterBuffer(memory.span());
  disk_->RegisterBuffer(memory.span());
  disk_->UnregisterBuffer(memory.span());
  disk_->UnregisterBuffer(memory.span());
  EXPECT_TRUE(disk_->ReadSync(0, memory.span()).ok());
}

TEST_P(DiskConformance, CountsWhatItDid) {
  Open();
  AlignedBuffer buffer(3 << 20);
  ASSERT_TRUE(disk_->WriteSync(0, buffer.span()).ok());
  ASSERT_TRUE(disk_->ReadSync(0, buffer.first(4096)).ok());
  ASSERT_TRUE(disk_->SyncSync().ok());
  EXPECT_FALSE(disk_->ReadSync(1, buffer.span()).ok());
  const DiskStats stats = disk_->stats();
  EXPECT_EQ(stats.writes, 1u);
  EXPECT_EQ(stats.written_bytes, 3u << 20);
  EXPECT_EQ(stats.reads, 1u);
  EXPECT_EQ(stats.read_bytes, 4096u);
  EXPECT_EQ(stats.syncs, 1u);
  EXPECT_EQ(stats.errors, 1u);
  EXPECT_EQ(stats.deadline_drops, 0u);
}

}  // namespace kvgate::storage
