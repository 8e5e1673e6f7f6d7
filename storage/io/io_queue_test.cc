// SPDX-License-Identifier: Apache-2.0
#include "storage/io/io_queue.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace kvgate::storage {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class IoQueueTest : public testing::Test {
 protected:
  // A queue must be idle when it ends.
  void TearDown() override {
    queue_->Close();
    while (const auto piece = queue_->Take()) End(*piece);
    RunEnded();
  }

  void Make(const DiskOptions& options) { queue_ = std::make_unique<IoQueue>(options); }

  void Push(const std::string& name, uint64_t bytes, IoClass io_class = IoClass::kRead,
            absl::Time deadline = absl::InfiniteFuture()) {
    IoRequest request;
    request.io_class = io_class;
    request.bytes = bytes;
    request.deadline = deadline;
    request.done = [this, name](absl::Status status) {
      ends_.push_back(name + " " + absl::StatusCodeToString(status.code()));
    };
    queue_->Push(std::move(request));
  }

  void End(const IoQueue::Piece& piece, absl::Status status = absl::OkStatus()) {
    if (auto ended = queue_->EndPiece(piece, std::move(status))) ended->done(ended->status);
  }

  void RunEnded(absl::Time now = absl::UnixEpoch()) {
    for (auto& ended : queue_->TakeEnded(now)) ended.done(ended.status);
  }

  // Takes and ends pieces, one at a time; the class of each by its offset trick is not needed:
  // requests of one class share a size.
  std::vector<uint64_t> TakeSizes(int count) {
    std::vector<uint64_t> sizes;
    for (int i = 0; i < count; ++i) {
      const auto piece = queue_->Take();
      if (!piece) break;
      sizes.push_back(piece->bytes);
      End(*piece);
    }
    return sizes;
  }

  std::unique_ptr<IoQueue> queue_ = std::make_unique<IoQueue>(DiskOptions());
  std::vector<std::string> ends_;
};

TEST_F(IoQueueTest, LargeRequestsGoInPiecesAndEndOnce) {
  Push("a", 2 * kMiB + 4096);
  std::vector<IoQueue::Piece> pieces;
  while (const auto piece = queue_->Take()) pieces.push_back(*piece);
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[1].offset, kMiB);
  EXPECT_EQ(pieces[2].bytes, 4096u);
  End(pieces[2]);
  End(pieces[0]);
  EXPECT_TRUE(ends_.empty());
  End(pieces[1]);
  EXPECT_EQ(ends_, std::vector<std::string>{"a OK"});
  EXPECT_TRUE(queue_->idle());
}

TEST_F(IoQueueTest, AFailedPieceStopsTheRestAndWaitsForWhatFlies) {
  DiskOptions options;
  options.queue_depth = 2;
  Make(options);
  Push("a", 5 * kMiB);
  const auto first = queue_->Take(), second = queue_->Take();
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(queue_->Take());
  End(*first, absl::UnavailableError("EIO"));
  EXPECT_FALSE(queue_->Take()) << "a piece of a failed request";
  EXPECT_TRUE(ends_.empty()) << "a piece still flies";
  End(*second);
  EXPECT_EQ(ends_, std::vector<std::string>{"a UNAVAILABLE"});
}

TEST_F(IoQueueTest, CountAndBytesInFlightAreBounded) {
  DiskOptions options;
  options.queue_depth = 3;
  options.in_flight_bytes_max = 2 * kMiB;
  Make(options);
  for (int i = 0; i < 6; ++i) Push("small", 4096);
  std::vector<IoQueue::Piece> pieces;
  while (const auto piece = queue_->Take()) pieces.push_back(*piece);
  EXPECT_EQ(pieces.size(), 3u);
  for (const auto& piece : pieces) End(piece);
  TakeSizes(3);
  for (int i = 0; i < 3; ++i) Push("large", kMiB);
  pieces.clear();
  while (const auto piece = queue_->Take()) pieces.push_back(*piece);
  EXPECT_EQ(pieces.size(), 2u);
  for (const auto& piece : pieces) End(piece);
}

TEST_F(IoQueueTest, OnePieceGoesWhateverItsSize) {
  DiskOptions options;
  options.in_flight_bytes_max = 4096;
  Make(options);
  Push("a", kMiB);
  EXPECT_EQ(TakeSizes(1), std::vector<uint64_t>{kMiB});
}

TEST_F(IoQueueTest, ClassesShareByWeightAndNoneStarves) {
  // Sizes tell the classes apart and are close enough to cost the same.
  const std::array<uint64_t, 4> sizes = {kMiB, kMiB - 4096, kMiB - 8192, kMiB - 12288};
  for (int i = 0; i < 400; ++i) {
    for (int c = 0; c < kIoClasses; ++c) Push("x", sizes[c], static_cast<IoClass>(c));
  }
  std::array<int, 4> taken{};
  for (const uint64_t size : TakeSizes(290)) {
    for (int c = 0; c < kIoClasses; ++c) taken[c] += size == sizes[c];
  }
  EXPECT_NEAR(taken[0], 200, 3);  // of 290 in 1000 : 300 : 100 : 50
  EXPECT_NEAR(taken[1], 60, 3);
  EXPECT_NEAR(taken[2], 20, 3);
  EXPECT_NEAR(taken[3], 10, 3);
}

TEST_F(IoQueueTest, AnIdleClassSavesNothingUp) {
  for (int i = 0; i < 100; ++i) Push("scrub", 4096, IoClass::kScrub);
  TakeSizes(90);
  for (int i = 0; i < 20; ++i) Push("read", kMiB);
  const std::vector<uint64_t> sizes = TakeSizes(20);
  // Reads did not use the disk before, and yet the scrub still gets a share.
  EXPECT_GT(std::count(sizes.begin(), sizes.end(), 4096), 0);
  EXPECT_GT(std::count(sizes.begin(), sizes.end(), kMiB), 5);
}

TEST_F(IoQueueTest, AWaitingRequestEndsAtItsDeadline) {
  const absl::Time start = absl::UnixEpoch();
  Push("later", 4096, IoClass::kRead, start + absl::Seconds(2));
  Push("sooner", 4096, IoClass::kRead, start + absl::Seconds(1));
  Push("never", 4096);
  EXPECT_EQ(queue_->NextDeadline(), start + absl::Seconds(1));
  RunEnded(start + absl::Milliseconds(999));
  EXPECT_TRUE(ends_.empty());
  RunEnded(start + absl::Seconds(1));
  EXPECT_EQ(ends_, std::vector<std::string>{"sooner DEADLINE_EXCEEDED"});
  RunEnded(start + absl::Hours(1));
  EXPECT_EQ(ends_.size(), 2u);
  EXPECT_EQ(queue_->NextDeadline(), absl::InfiniteFuture());
  EXPECT_EQ(queue_->stats().deadline_drops, 2u);
}

TEST_F(IoQueueTest, AStartedRequestOutlivesItsDeadline) {
  Push("a", 2 * kMiB, IoClass::kRead, absl::UnixEpoch());
  const auto first = queue_->Take();
  RunEnded(absl::UnixEpoch() + absl::Hours(1));
  EXPECT_TRUE(ends_.empty());
  End(*first);
  End(*queue_->Take());
  EXPECT_EQ(ends_, std::vector<std::string>{"a OK"});
}

TEST_F(IoQueueTest, CloseCancelsWhatWaitsAndLetsFlyingPiecesEnd) {
  Push("flying", 2 * kMiB);
  Push("waiting", 4096);
  const auto piece = queue_->Take();
  queue_->Close();
  EXPECT_FALSE(queue_->Take());
  RunEnded();
  EXPECT_EQ(ends_, std::vector<std::string>{"waiting CANCELLED"});
  End(*piece);
  EXPECT_EQ(ends_.back(), "flying CANCELLED");
  Push("late", 4096);
  RunEnded();
  EXPECT_EQ(ends_.back(), "late CANCELLED");
}

TEST_F(IoQueueTest, WhatWaitsIsCountedByClass) {
  DiskOptions options;
  options.queue_depth = 1;
  Make(options);
  for (int i = 0; i < 3; ++i) Push("read", 4096, IoClass::kRead);
  Push("flush", 4096, IoClass::kFlush);
  Push("scrub", 4096, IoClass::kScrub);
  const auto piece = queue_->Take();
  ASSERT_TRUE(piece);
  const DiskStats stats = queue_->stats();
  EXPECT_EQ(stats.queued, 4u);
  EXPECT_EQ(stats.queued_in, (std::array<uint64_t, kIoClasses>{2, 1, 0, 1}));
  End(*piece);
}

TEST_F(IoQueueTest, AFullQueueRefuses) {
  DiskOptions options;
  options.queued_max = 2;
  Make(options);
  for (const char* name : {"a", "b", "c"}) Push(name, 4096);
  RunEnded();
  EXPECT_EQ(ends_, std::vector<std::string>{"c RESOURCE_EXHAUSTED"});
  EXPECT_EQ(queue_->stats().queued, 2u);
}

}  // namespace
}  // namespace kvgate::storage
