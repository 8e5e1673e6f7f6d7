// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/wire_decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "proto/kvgate/v1/kvgate.pb.h"

namespace kvgate::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// `bytes` cut into slices of `slice_bytes`, as a network would.
std::vector<Piece> Cut(const std::string& bytes, size_t slice_bytes) {
  std::vector<Piece> slices;
  for (size_t at = 0; at < bytes.size(); at += slice_bytes) {
    const std::string_view part = std::string_view(bytes).substr(at, slice_bytes);
    slices.emplace_back(reinterpret_cast<const std::byte*>(part.data()), part.size());
    slices.emplace_back();  // empty slices are legal
  }
  return slices;
}

std::string Whole(const std::vector<Piece>& pieces) {
  std::string bytes;
  for (const Piece& piece : pieces) {
    bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  return bytes;
}

void Refuses(const absl::Status& status, const std::vector<std::string>& words) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  for (const std::string& word : words) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(word));
  }
}

v1::GetRequest FullGet() {
  v1::GetRequest get;
  get.set_namespace_(0x0123456789abcdef);
  get.add_keys("first-key");
  get.add_keys("second-key");
  get.mutable_handle()->set_pin_token(77);
  get.mutable_handle()->set_first(300);
  get.mutable_handle()->set_count(5);
  get.set_group(1);
  get.set_shard(2);
  get.set_root("the-root");
  get.set_depth(70'000);
  get.set_answer_by_ms(250);
  get.set_prefix_only(true);
  get.set_range_offset(1ull << 40);
  get.set_range_bytes(4096);
  get.set_no_payload(true);
  return get;
}

v1::SetRequest FullSet() {
  v1::SetRequest set;
  set.set_namespace_(42);
  for (int i = 0; i < 3; ++i) {
    v1::SetEntry* entry = set.add_entries();
    entry->set_key("key-" + std::to_string(i));
    entry->set_value_bytes(1000 + i);
    if (i == 1) entry->set_producer_crc32c(0xdeadbeef);
    if (i == 2) entry->set_ttl_ms(1500);
    set.add_values(std::string(1000 + i, static_cast<char>('a' + i)));
  }
  set.set_mode(v1::SET_MODE_OVERWRITE);
  set.set_parent("the-parent");
  set.set_root("the-root");
  set.set_depth(9);
  set.set_group(1);
  set.set_shard(2);
  set.set_producer(11);
  set.set_ticket(12);
  set.set_durability(v1::DURABILITY_LOGGED);
  set.mutable_hints()->set_prompt_tokens(100);
  set.mutable_hints()->set_output_tokens(7);
  set.mutable_hints()->set_turn(3);
  set.mutable_hints()->set_finished(true);
  set.set_answer_by_ms(40);
  return set;
}

class SlicedTest : public ::testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(SliceBytes, SlicedTest, ::testing::Values(1, 2, 3, 7, 100, 1 << 20));

TEST_P(SlicedTest, EveryFieldOfGetIsRead) {
  const std::string bytes = FullGet().SerializeAsString();
  DecodedGet get;
  ASSERT_TRUE(get.Decode(Cut(bytes, GetParam())).ok());
  EXPECT_EQ(get.ns, 0x0123456789abcdefu);
  EXPECT_THAT(get.keys, ElementsAre("first-key", "second-key"));
  ASSERT_TRUE(get.handle.has_value());
  EXPECT_EQ(get.handle->pin_token, 77u);
  EXPECT_EQ(get.handle->first, 300u);
  EXPECT_EQ(get.handle->count, 5u);
  EXPECT_EQ(get.group, 1u);
  EXPECT_EQ(get.shard, 2u);
  EXPECT_EQ(get.root, "the-root");
  EXPECT_EQ(get.depth, 70'000u);
  EXPECT_EQ(get.answer_by_ms, 250u);
  EXPECT_TRUE(get.prefix_only);
  EXPECT_EQ(get.range_offset, 1ull << 40);
  EXPECT_EQ(get.range_bytes, 4096u);
  EXPECT_TRUE(get.no_payload);
}

TEST_P(SlicedTest, EveryFieldOfSetIsRead) {
  const std::string bytes = FullSet().SerializeAsString();
  DecodedSet set;
  ASSERT_TRUE(set.Decode(Cut(bytes, GetParam())).ok());
  EXPECT_EQ(set.ns, 42u);
  ASSERT_EQ(set.items.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(set.items[i].key, "key-" + std::to_string(i));
    EXPECT_EQ(Whole(set.items[i].value), std::string(1000 + i, static_cast<char>('a' + i)));
  }
  EXPECT_FALSE(set.items[0].producer_crc.has_value());
  EXPECT_EQ(set.items[1].producer_crc, 0xdeadbeef);
  EXPECT_EQ(set.items[2].ttl_s, 2u);
  EXPECT_EQ(set.payload_bytes, 3003u);
  EXPECT_EQ(set.mode, 2u);
  EXPECT_EQ(set.parent, "the-parent");
  EXPECT_EQ(set.root, "the-root");
  EXPECT_EQ(set.depth, 9u);
  EXPECT_EQ(set.group, 1u);
  EXPECT_EQ(set.shard, 2u);
  EXPECT_EQ(set.producer, 11u);
  EXPECT_EQ(set.ticket, 12u);
  EXPECT_EQ(set.durability, 3u);
  EXPECT_EQ(set.hints.prompt_tokens, 100u);
  EXPECT_EQ(set.hints.output_tokens, 7u);
  EXPECT_EQ(set.hints.turn, 3u);
  EXPECT_TRUE(set.hints.finished);
  EXPECT_EQ(set.answer_by_ms, 40u);
}

TEST_P(SlicedTest, EveryCutMessageIsRefusedOrShorter) {
  const std::string bytes = FullSet().SerializeAsString();
  for (size_t size = 0; size < bytes.size(); ++size) {
    DecodedSet set;
    const std::string cut = bytes.substr(0, size);
    // A cut between two fields is a message of its own; then values are missing.
    if (set.Decode(Cut(cut, GetParam())).ok()) {
      v1::SetRequest message;
      EXPECT_TRUE(message.ParseFromString(cut)) << size;
    }
  }
}

TEST(WireDecode, ValuesAreNotCopied) {
  const std::string bytes = FullSet().SerializeAsString();
  const std::vector<Piece> slices = Cut(bytes, 1 << 20);
  DecodedSet set;
  ASSERT_TRUE(set.Decode(slices).ok());
  for (const storage::SetItem& item : set.items) {
    for (const Piece& piece : item.value) {
      EXPECT_GE(piece.data(), slices[0].data());
      EXPECT_LE(piece.data() + piece.size(), slices[0].data() + slices[0].size());
    }
  }
}

TEST(WireDecode, EntriesAndValuesMayStandInAnyOrder) {
  v1::SetRequest first, second, third;
  first.add_values("0");
  second.add_entries()->set_key("a");
  second.mutable_entries(0)->set_value_bytes(1);
  second.add_entries()->set_key("b");
  second.mutable_entries(1)->set_value_bytes(2);
  third.add_values("11");
  const std::string bytes =
      first.SerializeAsString() + second.SerializeAsString() + third.SerializeAsString();
  DecodedSet set;
  ASSERT_TRUE(set.Decode(Cut(bytes, 4)).ok());
  EXPECT_EQ(Whole(set.items[1].value), "11");
}

TEST(WireDecode, TheLastOfARepeatedScalarWins) {
  v1::GetRequest first, second;
  first.set_depth(1);
  second.set_depth(2);
  DecodedGet get;
  ASSERT_TRUE(get.Decode(Cut(first.SerializeAsString() + second.SerializeAsString(), 100)).ok());
  EXPECT_EQ(get.depth, 2u);
}

TEST(WireDecode, UnknownFieldsAreSkipped) {
  std::string bytes;
  bytes += std::string("\xa0\x06\x05", 3);       // 100: varint
  bytes += std::string("\xa1\x06zzzzzzzz", 10);  // 100: fixed64
  bytes += std::string("\xa2\x06\x03xyz", 6);    // 100: bytes
  bytes += std::string("\xa5\x06zzzz", 6);       // 100: fixed32
  v1::GetRequest get_message;
  get_message.add_keys("k");
  bytes += get_message.SerializeAsString();
  DecodedGet get;
  ASSERT_TRUE(get.Decode(Cut(bytes, 3)).ok());
  EXPECT_THAT(get.keys, ElementsAre("k"));
}

TEST(WireDecode, BytesThatAreNoMessageAreRefused) {
  const std::string cases[] = {
      std::string(1, '\x08' | 3),  // group start
      std::string(1, '\x0f'),      // wire type 7
      std::string("\x00\x00", 2),  // field 0
      std::string("\x12\x05"
                  "abc",
                  5),                                          // a key cut short
      std::string("\x20", 1),                                  // varint missing
      std::string("\x20") + std::string(10, '\xff') + '\x01',  // varint of 11 bytes
      std::string("\x09"
                  "abc",
                  4),                                                   // fixed64 cut short
      std::string("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11),  // length of 2^64 - 1
  };
  for (const std::string& bytes : cases) {
    DecodedGet get;
    Refuses(get.Decode(Cut(bytes, 2)), {});
  }
}

TEST(WireDecode, AKnownFieldOfAnotherWireTypeIsNamed) {
  DecodedGet get;
  Refuses(get.Decode(Cut(std::string("\x3d"
                                     "abcd",
                                     5),
                         100)),
          {"depth", "wire type 5"});
}

TEST(WireDecode, ANumberWiderThanItsFieldIsNamed) {
  DecodedGet get;
  Refuses(get.Decode(Cut(std::string("\x38\x80\x80\x80\x80\x10", 6), 100)),
          {"depth", "4294967296", "4294967295"});
}

TEST(WireDecode, AKeyThatIsTooLongIsNamedWithoutBeingCopied) {
  v1::SetRequest message;
  message.add_entries()->set_key("good");
  message.add_entries()->set_key(std::string(1025, 'k'));
  DecodedSet set;
  Refuses(set.Decode(Cut(message.SerializeAsString(), 100)), {"entries[1].key", "1025", "1024"});
}

TEST(WireDecode, TooManyKeysAreCountedAndNotKept) {
  std::string bytes;
  for (int i = 0; i < 100'000; ++i) bytes += std::string("\x12\x00", 2);
  DecodedGet get;
  Refuses(get.Decode(Cut(bytes, 8192)), {"keys", "100000", "1024"});
  EXPECT_LE(get.keys.size(), 1024u);
}

TEST(WireDecode, AsManyValuesAsEntries) {
  v1::SetRequest message;
  message.add_entries()->set_key("k");
  DecodedSet set;
  Refuses(set.Decode(Cut(message.SerializeAsString(), 100)), {"values", "0", "1 entries"});
}

TEST(WireDecode, AStatedLengthThatIsWrongIsNamed) {
  v1::SetRequest message = FullSet();
  message.mutable_entries(2)->set_value_bytes(5);
  DecodedSet set;
  Refuses(set.Decode(Cut(message.SerializeAsString(), 100)),
          {"entries[2].value_bytes", "5", "1002"});
}

// What protobuf reads from changed bytes, we read the same way, or refuse.
TEST(WireDecode, AgreesWithProtobufOnChangedBytes) {
  const std::string original = FullGet().SerializeAsString();
  std::mt19937 random(20261124);
  int accepted = 0;
  for (int i = 0; i < 100'000; ++i) {
    std::string bytes = original;
    for (int change = 0; change < 1 + i % 3; ++change) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    DecodedGet get;
    if (!get.Decode(Cut(bytes, 1 + i % 17)).ok()) continue;
    ++accepted;
    v1::GetRequest message;
    ASSERT_TRUE(message.ParseFromString(bytes));
    ASSERT_EQ(get.ns, message.namespace_());
    ASSERT_EQ(get.keys.size(), static_cast<size_t>(message.keys_size()));
    ASSERT_EQ(get.depth, message.depth());
    ASSERT_EQ(get.root, message.root());
    ASSERT_EQ(get.range_offset, message.range_offset());
    ASSERT_EQ(get.handle.has_value(), message.has_handle());
    ASSERT_EQ(get.handle ? get.handle->pin_token : 0, message.handle().pin_token());
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace kvgate::gateway
