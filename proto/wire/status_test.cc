// SPDX-License-Identifier: Apache-2.0
#include "proto/wire/status.h"

#include <gtest/gtest.h>

namespace kvgate::wire {
namespace {

TEST(Code, HasTheCanonicalNames) {
  EXPECT_EQ(CodeName(Code::kOk), "OK");
  EXPECT_EQ(CodeName(Code::kInvalidArgument), "INVALID_ARGUMENT");
  EXPECT_EQ(CodeName(Code::kDataLoss), "DATA_LOSS");
  EXPECT_EQ(CodeName(Code::kUnauthenticated), "UNAUTHENTICATED");
  EXPECT_EQ(CodeName(static_cast<Code>(99)), "UNKNOWN");
}

TEST(Code, FromTheWireIsOneOfTheTable) {
  for (uint32_t i = 0; i <= 16; ++i) EXPECT_EQ(static_cast<uint32_t>(CodeFromWire(i)), i);
  EXPECT_EQ(CodeFromWire(17), Code::kUnknown);
  EXPECT_EQ(CodeFromWire(0xffffffff), Code::kUnknown);
}

TEST(Code, OnlyUnavailableMayBeSentAgain) {
  for (uint32_t i = 0; i <= 16; ++i) {
    EXPECT_EQ(IsRetryable(CodeFromWire(i)), CodeFromWire(i) == Code::kUnavailable) << i;
  }
}

}  // namespace
}  // namespace kvgate::wire
