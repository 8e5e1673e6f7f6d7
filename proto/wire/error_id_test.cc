// SPDX-License-Identifier: Apache-2.0
#include "proto/wire/error_id.h"

#include <gtest/gtest.h>

#include <set>

namespace kvgate::wire {
namespace {

TEST(ErrorId, EntriesAreInOrderAndFull) {
  uint16_t before = 99;
  std::set<std::string_view> names;
  for (const ErrorEntry& entry : Errors()) {
    EXPECT_GT(static_cast<uint16_t>(entry.id), before) << entry.name;
    before = static_cast<uint16_t>(entry.id);
    EXPECT_LT(before, 700);
    EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
    for (std::string_view text : {entry.cause, entry.remedy}) {
      ASSERT_FALSE(text.empty()) << entry.name;
      EXPECT_TRUE(text.back() == '.') << text;
    }
  }
}

TEST(ErrorId, AMessageEndsWithItsId) {
  EXPECT_EQ(Tagged(ErrorId::kBadFlag, "--x: is not a flag"), "--x: is not a flag [KVG101]");
}

TEST(ErrorId, TheFirstIdStays) {
  const std::string inner = Tagged(ErrorId::kBadKey, "keys[0]: 0 bytes");
  EXPECT_EQ(Tagged(ErrorId::kBadField, "Set: " + inner), "Set: keys[0]: 0 bytes [KVG201]");
}

TEST(ErrorId, WhatOnlyLooksLikeAnIdGetsOne) {
  EXPECT_EQ(Tagged(ErrorId::kBadKey, "a [KVG20]"), "a [KVG20] [KVG201]");
  EXPECT_EQ(Tagged(ErrorId::kBadKey, "[KVG201]"), "[KVG201] [KVG201]");
  EXPECT_EQ(Tagged(ErrorId::kBadKey, ""), " [KVG201]");
}

TEST(ErrorId, EntriesAreFoundByTheirId) {
  for (const ErrorEntry& entry : Errors()) EXPECT_EQ(FindError(ErrorText(entry.id)), &entry);
  EXPECT_EQ(FindError("kvg201"), FindError("KVG201"));
  for (const char* wrong : {"", "KVG", "KVG999", "KVG2011", "201", "KVG 01", "XVG201"}) {
    EXPECT_EQ(FindError(wrong), nullptr) << wrong;
  }
}

TEST(ErrorId, EveryCodeHasOneInTheTable) {
  for (uint32_t code = 1; code <= 16; ++code) {
    EXPECT_NE(FindError(ErrorText(ErrorOf(CodeFromWire(code)))), nullptr) << code;
  }
  EXPECT_EQ(ErrorOf(Code::kDeadlineExceeded), ErrorId::kDeadline);
}

TEST(ErrorId, ThePageHasEveryEntry) {
  const std::string page = ErrorsMarkdown();
  for (const ErrorEntry& entry : Errors()) {
    EXPECT_NE(page.find("\n### " + ErrorText(entry.id) + " "), std::string::npos) << entry.name;
  }
}

}  // namespace
}  // namespace kvgate::wire
