// SPDX-License-Identifier: Apache-2.0
//
// kvgate_stats of callers of this header and of the one before it.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>

#include "client/c/kvgate.h"

namespace {

class StatsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    kvgate_options options{};
    options.struct_bytes = sizeof(options);
    options.transport = "local";
    options.local_socket = "/nonexistent/local.sock";
    ASSERT_EQ(kvgate_client_create(&options, &client_, error_), 0) << error_;
  }
  void TearDown() override { kvgate_client_destroy(client_); }

  kvgate_client* client_ = nullptr;
  char error_[KVGATE_ERROR_BYTES] = {};
};

TEST_F(StatsTest, SayWhetherTheBreakerIsOpenAndWhy) {
  kvgate_stats stats{};
  stats.struct_bytes = sizeof(stats);
  kvgate_client_stats(client_, &stats);
  EXPECT_EQ(stats.breaker_state, 0u);
  EXPECT_STREQ(stats.breaker_reason, "none");
  EXPECT_EQ(kvgate_ping(client_, 1000, error_), 14);
  kvgate_client_stats(client_, &stats);
  EXPECT_EQ(stats.breaker_state, 2u);
  EXPECT_STREQ(stats.breaker_reason, "no_gateway");
  EXPECT_EQ(stats.breaker_opens, 1u);
}

TEST_F(StatsTest, ACallerOfTheHeaderBeforeIsWrittenNoFurtherThanItsStruct) {
  EXPECT_EQ(kvgate_ping(client_, 1000, error_), 14);
  kvgate_stats stats;
  std::memset(&stats, 0x5a, sizeof(stats));
  stats.struct_bytes = offsetof(kvgate_stats, breaker_state);
  kvgate_client_stats(client_, &stats);
  EXPECT_EQ(stats.breaker_opens, 1u);
  EXPECT_STREQ(stats.transport, "none");
  EXPECT_EQ(stats.breaker_state, 0x5a5a5a5au);
  EXPECT_EQ(stats.breaker_reason[0], 0x5a);
}

TEST_F(StatsTest, TheReasonOfARefusedTokenHasItsName) {
  EXPECT_STREQ(kvgate_reason_name(22), "unauthenticated");
}

}  // namespace
