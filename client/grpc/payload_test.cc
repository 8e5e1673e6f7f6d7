// SPDX-License-Identifier: Apache-2.0
#include "client/grpc/payload.h"

#include <grpcpp/support/byte_buffer.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "proto/kvgate/v1/kvgate.pb.h"
#include "proto/wire/checksum.h"

namespace kvgate::client {
namespace {

std::span<const std::byte> BytesOf(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// Cuts a message into slices of `step` bytes, as it may come from the network.
grpc::ByteBuffer Sliced(const std::string& message, size_t step) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < message.size(); at += step) {
    slices.emplace_back(message.substr(at, step));
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

std::string Joined(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string out;
  for (const grpc::Slice& slice : slices) {
    out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return out;
}

// Reads a response into targets of given sizes, each cut into two pieces.
class Reading {
 public:
  explicit Reading(const std::vector<size_t>& sizes, bool verify = true)
      : verify_(sizes.size(), verify), results(sizes.size()) {
    for (size_t size : sizes) values.emplace_back(size, '#');
    for (std::string& value : values) {
      auto* data = reinterpret_cast<std::byte*>(value.data());
      const size_t head = value.size() / 3;
      pieces_.push_back({std::span(data, head), std::span(data + head, value.size() - head)});
    }
    for (const auto& pieces : pieces_) targets_.emplace_back(pieces);
  }

  Outcome Read(const grpc::ByteBuffer& message, Deadline deadline = DeadlineIn(1e6)) {
    return ReadGetMessage(message, deadline, targets_, verify_, results);
  }

 private:
  std::vector<uint8_t> verify_;
  std::vector<std::vector<std::span<std::byte>>> pieces_;
  std::vector<Pieces> targets_;

 public:
  std::vector<std::string> values;
  std::vector<GetResult> results;
};

void AddValue(const std::string& value, v1::GetResponse* response) {
  v1::GetResult* result = response->add_results();
  result->set_state(v1::GET_STATE_OK);
  result->set_tier(v1::TIER_MEMORY);
  result->set_value_bytes(value.size());
  result->set_crc32c(wire::Crc32c(0, value.data(), value.size()));
  response->add_values(value);
}

TEST(ReadGetMessageTest, ValuesArriveHoweverTheMessageIsSliced) {
  v1::GetResponse response;
  AddValue("first value", &response);
  response.add_results()->set_state(v1::GET_STATE_MISS);
  AddValue(std::string(5000, 'z'), &response);
  const std::string message = response.SerializeAsString();
  for (size_t step : {size_t{1}, size_t{7}, size_t{4096}, message.size()}) {
    Reading reading({11, 3, 5000});
    EXPECT_TRUE(reading.Read(Sliced(message, step)).ok());
    EXPECT_EQ(reading.results[0].reason, Reason::kOk);
    EXPECT_EQ(reading.results[1].reason, Reason::kNotHeld);
    EXPECT_EQ(reading.results[2].reason, Reason::kOk);
    EXPECT_EQ(reading.values[0], "first value");
    EXPECT_EQ(reading.values[1], "###");
    EXPECT_EQ(reading.values[2], std::string(5000, 'z'));
  }
}

TEST(ReadGetMessageTest, AnotherLengthThanTheTargetIsWrongSizeAndWritesNothing) {
  v1::GetResponse response;
  AddValue("four", &response);
  AddValue("next", &response);
  Reading reading({5, 4});
  EXPECT_TRUE(reading.Read(Sliced(response.SerializeAsString(), 3)).ok());
  EXPECT_EQ(reading.results[0].reason, Reason::kWrongSize);
  EXPECT_EQ(reading.results[0].value_bytes, 4u);
  EXPECT_EQ(reading.values[0], "#####");
  EXPECT_EQ(reading.values[1], "next");
}

TEST(ReadGetMessageTest, BytesThatDoNotVerifyAreAMiss) {
  v1::GetResponse response;
  AddValue("value", &response);
  response.mutable_values(0)->back() = 'x';
  Reading verified({5});
  EXPECT_TRUE(verified.Read(Sliced(response.SerializeAsString(), 64)).ok());
  EXPECT_EQ(verified.results[0].reason, Reason::kChecksum);
  Reading trusted({5}, false);
  EXPECT_TRUE(trusted.Read(Sliced(response.SerializeAsString(), 64)).ok());
  EXPECT_EQ(trusted.results[0].reason, Reason::kOk);
}

TEST(ReadGetMessageTest, NothingIsWrittenAfterTheDeadline) {
  v1::GetResponse response;
  AddValue("value", &response);
  Reading reading({5});
  EXPECT_TRUE(reading.Read(Sliced(response.SerializeAsString(), 64), DeadlineIn(-1)).ok());
  EXPECT_EQ(reading.results[0].reason, Reason::kDeadline);
  EXPECT_EQ(reading.values[0], "#####");
}

TEST(ReadGetMessageTest, AMessageThatBreaksTheRulesIsRefused) {
  v1::GetResponse good;
  AddValue("value", &good);
  v1::GetResponse missing = good;
  missing.clear_values();
  v1::GetResponse surplus = good;
  surplus.add_values("more");
  v1::GetResponse two = good;
  AddValue("other", &two);
  v1::GetResponse lying = good;
  lying.mutable_results(0)->set_value_bytes(4);
  for (const v1::GetResponse& bad : {missing, surplus, two, lying, v1::GetResponse()}) {
    Reading reading({5});
    EXPECT_EQ(reading.Read(Sliced(bad.SerializeAsString(), 8)).code, wire::Code::kInternal);
  }
}

TEST(ReadGetMessageTest, ATruncatedMessageNeverCountsAsLoaded) {
  v1::GetResponse response;
  AddValue("value", &response);
  AddValue("other", &response);
  const std::string message = response.SerializeAsString();
  for (size_t bytes = 0; bytes < message.size(); ++bytes) {
    Reading reading({5, 5});
    EXPECT_FALSE(reading.Read(Sliced(message.substr(0, bytes), 4)).ok());
    EXPECT_NE(reading.results[1].reason, Reason::kOk);
  }
}

TEST(ReadGetMessageTest, UnknownFieldsAreSkipped) {
  v1::GetResponse response;
  AddValue("value", &response);
  std::string message = response.SerializeAsString();
  message += std::string("\x98\x06\x2a", 3);  // field 99, varint
  message += std::string(
      "\xa2\x06\x03"
      "abc",
      6);  // field 100, bytes
  message += std::string(
      "\xa9\x06"
      "12345678",
      10);  // field 101, fixed64
  Reading reading({5});
  EXPECT_TRUE(reading.Read(Sliced(message, 5)).ok());
  EXPECT_EQ(reading.values[0], "value");
}

TEST(ReadGetMessageTest, MutatedMessagesNeitherCrashNorPassUnverified) {
  v1::GetResponse response;
  AddValue("a first value", &response);
  AddValue("the second", &response);
  const std::string message = response.SerializeAsString();
  std::mt19937 random(20240501);
  for (int i = 0; i < 100'000; ++i) {
    std::string mutated = message;
    for (int n = 0; n < 2; ++n) mutated[random() % mutated.size()] = static_cast<char>(random());
    if (random() % 4 == 0) mutated.resize(random() % mutated.size());
    Reading reading({13, 10});
    if (!reading.Read(Sliced(mutated, 1 + random() % 32)).ok()) continue;
    for (size_t k = 0; k < 2; ++k) {
      if (reading.results[k].reason != Reason::kOk) continue;
      EXPECT_EQ(reading.results[k].crc32c,
                wire::Crc32c(0, reading.values[k].data(), reading.values[k].size()));
    }
  }
}

TEST(BuildSetMessageTest, AnOrdinaryDecoderReadsIt) {
  v1::SetRequest head;
  head.set_namespace_(9);
  head.add_entries()->set_key("k");
  const std::string a = "one ", b = "value", c(3000, 'c');
  const std::vector<std::span<const std::byte>> first = {BytesOf(a), BytesOf(b)};
  const std::vector<std::span<const std::byte>> second = {BytesOf(c)};
  const std::vector<SetEntry> entries = {
      {.key = "k", .value = first}, {.key = "l", .value = second}, {.key = "m"}};
  SharedBlocks blocks;
  v1::SetRequest read;
  ASSERT_TRUE(
      read.ParseFromString(Joined(BuildSetMessage(head.SerializeAsString(), entries, blocks))));
  EXPECT_EQ(read.namespace_(), 9u);
  ASSERT_EQ(read.values_size(), 3);
  EXPECT_EQ(read.values(0), "one value");
  EXPECT_EQ(read.values(1), c);
  EXPECT_EQ(read.values(2), "");
}

TEST(BuildSetMessageTest, StagingMemoryIsNotCopiedAndOutlivesItsFree) {
  SharedBlocks blocks;
  std::byte* memory = blocks.Alloc(4096);
  std::fill_n(memory, 4096, std::byte{'s'});
  const std::span<const std::byte> piece(memory, 4096);
  const SetEntry entry{.key = "k", .value = {&piece, 1}};
  grpc::ByteBuffer message = BuildSetMessage("", {&entry, 1}, blocks);
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(message.Dump(&slices).ok());
  EXPECT_EQ(static_cast<const void*>(slices.back().begin()), memory);
  blocks.Free(memory);
  EXPECT_EQ(blocks.Find(memory, 1), nullptr);
  v1::SetRequest read;
  ASSERT_TRUE(read.ParseFromString(Joined(message)));
  EXPECT_EQ(read.values(0), std::string(4096, 's'));
}

TEST(SharedBlocksTest, OnlyBytesWhollyInsideABlockAreFound) {
  SharedBlocks blocks;
  std::byte* memory = blocks.Alloc(100);
  EXPECT_NE(blocks.Find(memory, 100), nullptr);
  EXPECT_NE(blocks.Find(memory + 99, 1), nullptr);
  EXPECT_EQ(blocks.Find(memory + 1, 100), nullptr);
  EXPECT_EQ(blocks.Find(memory + 200, 1), nullptr);
  EXPECT_EQ(blocks.Find(memory - 1, 1), nullptr);
}

}  // namespace
}  // namespace kvgate::client
