// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/tokens.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kvgate::gateway {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kRed[] = "red-token-0123456789";
constexpr char kBlue[] = "blue-token-0123456789";

class TokensTest : public testing::Test {
 protected:
  TokensTest() : path_(testing::TempDir() + "/tokens") {}
  ~TokensTest() override { std::filesystem::remove(path_); }

  void Write(const std::string& text, mode_t mode = 0600) {
    std::ofstream(path_) << text;
    ASSERT_EQ(chmod(path_.c_str(), mode), 0);
  }
  absl::StatusOr<std::unique_ptr<Tokens>> Load() const {
    return Tokens::Load(path_, {"red", "blue"});
  }
  std::string WhyRefused(const std::string& text, mode_t mode = 0600) {
    Write(text, mode);
    const auto loaded = Load();
    return loaded.ok() ? "taken" : std::string(loaded.status().message());
  }
  static std::map<std::string, double> Counters(const Tokens& tokens) {
    std::map<std::string, double> all;
    tokens.VisitCounters(
        [&](std::string_view name, double value) { all[std::string(name)] = value; });
    return all;
  }

  const std::string path_;
};

TEST_F(TokensTest, ATokenStandsForItsTenant) {
  Write(std::string("# comment\n\nred ") + kRed + "  # since May\nblue\t" + kBlue + "\r\n");
  const auto tokens = Load();
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ((*tokens)->Admit(kRed, "red", "how")->tenant, "red");
  EXPECT_EQ((*tokens)->Admit(kBlue, "", "how")->tenant, "blue");
}

TEST_F(TokensTest, AnotherTenantsTokenAWrongOneAndNoneAreRefusedWithoutBeingRepeated) {
  Write(std::string("red ") + kRed + "\nblue " + kBlue + "\n");
  const auto tokens = Load();
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  const std::string all[] = {kBlue, std::string(kRed) + "x", std::string(kRed).substr(1), ""};
  for (const std::string& shown : all) {
    const auto admitted = (*tokens)->Admit(shown, "red", "like this");
    EXPECT_EQ(admitted.status().code(), absl::StatusCode::kUnauthenticated);
    const std::string text(admitted.status().message());
    EXPECT_THAT(text, HasSubstr("like this"));
    EXPECT_TRUE(shown.empty() || text.find(shown) == std::string::npos) << text;
  }
  EXPECT_EQ(Counters(**tokens)["door_tokens_missing_total"], 1);
  EXPECT_EQ(Counters(**tokens)["door_tokens_wrong_total"], 3);
}

TEST_F(TokensTest, AFileThatOthersMayReadIsRefused) {
  const std::string good = std::string("red ") + kRed + "\n";
  EXPECT_THAT(WhyRefused(good, 0644), HasSubstr("has mode 0644"));
  EXPECT_THAT(WhyRefused(good, 0660), HasSubstr("chmod 0600"));
  EXPECT_EQ(WhyRefused(good, 0640), "taken");
  EXPECT_EQ(WhyRefused(good, 0400), "taken");
}

TEST_F(TokensTest, ALineThatIsWrongIsNamedWithoutItsToken) {
  EXPECT_THAT(WhyRefused("\nred short\n"), HasSubstr("line 2: a token of 5 bytes"));
  EXPECT_THAT(WhyRefused("red " + std::string(257, 'x')), HasSubstr("a token of 257 bytes"));
  EXPECT_THAT(WhyRefused("red 0123456789abcdef\x01"), HasSubstr("printable"));
  EXPECT_THAT(WhyRefused("red\n"), HasSubstr("line 1: 1 words"));
  EXPECT_THAT(WhyRefused(std::string("green ") + kRed), HasSubstr("\"green\" has no door here"));
  const std::string twice = std::string("red ") + kRed + "\nblue " + kRed + "\n";
  EXPECT_THAT(WhyRefused(twice), HasSubstr("line 2: a token that stands above"));
  EXPECT_THAT(WhyRefused(twice), Not(HasSubstr(kRed)));
  EXPECT_THAT(WhyRefused("# nobody\n"), HasSubstr("has no tokens"));
}

TEST_F(TokensTest, ReloadTakesChangesOverAndWhatIsWrongChangesNothing) {
  Write(std::string("red ") + kRed + "\n");
  const auto tokens = Load();
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  const Tokens::Shown shown = *(*tokens)->Admit(kRed, "red", "");
  Write("nonsense\n");
  EXPECT_FALSE((*tokens)->Reload().ok());
  EXPECT_TRUE((*tokens)->Stands(shown));
  EXPECT_EQ(Counters(**tokens)["door_tokens_reload_failures_total"], 1);
  Write(std::string("red ") + kBlue + "\n");
  ASSERT_TRUE((*tokens)->Reload().ok());
  EXPECT_FALSE((*tokens)->Stands(shown));
  EXPECT_FALSE((*tokens)->Admit(kRed, "red", "").ok());
  EXPECT_TRUE((*tokens)->Admit(kBlue, "red", "").ok());
}

TEST_F(TokensTest, TheFirstRefusalsOfAPeerArePromptLaterOnesWait) {
  Write(std::string("red ") + kRed + "\n");
  const auto tokens = Load();
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  absl::Time now = absl::UnixEpoch();
  for (int i = 0; i < 8; ++i) EXPECT_EQ((*tokens)->Pause("a", now), absl::ZeroDuration());
  EXPECT_EQ((*tokens)->Pause("a", now), absl::Seconds(1));
  EXPECT_EQ((*tokens)->Pause("b", now), absl::ZeroDuration());
  now += absl::Seconds(1);
  EXPECT_EQ((*tokens)->Pause("a", now), absl::ZeroDuration());
  EXPECT_EQ((*tokens)->Pause("a", now), absl::Seconds(1));
}

}  // namespace
}  // namespace kvgate::gateway
