// SPDX-License-Identifier: Apache-2.0
//
// SliceReader: a cursor over the slices of one received message, and the wire format of protobuf.
//
// Never copies payload: a length-delimited field is taken as pieces that point into the slices.
// Thread-compatible. The slices outlive the reader and everything that it handed out.
// Errors: hostile bytes end with false; then `at()` is where the reader stood.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace kvgate::gateway {

using Piece = std::span<const std::byte>;

class SliceReader {
 public:
  explicit SliceReader(std::span<const Piece> slices) : slices_(slices) {
    for (const Piece& slice : slices) left_ += slice.size();
    SkipEmpty();
  }

  // Field tag: number >= 1 and wire type 0, 1, 2 or 5 (groups are not part of proto3).
  struct Tag {
    uint32_t field = 0;
    uint32_t type = 0;
  };
  bool ReadTag(Tag* tag);
  bool ReadVarint(uint64_t* value);  // at most 10 bytes, at most 64 bits
  bool ReadFixed32(uint32_t* value);
  bool ReadFixed64(uint64_t* value);
  // A length prefix that what is left can hold.
  bool ReadLength(uint64_t* bytes);
  // The next `bytes` bytes as pieces, appended to *pieces (null: skipped).
  bool ReadPieces(uint64_t bytes, std::vector<Piece>* pieces);
  // Skips the value of a field that nobody knows.
  bool SkipValue(uint32_t type);

  uint64_t left() const { return left_; }
  uint64_t at() const { return at_; }

 private:
  bool ReadByte(uint8_t* byte);
  bool ReadBytes(void* target, size_t bytes);
  void Advance(size_t bytes);
  void SkipEmpty();

  std::span<const Piece> slices_;
  size_t slice_ = 0;   // index of the slice under the cursor
  size_t offset_ = 0;  // in it
  uint64_t left_ = 0;
  uint64_t at_ = 0;
};

}  // namespace kvgate::gateway
