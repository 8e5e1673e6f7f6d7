// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the log assert again and again. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"
#include "storage/log/log_harness.h"

#define ASSERT_OK(expression)                        \
  do {                                               \
    const absl::Status status_ = (expression);       \
    ASSERT_TRUE(status_.ok()) << status_.ToString(); \
  } while (false)
#define EXPECT_OK(expression)                        \
  do {                                               \
    const absl::Status status_ = (expression);       \
    EXPECT_TRUE(status_.ok()) << status_.ToString(); \
  } while (false)

namespace kvgate::storage {

inline void ExpectHeld(LogHarness& harness, const std::string& key, uint64_t version) {
  const absl::StatusOr<uint64_t> held = harness.Get(key);
  ASSERT_TRUE(held.ok()) << key << ": " << held.status().ToString();
  EXPECT_EQ(*held, version) << key;
}

inline void ExpectMiss(LogHarness& harness, const std::string& key) {
  const absl::StatusOr<uint64_t> held = harness.Get(key);
  EXPECT_TRUE(absl::IsNotFound(held.status())) << key << ": " << held.status().ToString();
}

}  // namespace kvgate::storage
