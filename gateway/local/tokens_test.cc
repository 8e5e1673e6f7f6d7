// SPDX-License-Identifier: Apache-2.0
//
// A door that asks for tokens.
#include "gateway/core/tokens.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <string>

#include "gateway/local/raw_client.h"
#include "gateway/local/test_door.h"

namespace kvgate::gateway {
namespace {

using local::Op;
using ::testing::HasSubstr;

constexpr uint32_t kInvalid = 3, kUnauthenticated = 16;

class LocalDoorTokens : public testing::Test {
 protected:
  const std::string short_ = "short-token-0123456789";
  const std::string long_ = std::string(200, 'l');

  LocalDoorTokens() : path_(testing::TempDir() + "/door-tokens") {
    Write("default " + short_ + "\ndefault " + long_ + "\n");
    auto tokens = Tokens::Load(path_, {"default"});
    if (!tokens.ok()) {
      ADD_FAILURE() << tokens.status();
      abort();
    }
    tokens_ = *std::move(tokens);
    TestDoor::Options options = TestDoor::DefaultOptions();
    options.door.tokens = tokens_.get();
    door_ = std::make_unique<TestDoor>(options);
  }
  void Write(const std::string& text) {
    std::ofstream(path_) << text;
    EXPECT_EQ(chmod(path_.c_str(), 0600), 0);
  }
  static std::string HelloWith(const std::string& token) {
    local::Hello hello = RawClient::HelloOf();
    if (token.size() <= sizeof(hello.token)) {
      std::memcpy(hello.token, token.data(), token.size());
      return Raw(hello);
    }
    hello.token_bytes = static_cast<uint32_t>(token.size());
    return Raw(hello) + token;
  }

  const std::string path_;
  std::unique_ptr<Tokens> tokens_;
  std::unique_ptr<TestDoor> door_;
};

TEST_F(LocalDoorTokens, OneOfTheTenantsIsDemanded) {
  for (const std::string& token : {std::string(), short_ + "x", long_ + "x"}) {
    RawClient stranger(*door_);
    const Packet packet = stranger.Ask(Op::kHello, HelloWith(token));
    EXPECT_EQ(packet.code(), kUnauthenticated) << token;
    EXPECT_THAT(packet.rest, HasSubstr("of tenant \"default\""));
    EXPECT_TRUE(stranger.Receive().ended);
  }
  for (const std::string& token : {short_, long_}) {
    RawClient client(*door_);
    EXPECT_EQ(client.Ask(Op::kHello, HelloWith(token)).code(), 0u) << token;
  }
}

TEST_F(LocalDoorTokens, ALengthThatLiesIsMalformed) {
  local::Hello hello = RawClient::HelloOf();
  hello.token_bytes = 100;
  RawClient stranger(*door_);
  EXPECT_EQ(stranger.Ask(Op::kHello, Raw(hello) + long_).code(), kInvalid);
}

TEST_F(LocalDoorTokens, AClientWhoseTokenIsTakenBackIsClosed) {
  RawClient goes(*door_), stays(*door_);
  ASSERT_EQ(goes.Ask(Op::kHello, HelloWith(long_)).code(), 0u);
  ASSERT_EQ(stays.Ask(Op::kHello, HelloWith(short_)).code(), 0u);
  Write("default " + short_ + "\n");
  ASSERT_TRUE(tokens_->Reload().ok());
  door_->door().RecheckTokens();
  EXPECT_TRUE(goes.Receive().ended);
  EXPECT_EQ(stays.Ask(Op::kPing, "").code(), 0u);
}

}  // namespace
}  // namespace kvgate::gateway
