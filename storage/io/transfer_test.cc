// SPDX-License-Identifier: Apache-2.0
#include "storage/io/transfer.h"

#include <gtest/gtest.h>

#include <vector>

namespace kvgate::storage {
namespace {

using Next = Transfer::Next;

TEST(Transfer, EndsWhenAllBytesMoved) {
  Transfer transfer(8192, nullptr, 65536);
  EXPECT_EQ(transfer.Advance(65536), Next::kDone);
}

TEST(Transfer, GoesOnAfterAShortCall) {
  std::vector<std::byte> memory(65536);
  Transfer transfer(8192, memory.data(), 65536);
  EXPECT_EQ(transfer.Advance(4096), Next::kAgain);
  EXPECT_EQ(transfer.offset(), 12288u);
  EXPECT_EQ(transfer.data(), memory.data() + 4096);
  EXPECT_EQ(transfer.bytes(), 61440u);
  EXPECT_EQ(transfer.Advance(61440), Next::kDone);
}

TEST(Transfer, GoesOnFromTheLastWholePage) {
  Transfer transfer(0, nullptr, 65536);
  EXPECT_EQ(transfer.Advance(5000), Next::kAgain);
  EXPECT_EQ(transfer.offset(), 4096u);
  EXPECT_EQ(transfer.bytes(), 61440u);
}

TEST(Transfer, InterruptedAndBusyCallsAreRepeated) {
  Transfer transfer(0, nullptr, 8192);
  EXPECT_EQ(transfer.Advance(-EINTR), Next::kAgain);
  EXPECT_EQ(transfer.Advance(-EAGAIN), Next::kAgain);
  EXPECT_EQ(transfer.bytes(), 8192u);
}

TEST(Transfer, ADeviceErrorEndsItWithCodeAndErrno) {
  Transfer transfer(4096, nullptr, 8192);
  EXPECT_EQ(transfer.Advance(-EIO), Next::kFailed);
  const absl::Status status = transfer.Error("read", "/dev/x");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.message().find("cannot read 8192 bytes at 4096 of /dev/x"), std::string::npos);
  EXPECT_NE(status.message().find("errno 5"), std::string::npos);
}

TEST(Transfer, NoSpaceIsResourceExhausted) {
  Transfer transfer(0, nullptr, 8192);
  EXPECT_EQ(transfer.Advance(-ENOSPC), Next::kFailed);
  EXPECT_EQ(transfer.Error("write", "f").code(), absl::StatusCode::kResourceExhausted);
}

TEST(Transfer, AFileThatEndsEarlyFailsInsteadOfLooping) {
  Transfer transfer(0, nullptr, 8192);
  int calls = 1;
  while (transfer.Advance(0) == Next::kAgain) ++calls;
  EXPECT_LE(calls, 1000);
  EXPECT_EQ(transfer.Error("read", "f").code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace kvgate::storage
