// SPDX-License-Identifier: Apache-2.0
//
// Decoders of the two messages that carry payload, GetRequest and SetRequest, straight from the
// slices of a received message: values are never copied and never pass through protobuf.
//
// Accepted is what protobuf accepts (any order of fields, the last of a repeated scalar wins,
// unknown fields skipped), but strictly: a known field of another wire type, a number wider than
// its field, a group or a cut message is INVALID_ARGUMENT, naming the field or the offset.
// Lists longer than a batch may be are counted but not kept, so a message cannot make memory.
// Views point into the slices, or into this object's own copies of keys that lie across two slices.
// Pure apart from that; a decoded message is thread-compatible and neither copied nor moved.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "gateway/service/slice_reader.h"
#include "storage/store.h"

namespace kvgate::gateway {

// Keeps short byte fields contiguous.
class ByteFields {
 public:
  // A view of the next `bytes` bytes: in place when one slice holds them, else copied once.
  bool Read(SliceReader* reader, uint64_t bytes, std::string_view* view);

 private:
  std::deque<std::string> copies_;  // stable addresses
  std::vector<Piece> scratch_;
};

struct DecodedGet {
  DecodedGet() = default;
  DecodedGet(const DecodedGet&) = delete;
  DecodedGet& operator=(const DecodedGet&) = delete;

  uint64_t ns = 0;
  std::vector<std::string_view> keys;
  std::optional<storage::GetHandle> handle;
  uint32_t group = 0, shard = 0;
  std::string_view root;
  uint32_t depth = 0;
  uint32_t answer_by_ms = 0;
  bool prefix_only = false;
  uint64_t range_offset = 0, range_bytes = 0;
  bool no_payload = false;

  absl::Status Decode(std::span<const Piece> slices);

 private:
  absl::Status DecodeField(SliceReader::Tag tag, SliceReader* reader, size_t* key_count);
  ByteFields fields_;
};

struct DecodedSet {
  DecodedSet() = default;
  DecodedSet(const DecodedSet&) = delete;
  DecodedSet& operator=(const DecodedSet&) = delete;

  uint64_t ns = 0;
  std::vector<storage::SetItem> items;  // entry and value joined
  uint32_t mode = 0;
  std::string_view parent, root;
  uint32_t depth = 0;
  uint32_t group = 0, shard = 0;
  uint64_t producer = 0, ticket = 0;
  uint32_t durability = 0;
  storage::Hints hints;
  uint32_t answer_by_ms = 0;
  uint64_t payload_bytes = 0;

  absl::Status Decode(std::span<const Piece> slices);

 private:
  struct Counts {
    size_t entries = 0, values = 0;
  };
  absl::Status DecodeField(SliceReader::Tag tag, SliceReader* reader, Counts* counts);
  absl::Status DecodeNumber(SliceReader::Tag tag, SliceReader* reader);
  absl::Status DecodeEntry(SliceReader* reader, size_t index);
  absl::Status DecodeHints(SliceReader* reader);
  absl::Status Join(const Counts& counts);

  ByteFields fields_;
  std::vector<uint64_t> stated_bytes_;      // SetEntry.value_bytes
  std::vector<std::vector<Piece>> values_;  // until they are joined
};

}  // namespace kvgate::gateway
