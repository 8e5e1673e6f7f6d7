// SPDX-License-Identifier: Apache-2.0
//
// Paths for tests: under the test's own temporary directory, never used before. Test only.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "absl/strings/str_cat.h"
#include "storage/io/file_util.h"

namespace kvgate::storage {

inline std::string FreshTestPath(const std::string& name) {
  static std::atomic<int> number{0};
  std::string path = absl::StrCat(testing::TempDir(), "/", name, "_", ++number);
  EXPECT_TRUE(RemovePath(path).ok());
  return path;
}

}  // namespace kvgate::storage
