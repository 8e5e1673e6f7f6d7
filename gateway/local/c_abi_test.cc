// SPDX-License-Identifier: Apache-2.0
//
// The C ABI against a real door: forms and limits that only this layer has.
#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "client/c/kvgate.h"
#include "gateway/local/test_door.h"
#include "proto/wire/identity.h"

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kCallMs = 20'000;  // hang detector
constexpr uint32_t kPrefix = 1, kMembership = 2;

kvgate_bytes Bytes(const std::string& text) { return {text.data(), text.size()}; }

class CAbiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    kvgate_options options{};
    options.struct_bytes = sizeof(options);
    options.transport = "local";
    options.local_socket = door_.socket_path().c_str();
    options.connect_timeout_ms = 10'000;
    ASSERT_EQ(kvgate_client_create(&options, &client_, error_), 0) << error_;
    kvgate::wire::Identity identity = kvgate::gateway::TestDoor::Identity();
    identity.groups.resize(3, identity.groups[0]);
    const std::string canonical = kvgate::wire::EncodeIdentity(identity);
    ASSERT_EQ(kvgate_open(client_, Bytes(canonical), nullptr, 0, kCallMs, &ns_, nullptr, error_), 0)
        << error_;
    for (size_t i = 0; i < 10; ++i) names_.push_back("k" + std::to_string(i));
    for (const std::string& name : names_) keys_.push_back(Bytes(name));
  }
  void TearDown() override { kvgate_client_destroy(client_); }

  void Store(uint32_t group, const std::vector<size_t>& which) {
    for (size_t i : which) {
      kvgate_set_entry entry{};
      entry.key = keys_[i];
      entry.piece_count = 1;
      const kvgate_piece piece{value_.data(), value_.size()};
      kvgate_set_request request{};
      request.struct_bytes = sizeof(request);
      request.ns = ns_;
      request.entries = &entry;
      request.entries_count = 1;
      request.pieces = &piece;
      request.mode = 1;
      request.group = group;
      kvgate_set_result result{};
      ASSERT_EQ(kvgate_set(client_, &request, kCallMs, &result, error_), 0) << error_;
      ASSERT_STREQ(kvgate_reason_name(result.reason), "ok");
    }
  }

  // The first key's value, stored in group 0.
  void LoadAndCompare() {
    std::string got(value_.size(), '?');
    const kvgate_piece piece{got.data(), got.size()};
    const uint32_t piece_count = 1;
    kvgate_get_request request{};
    request.struct_bytes = sizeof(request);
    request.ns = ns_;
    request.keys = keys_.data();
    request.keys_count = 1;
    request.pieces = &piece;
    request.piece_counts = &piece_count;
    kvgate_get_result result{};
    ASSERT_EQ(kvgate_get(client_, &request, kCallMs, &result, error_), 0) << error_;
    EXPECT_STREQ(kvgate_reason_name(result.reason), "ok");
    EXPECT_EQ(got, value_);
  }

  kvgate_query Query(uint32_t group, uint32_t match) const {
    kvgate_query query{};
    query.group = group;
    query.match = match;
    query.block_tokens = 16;
    query.keys = keys_.data();
    query.keys_count = keys_.size();
    return query;
  }

  int Lookup(const std::vector<kvgate_query>& queries, std::vector<kvgate_group_held>* held) {
    kvgate_lookup_request request{};
    request.struct_bytes = sizeof(request);
    request.ns = ns_;
    request.queries = queries.data();
    request.queries_count = queries.size();
    result_.struct_bytes = sizeof(result_);
    result_.held = held->data();
    result_.held_count = held->size();
    return kvgate_lookup(client_, &request, kCallMs, &result_, error_);
  }

  kvgate::gateway::TestDoor door_;
  kvgate_client* client_ = nullptr;
  uint64_t ns_ = 0;
  std::string value_ = "value";
  std::vector<std::string> names_;
  std::vector<kvgate_bytes> keys_;
  kvgate_lookup_result result_{};
  char error_[KVGATE_ERROR_BYTES] = {};
};

TEST_F(CAbiTest, VersionIsThatOfTheHeader) { EXPECT_EQ(kvgate_abi_version(), 2u); }

TEST_F(CAbiTest, EachMembershipQueryHasItsOwnBitmap) {
  Store(0, {0, 3, 8});
  Store(1, {0, 1, 9});
  Store(2, {1, 9});
  std::array<uint8_t, 2> first{}, second{};
  std::array<uint8_t, 4> prefix;
  prefix.fill(0xff);
  std::vector<kvgate_group_held> held(3);
  held[0].bitmap = first.data();
  held[0].bitmap_bytes = first.size();
  held[1].bitmap = prefix.data();
  held[1].bitmap_bytes = prefix.size();
  held[2].bitmap = second.data();
  held[2].bitmap_bytes = second.size();
  ASSERT_EQ(Lookup({Query(0, kMembership), Query(1, kPrefix), Query(2, kMembership)}, &held), 0)
      << error_;
  ASSERT_EQ(result_.groups, 3u);
  EXPECT_THAT(first, ElementsAre(0b1001, 0b01));
  EXPECT_THAT(second, ElementsAre(0b10, 0b10));
  EXPECT_THAT(prefix, ElementsAre(0, 0, 0, 0));
  EXPECT_EQ(held[0].bitmap, first.data());
  EXPECT_EQ(held[1].held, 2u);
  EXPECT_EQ(held[2].group, 2u);
}

TEST_F(CAbiTest, BytesBeyondABitmapAreZeroed) {
  Store(0, {9});
  std::array<uint8_t, 4> bitmap;
  bitmap.fill(0xff);
  std::vector<kvgate_group_held> held(1);
  held[0].bitmap = bitmap.data();
  held[0].bitmap_bytes = bitmap.size();
  ASSERT_EQ(Lookup({Query(0, kMembership)}, &held), 0) << error_;
  EXPECT_THAT(bitmap, ElementsAre(0, 0b10, 0, 0));
}

TEST_F(CAbiTest, ABitmapNobodyWantsIsNotWritten) {
  Store(0, {0});
  std::vector<kvgate_group_held> held(1);
  ASSERT_EQ(Lookup({Query(0, kMembership)}, &held), 0) << error_;
  EXPECT_EQ(held[0].bitmap, nullptr);
  EXPECT_EQ(held[0].held, 1u);
}

// How many mappings of this process, which is the daemon's too, are parts of the pool.
int PoolMappings() {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) {
    count += line.find("kvgate-extent") != std::string::npos ? 1 : 0;
  }
  return count;
}

TEST_F(CAbiTest, AHeldStagingBlockDoesNotKeepTheOldPoolMapped) {
  value_.assign(100'000, 'v');
  Store(0, {0});
  const int without_client = PoolMappings();
  LoadAndCompare();
  EXPECT_EQ(PoolMappings(), without_client + 1);
  auto* staging = static_cast<char*>(kvgate_staging_alloc(client_, 1000));
  ASSERT_NE(staging, nullptr);
  std::fill_n(staging, 1000, 's');
  door_.Stop();
  door_.Start();
  while (kvgate_ping(client_, 100, error_) != 0) {  // a breaker may be open for a moment
  }
  EXPECT_EQ(PoolMappings(), without_client);
  LoadAndCompare();
  EXPECT_EQ(PoolMappings(), without_client + 1);
  EXPECT_EQ(std::string(staging, 1000), std::string(1000, 's'));
  kvgate_staging_free(client_, staging);
}

TEST_F(CAbiTest, TooLittleRoomIsRefusedByName) {
  std::array<uint8_t, 2> bitmap{};
  std::vector<kvgate_group_held> held(2);
  held[1].bitmap = bitmap.data();
  held[1].bitmap_bytes = 1;
  EXPECT_EQ(Lookup({Query(0, kPrefix), Query(1, kMembership)}, &held), 3);
  EXPECT_THAT(error_, HasSubstr("held[1].bitmap_bytes = 1, 2 needed"));
  held.resize(1);
  EXPECT_EQ(Lookup({Query(0, kPrefix), Query(1, kMembership)}, &held), 3);
  EXPECT_THAT(error_, HasSubstr("held_count = 1, 2 needed"));
}

}  // namespace
