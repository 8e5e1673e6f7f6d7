// SPDX-License-Identifier: Apache-2.0
#include "gateway/local/codec.h"

#include <gmock/gmock.h>

#include <cstring>
#include <random>

#include "gtest/gtest.h"

namespace kvgate::gateway {
namespace {

using local::MsgHeader;
using local::Op;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
std::string Raw(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

std::string Message(Op op, const std::string& body) {
  MsgHeader header{};
  header.magic = local::kMagic;
  header.version = 1;
  header.op = static_cast<uint16_t>(op);
  header.bytes = static_cast<uint32_t>(sizeof(header) + body.size());
  header.request_id = 1;
  header.timeout_us = 1000;
  return Raw(header) + body;
}

std::string KeyList(const std::vector<std::string>& keys) {
  std::string list;
  for (const std::string& key : keys) list += Raw(static_cast<uint16_t>(key.size())) + key;
  return list;
}

std::string GetMessage() {
  const std::string body = "root" + KeyList({"one", "two"});
  local::Get get{};
  get.count = 2;
  get.depth = 3;
  get.root_bytes = 4;
  get.body.bytes = static_cast<uint32_t>(body.size());
  return Message(Op::kGet, Raw(get) + body);
}

std::string CommitMessage() {
  local::EntryWire entry{};
  entry.value_bytes = 64;
  entry.key_bytes = 3;
  const std::string body = Raw(entry) + Raw(entry) + "parent" + "root" + "one" + "two";
  local::Commit commit{};
  commit.count = 2;
  commit.parent_bytes = 6;
  commit.root_bytes = 4;
  commit.body.bytes = static_cast<uint32_t>(body.size());
  return Message(Op::kCommit, Raw(commit) + body);
}

std::string LookupMessage() {
  local::QueryWire query{};
  query.keys = 2;
  const std::string body = Raw(query) + Raw(query) + KeyList({"a", "b", "c", "d"});
  local::Lookup lookup{};
  lookup.queries = 2;
  lookup.body.bytes = static_cast<uint32_t>(body.size());
  return Message(Op::kLookup, Raw(lookup) + body);
}

std::string ReserveMessage() {
  const std::string body = Raw(uint64_t{10}) + Raw(uint64_t{20}) + KeyList({"a", "b"});
  local::Reserve reserve{};
  reserve.count = 2;
  reserve.body.bytes = static_cast<uint32_t>(body.size());
  return Message(Op::kReserve, Raw(reserve) + body);
}

std::string OpenMessage() {
  local::Open open{};
  open.identity_bytes = 8;
  open.alias_bytes = 5;
  open.body.bytes = 13;
  return Message(Op::kOpen, Raw(open) + "identityalias");
}

std::string DeleteMessage() {
  const std::string body = KeyList({"a"});
  local::Delete del{};
  del.count = 1;
  del.group = del.shard = -1;
  del.body.bytes = static_cast<uint32_t>(body.size());
  return Message(Op::kDelete, Raw(del) + body);
}

std::string TouchMessage() {
  local::Touch touch{};
  touch.key_bytes = 3;
  return Message(Op::kTouch, Raw(touch) + "key");
}

std::string ReleaseMessage() {
  return Message(Op::kRelease, Raw(local::Release{1, 0}) + Raw(uint64_t{5}));
}

std::string GrowMessage(uint64_t value, uint64_t min, uint64_t wanted) {
  return Message(Op::kGrowStaging,
                 Raw(local::GrowStaging{local::kControlBytes, value, min, wanted}));
}

TEST(LocalCodec, FieldsOfGrowStaging) {
  GrowStagingCall call;
  ASSERT_TRUE(Decode(GrowMessage(1, 1, 1), {}, &call).ok());
  ASSERT_TRUE(Decode(GrowMessage(64 << 20, 5, local::kStagingBytesMax), {}, &call).ok());
  EXPECT_EQ(call.fixed.have_bytes, local::kControlBytes);
  EXPECT_EQ(call.fixed.bytes_min, 5u);
  EXPECT_EQ(call.fixed.bytes_wanted, local::kStagingBytesMax);
}

TEST(LocalCodec, GrowStagingOutsideItsLimitsIsNamed) {
  const auto refused = [](const std::string& message) {
    GrowStagingCall call;
    return std::string(Decode(message, {}, &call).message());
  };
  EXPECT_THAT(refused(GrowMessage(0, 1, 1)), HasSubstr("grow.value_bytes: 0"));
  EXPECT_THAT(refused(GrowMessage((64 << 20) + 1, 1, 1)), HasSubstr("at most 67108864"));
  EXPECT_THAT(refused(GrowMessage(1, 0, 1)), HasSubstr("grow.bytes_min: 0"));
  EXPECT_THAT(refused(GrowMessage(1, 2, 1)), HasSubstr("grow.bytes_min: 2, at most 1"));
  EXPECT_THAT(refused(GrowMessage(1, 1, local::kStagingBytesMax + 1)),
              HasSubstr("grow.bytes_wanted"));
  EXPECT_THAT(refused(GrowMessage(1, 1, ~uint64_t{0})), HasSubstr("grow.bytes_wanted"));
  EXPECT_THAT(refused(GrowMessage(1, 1, 1) + "x"), HasSubstr("bytes left"));
  EXPECT_THAT(refused(GrowMessage(1, 1, 1).substr(0, 60)), HasSubstr("32 are needed"));
}

TEST(LocalCodec, GrowStagingNeedsVersionTwo) {
  std::string message = GrowMessage(1, 1, 1);
  MsgHeader header;
  EXPECT_THAT(std::string(DecodeHeader(message, 1, &header).message()),
              HasSubstr("op: 15, must be 1 to 14"));
  message[4] = 2;  // version
  EXPECT_TRUE(DecodeHeader(message, 2, &header).ok());
  message[8 - 2] = 16;  // op
  EXPECT_THAT(std::string(DecodeHeader(message, 2, &header).message()),
              HasSubstr("op: 16, must be 1 to 15"));
}

TEST(LocalCodec, FieldsOfGet) {
  const std::string message = GetMessage();
  GetCall call;
  ASSERT_TRUE(Decode(message, {}, &call).ok());
  EXPECT_EQ(call.root, "root");
  EXPECT_EQ(call.fixed.depth, 3u);
  EXPECT_THAT(call.keys, ElementsAre("one", "two"));
}

TEST(LocalCodec, FieldsOfCommit) {
  std::vector<std::byte> staging(64);
  const std::string message = CommitMessage();
  CommitCall call;
  ASSERT_TRUE(Decode(message, staging, &call).ok());
  EXPECT_EQ(call.parent, "parent");
  EXPECT_EQ(call.root, "root");
  EXPECT_THAT(call.keys, ElementsAre("one", "two"));
  EXPECT_FALSE(Decode(message, Staging(staging).first(63), &call).ok());
}

TEST(LocalCodec, FieldsOfTheOthers) {
  LookupCall lookup;
  const std::string lookup_message = LookupMessage();
  ASSERT_TRUE(Decode(lookup_message, {}, &lookup).ok());
  EXPECT_THAT(lookup.keys, ElementsAre(ElementsAre("a", "b"), ElementsAre("c", "d")));
  ReserveCall reserve;
  const std::string reserve_message = ReserveMessage();
  ASSERT_TRUE(Decode(reserve_message, {}, &reserve).ok());
  EXPECT_THAT(reserve.value_bytes, ElementsAre(10, 20));
  OpenCall open;
  const std::string open_message = OpenMessage();
  ASSERT_TRUE(Decode(open_message, {}, &open).ok());
  EXPECT_EQ(open.identity, "identity");
  EXPECT_EQ(open.alias, "alias");
  DeleteCall del;
  const std::string delete_message = DeleteMessage();
  ASSERT_TRUE(Decode(delete_message, {}, &del).ok());
  EXPECT_THAT(del.keys, ElementsAre("a"));
  TouchCall touch;
  const std::string touch_message = TouchMessage();
  ASSERT_TRUE(Decode(touch_message, {}, &touch).ok());
  EXPECT_EQ(touch.key, "key");
  ReleaseCall release;
  ASSERT_TRUE(Decode(ReleaseMessage(), {}, &release).ok());
  EXPECT_THAT(release.leases, ElementsAre(5));
}

TEST(LocalCodec, BodyInStagingIsReadOnce) {
  const std::string body = "root" + KeyList({"one", "two"});
  std::vector<std::byte> staging(100);
  std::memcpy(staging.data() + 7, body.data(), body.size());
  local::Get get{};
  get.count = 2;
  get.root_bytes = 4;
  get.body = {7, static_cast<uint32_t>(body.size()), 1};
  const std::string message = Message(Op::kGet, Raw(get));
  GetCall call;
  ASSERT_TRUE(Decode(message, staging, &call).ok());
  // What the client writes afterwards is not seen.
  std::fill(staging.begin(), staging.end(), std::byte{0xff});
  EXPECT_THAT(call.keys, ElementsAre("one", "two"));
}

// Decodes as the door does: what passes lies in the message, its copy, or staging.
template <typename T>
int DecodeAs(const std::string& message, Staging staging) {
  T call;
  return Decode(message, staging, &call).ok() ? 1 : 0;
}

TEST(LocalCodec, MutatedMessagesAreRefusedOrSound) {
  constexpr int kMutations = 100'000;
  const std::vector<std::string> seeds = {GetMessage(),     CommitMessage(),  LookupMessage(),
                                          ReserveMessage(), OpenMessage(),    DeleteMessage(),
                                          TouchMessage(),   ReleaseMessage(), GrowMessage(9, 9, 9)};
  std::mt19937_64 random(11);
  std::vector<std::byte> staging(4096);
  int accepted = 0;
  for (int i = 0; i < kMutations; ++i) {
    std::string message = seeds[random() % seeds.size()];
    for (uint64_t flips = random() % 4; flips > 0; --flips) {
      message[random() % message.size()] = static_cast<char>(random());
    }
    if (random() % 4 == 0) message.resize(random() % (message.size() + 8));
    MsgHeader header;
    // Of either version; the bodies are the same.
    if (!DecodeHeader(message, 1, &header).ok() && header.op != 15) continue;
    accepted += DecodeAs<GetCall>(message, staging) + DecodeAs<CommitCall>(message, staging) +
                DecodeAs<LookupCall>(message, staging) + DecodeAs<ReserveCall>(message, staging) +
                DecodeAs<OpenCall>(message, staging) + DecodeAs<DeleteCall>(message, staging) +
                DecodeAs<TouchCall>(message, staging) + DecodeAs<ReleaseCall>(message, staging) +
                DecodeAs<GrowStagingCall>(message, staging);
  }
  EXPECT_GT(accepted, kMutations / 20);
}

}  // namespace
}  // namespace kvgate::gateway
