// SPDX-License-Identifier: Apache-2.0
//
// AlignedBuffer: memory for disk I/O outside the pool. The address and the capacity are multiples
// of 4 KiB. Move-only, owns its memory; thread-compatible. Running out of memory aborts, so sizes
// that a stranger chooses must be bounded before.
//
// LargeAllocations() counts the allocations of this process, through this class, of 64 KiB and
// more: a Get on the hot path must make none, and tests hold it to that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace kvgate::storage {

inline constexpr size_t kBufferAlign = 4096;
inline constexpr size_t kLargeAllocationBytes = 64 * 1024;

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // Rounds up to a multiple of 4 KiB. The contents are undefined.
  explicit AlignedBuffer(size_t bytes);
  // The same, all zeros.
  static AlignedBuffer Zeroed(size_t bytes);

  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~AlignedBuffer();

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return bytes_; }  // the rounded size
  std::span<std::byte> span() { return {data_, bytes_}; }
  std::span<const std::byte> span() const { return {data_, bytes_}; }
  std::span<std::byte> first(size_t bytes) { return span().first(bytes); }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

uint64_t LargeAllocations();
// For the few other places that make large allocations on purpose.
void CountLargeAllocation();

}  // namespace kvgate::storage
