// SPDX-License-Identifier: Apache-2.0
#include "gateway/exit_status.h"

#include <gtest/gtest.h>

namespace kvgate::gateway {
namespace {

TEST(ExitStatus, AWrongConfigurationHasItsOwn) {
  EXPECT_EQ(ExitStatusOf(absl::InvalidArgumentError("--memory: too small [KVG102]")), 78);
  EXPECT_EQ(ExitStatusOf(absl::FailedPreconditionError("/x: later format [KVG114]")), 78);
}

TEST(ExitStatus, WhatMayPassByItselfIsAFailure) {
  EXPECT_EQ(ExitStatusOf(absl::FailedPreconditionError("/x: in use [KVG108]")), 1);
  EXPECT_EQ(ExitStatusOf(absl::ResourceExhaustedError("/x: no space [KVG111]")), 1);
}

TEST(ExitStatus, AMessageWithoutAnIdIsAFailure) {
  for (const char* text : {"", "nothing", "[", "]", "[]", "x [KVG999]", "[KVG102] x"}) {
    EXPECT_EQ(ExitStatusOf(absl::InternalError(text)), 1) << text;
  }
}

}  // namespace
}  // namespace kvgate::gateway
