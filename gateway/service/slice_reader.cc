// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/slice_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace kvgate::gateway {

static_assert(std::endian::native == std::endian::little, "fixed fields are read as they lie");

void SliceReader::SkipEmpty() {
  while (slice_ < slices_.size() && offset_ == slices_[slice_].size()) {
    ++slice_;
    offset_ = 0;
  }
}

// REQUIRES: bytes <= what is left in the slice under the cursor.
void SliceReader::Advance(size_t bytes) {
  offset_ += bytes;
  at_ += bytes;
  left_ -= bytes;
  SkipEmpty();
}

bool SliceReader::ReadByte(uint8_t* byte) {
  if (left_ == 0) return false;
  *byte = std::to_integer<uint8_t>(slices_[slice_][offset_]);
  Advance(1);
  return true;
}

bool SliceReader::ReadBytes(void* target, size_t bytes) {
  if (bytes > left_) return false;
  auto* out = static_cast<std::byte*>(target);
  while (bytes > 0) {
    const size_t here = std::min(bytes, slices_[slice_].size() - offset_);
    std::memcpy(out, slices_[slice_].data() + offset_, here);
    out += here;
    bytes -= here;
    Advance(here);
  }
  return true;
}

bool SliceReader::ReadVarint(uint64_t* value) {
  uint64_t result = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    uint8_t byte = 0;
    if (!ReadByte(&byte)) return false;
    if (shift == 63 && byte > 1) return false;  // beyond 64 bits
    result |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) {
      *value = result;
      return true;
    }
  }
  return false;
}

bool SliceReader::ReadFixed32(uint32_t* value) { return ReadBytes(value, sizeof(*value)); }

bool SliceReader::ReadFixed64(uint64_t* value) { return ReadBytes(value, sizeof(*value)); }

bool SliceReader::ReadTag(Tag* tag) {
  uint64_t raw = 0;
  if (!ReadVarint(&raw) || raw > UINT32_MAX) return false;
  tag->field = static_cast<uint32_t>(raw >> 3);
  tag->type = static_cast<uint32_t>(raw & 7);
  return tag->field != 0 && (tag->type <= 2 || tag->type == 5);
}

bool SliceReader::ReadLength(uint64_t* bytes) { return ReadVarint(bytes) && *bytes <= left_; }

bool SliceReader::ReadPieces(uint64_t bytes, std::vector<Piece>* pieces) {
  if (bytes > left_) return false;
  while (bytes > 0) {
    const size_t here = std::min<uint64_t>(bytes, slices_[slice_].size() - offset_);
    if (pieces != nullptr) pieces->push_back(slices_[slice_].subspan(offset_, here));
    bytes -= here;
    Advance(here);
  }
  return true;
}

bool SliceReader::SkipValue(uint32_t type) {
  uint64_t value = 0;
  switch (type) {
    case 0:
      return ReadVarint(&value);
    case 1:
      return ReadPieces(8, nullptr);
    case 2:
      return ReadLength(&value) && ReadPieces(value, nullptr);
    case 5:
      return ReadPieces(4, nullptr);
    default:
      return false;
  }
}

}  // namespace kvgate::gateway
