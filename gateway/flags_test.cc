// SPDX-License-Identifier: Apache-2.0
#include "gateway/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace kvgate::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

const std::vector<Flag> kFlags = {
    {"size", "how much"}, {"name", "what"}, {"quiet", "say nothing", /*takes_value=*/false}};

absl::StatusOr<FlagValues> Parse(std::vector<const char*> words) {
  words.insert(words.begin(), "program");
  return ParseFlags(kFlags, static_cast<int>(words.size()), words.data());
}

void Refuses(const std::vector<const char*>& words, const std::string& said) {
  const absl::StatusOr<FlagValues> values = Parse(words);
  ASSERT_EQ(values.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(values.status().message()), HasSubstr(said));
}

TEST(Flags, AValueStandsBehindAnEqualsSignOrIsTheNextWord) {
  EXPECT_THAT(*Parse({"--size=1", "--name", "a"}),
              UnorderedElementsAre(Pair("size", ElementsAre("1")), Pair("name", ElementsAre("a"))));
  EXPECT_THAT(
      *Parse({"--name=a=b", "--size="}),
      UnorderedElementsAre(Pair("name", ElementsAre("a=b")), Pair("size", ElementsAre(""))));
  EXPECT_THAT(*Parse({"--size", "-1"}), ElementsAre(Pair("size", ElementsAre("-1"))));
}

TEST(Flags, ARepeatedFlagKeepsAllValuesInOrder) {
  EXPECT_THAT(*Parse({"--name=b", "--name", "a"}),
              ElementsAre(Pair("name", ElementsAre("b", "a"))));
}

TEST(Flags, ASwitchTakesNoValue) {
  EXPECT_THAT(*Parse({"--quiet", "--size=1"}),
              UnorderedElementsAre(Pair("quiet", ElementsAre("")), Pair("size", ElementsAre("1"))));
  Refuses({"--quiet=1"}, "--quiet takes no value");
}

TEST(Flags, NothingGivenIsNothing) { EXPECT_THAT(*Parse({}), ElementsAre()); }

TEST(Flags, WhatTheTableDoesNotNameIsRefusedByItsName) {
  Refuses({"--sise=1"}, "--sise");
  Refuses({"--siz"}, "--siz");
  Refuses({"--sise=1"}, "unknown flag --sise; the nearest one is --size");
  Refuses({"--=1"}, "unknown flag --");
  Refuses({"-size"}, "-size");
  Refuses({"word"}, "\"word\"");
  Refuses({"--"}, "\"--\"");
  Refuses({""}, "\"\"");
}

TEST(Flags, AMissingValueIsRefused) { Refuses({"--size=1", "--name"}, "--name needs a value"); }

TEST(Flags, HelpIsAlwaysThere) {
  EXPECT_EQ(Parse({"--size=1", "--help", "--unknown"})->count("help"), 1u);
  EXPECT_EQ(Parse({"-h"})->count("help"), 1u);
}

TEST(Flags, TheHelpNamesEveryFlag) {
  EXPECT_EQ(FlagHelp("does things", kFlags),
            "does things\n\n"
            "  -h, --help                      print this and exit\n"
            "  --size X                        how much\n"
            "  --name X                        what\n"
            "  --quiet                         say nothing\n");
}

}  // namespace
}  // namespace kvgate::gateway
