// SPDX-License-Identifier: Apache-2.0
//
// SliceCursor: reads a message that lies in several slices from its front, without joining them.
// Every read says whether there was enough; after a failed one the cursor must not be used.
// Threads: thread-compatible. The slices must outlive it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace kvgate::client {

class SliceCursor {
 public:
  explicit SliceCursor(std::span<const std::span<const uint8_t>> slices) : slices_(slices) {
    for (const auto& slice : slices) left_ += slice.size();
  }

  uint64_t left() const { return left_; }

  // The next bytes in one piece, at most `bytes` of them and at least 1; null at the end.
  const uint8_t* Next(size_t bytes, size_t* given) {
    while (slice_ < slices_.size() && at_ == slices_[slice_].size()) {
      ++slice_;
      at_ = 0;
    }
    if (slice_ == slices_.size() || bytes == 0) return nullptr;
    *given = std::min(bytes, slices_[slice_].size() - at_);
    const uint8_t* data = slices_[slice_].data() + at_;
    at_ += *given;
    left_ -= *given;
    return data;
  }

  bool Skip(uint64_t bytes) {
    return Each(bytes, [](const uint8_t*, size_t) {});
  }

  bool Read(uint64_t bytes, std::string* out) {
    return Each(bytes, [out](const uint8_t* data, size_t given) {
      out->append(reinterpret_cast<const char*>(data), given);
    });
  }

  bool ReadVarint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      size_t given = 0;
      const uint8_t* byte = Next(1, &given);
      if (byte == nullptr) return false;
      *value |= static_cast<uint64_t>(*byte & 0x7f) << shift;
      if ((*byte & 0x80) == 0) return true;
    }
    return false;
  }

 private:
  template <typename Visit>
  bool Each(uint64_t bytes, Visit visit) {
    if (bytes > left_) return false;
    while (bytes > 0) {
      size_t given = 0;
      const uint8_t* data = Next(bytes, &given);
      if (data == nullptr) return false;
      visit(data, given);
      bytes -= given;
    }
    return true;
  }

  const std::span<const std::span<const uint8_t>> slices_;
  size_t slice_ = 0;
  size_t at_ = 0;
  uint64_t left_ = 0;
};

}  // namespace kvgate::client
