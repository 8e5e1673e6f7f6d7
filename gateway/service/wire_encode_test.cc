// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/wire_encode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "gateway/service/slice_reader.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"
#include "proto/kvgate/v1/kvgate.pb.h"
#include "proto/wire/checksum.h"

namespace kvgate::gateway {
namespace {

using storage::GetState;

// A block of this test's own memory.
class TestBlock final : public storage::BlockRef::Holder {
 public:
  explicit TestBlock(std::string bytes) : bytes_(std::move(bytes)) {}
  std::span<const std::byte> bytes() const override { return std::as_bytes(std::span(bytes_)); }
  storage::PoolPlace place() const override { return {}; }
  uint32_t value_crc() const override { return wire::Crc32c(0, bytes_.data(), bytes_.size()); }

 private:
  const std::string bytes_;
};

class WireEncodeTest : public ::testing::Test {
 protected:
  void AddBlock(const std::string& bytes) {
    auto holder = std::make_shared<TestBlock>(bytes);
    holders_.push_back(holder);
    results_.push_back({.state = GetState::kOk,
                        .tier = storage::Tier::kMemory,
                        .block = storage::BlockRef(std::move(holder))});
  }
  void AddMiss(GetState state) { results_.push_back({.state = state}); }

  // What a client reads.
  v1::GetResponse Encode(EncodeGetOptions options = {}) {
    if (options.payload_bytes_max == 0) options.payload_bytes_max = 64 << 20;
    sent_ = EncodeGetResponse(results_, options, unsent_, &message_);
    std::vector<grpc::Slice> slices;
    EXPECT_TRUE(message_.Dump(&slices).ok());
    std::string bytes;
    for (const grpc::Slice& slice : slices) {
      bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    v1::GetResponse response;
    EXPECT_TRUE(response.ParseFromString(bytes));
    return response;
  }
  std::vector<v1::GetState> States(const v1::GetResponse& response) {
    std::vector<v1::GetState> states;
    for (const auto& result : response.results()) states.push_back(result.state());
    return states;
  }

  std::vector<storage::GetResult> results_;
  std::vector<std::weak_ptr<TestBlock>> holders_;
  UnsentGauge unsent_ = std::make_shared<UnsentCount>();
  grpc::ByteBuffer message_;
  uint64_t sent_ = 0;
};

TEST_F(WireEncodeTest, ProtobufReadsWhatWasEncoded) {
  AddBlock(std::string(300, 'a'));
  AddMiss(GetState::kMiss);
  AddBlock("b");
  const v1::GetResponse response = Encode();
  EXPECT_THAT(States(response),
              ::testing::ElementsAre(v1::GET_STATE_OK, v1::GET_STATE_MISS, v1::GET_STATE_OK));
  ASSERT_EQ(response.values_size(), 2);
  EXPECT_EQ(response.values(0), std::string(300, 'a'));
  EXPECT_EQ(response.values(1), "b");
  EXPECT_EQ(response.results(0).value_bytes(), 300u);
  EXPECT_EQ(response.results(0).crc32c(), wire::Crc32c(0, response.values(0).data(), 300));
  EXPECT_EQ(response.results(0).tier(), v1::TIER_MEMORY);
  EXPECT_EQ(response.results(1).tier(), v1::TIER_UNSPECIFIED);
  EXPECT_EQ(sent_, 301u);
}

TEST_F(WireEncodeTest, PayloadSlicesAreTheBlocksOwnMemory) {
  AddBlock(std::string(100'000, 'x'));
  Encode();
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(message_.Dump(&slices).ok());
  // gRPC may join the small slices before it, but has no use for copying this one.
  EXPECT_EQ(static_cast<const void*>(slices.back().begin()),
            static_cast<const void*>(results_[0].block.bytes().data()));
  EXPECT_EQ(slices.back().size(), 100'000u);
}

TEST_F(WireEncodeTest, ABlockIsHeldUntilItsSliceIsGone) {
  AddBlock(std::string(100'000, 'x'));
  Encode();
  results_.clear();
  EXPECT_FALSE(holders_[0].expired());
  EXPECT_EQ(unsent_->bytes(), 100'000);
  message_.Clear();
  EXPECT_TRUE(holders_[0].expired());
  EXPECT_EQ(unsent_->bytes(), 0);
}

TEST_F(WireEncodeTest, LeadingValuesThatFitAreSent) {
  AddBlock(std::string(600, 'a'));
  AddBlock(std::string(600, 'b'));
  AddBlock(std::string(10, 'c'));
  AddMiss(GetState::kMiss);
  const v1::GetResponse response = Encode({.payload_bytes_max = 1000});
  EXPECT_THAT(States(response), ::testing::ElementsAre(v1::GET_STATE_OK, v1::GET_STATE_NOT_SENT,
                                                       v1::GET_STATE_NOT_SENT, v1::GET_STATE_MISS));
  EXPECT_EQ(response.values_size(), 1);
}

TEST_F(WireEncodeTest, APayloadOfExactlyTheLimitFits) {
  AddBlock(std::string(600, 'a'));
  AddBlock(std::string(400, 'b'));
  EXPECT_EQ(Encode({.payload_bytes_max = 1000}).values_size(), 2);
}

TEST_F(WireEncodeTest, ARangeHasItsOwnLengthAndChecksum) {
  AddBlock("0123456789");
  const v1::GetResponse response = Encode({.range_offset = 3, .range_bytes = 4});
  EXPECT_EQ(response.values(0), "3456");
  EXPECT_EQ(response.results(0).value_bytes(), 4u);
  EXPECT_EQ(response.results(0).crc32c(), wire::Crc32c(0, "3456", 4));
}

TEST_F(WireEncodeTest, ARangeBeyondAValueIsAMissOfThatValue) {
  AddBlock("0123456789");
  AddBlock(std::string(12, 'b'));
  for (const EncodeGetOptions& options :
       {EncodeGetOptions{.range_offset = 3, .range_bytes = 8},
        EncodeGetOptions{.range_offset = 11, .range_bytes = 1},
        EncodeGetOptions{.range_offset = 1, .range_bytes = UINT64_MAX}}) {
    EXPECT_EQ(States(Encode(options))[0], v1::GET_STATE_MISS);
  }
  const v1::GetResponse response = Encode({.range_offset = 3, .range_bytes = 8});
  EXPECT_THAT(States(response), ::testing::ElementsAre(v1::GET_STATE_MISS, v1::GET_STATE_OK));
  ASSERT_EQ(response.values_size(), 1);
  EXPECT_EQ(response.values(0), "bbbbbbbb");
}

TEST_F(WireEncodeTest, WithoutPayloadOnlyResultsAreSent) {
  AddBlock(std::string(600, 'a'));
  AddBlock(std::string(600, 'b'));
  const v1::GetResponse response = Encode({.no_payload = true, .payload_bytes_max = 1});
  EXPECT_THAT(States(response), ::testing::ElementsAre(v1::GET_STATE_OK, v1::GET_STATE_OK));
  EXPECT_EQ(response.values_size(), 0);
  EXPECT_EQ(response.results(1).value_bytes(), 600u);
  EXPECT_EQ(unsent_->bytes(), 0);
}

TEST_F(WireEncodeTest, ResultsStandBeforeValues) {
  AddBlock(std::string(100'000, 'a'));
  AddBlock("b");
  Encode();
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(message_.Dump(&slices).ok());
  std::vector<Piece> pieces;
  for (const grpc::Slice& slice : slices) {
    pieces.emplace_back(reinterpret_cast<const std::byte*>(slice.begin()), slice.size());
  }
  SliceReader reader(pieces);
  std::vector<uint32_t> fields;
  for (SliceReader::Tag tag; reader.left() > 0 && reader.ReadTag(&tag);) {
    fields.push_back(tag.field);
    ASSERT_TRUE(reader.SkipValue(tag.type));
  }
  EXPECT_THAT(fields, ::testing::ElementsAre(1, 1, 2, 2));
}

}  // namespace
}  // namespace kvgate::gateway
