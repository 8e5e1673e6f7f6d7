// SPDX-License-Identifier: Apache-2.0
#include "storage/base/aligned_buffer.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "storage/base/check.h"

namespace kvgate::storage {
namespace {

std::atomic<uint64_t> large_allocations{0};

}  // namespace

AlignedBuffer::AlignedBuffer(size_t bytes)
    : bytes_((bytes + kBufferAlign - 1) / kBufferAlign * kBufferAlign) {
  if (bytes_ == 0) return;
  data_ = static_cast<std::byte*>(std::aligned_alloc(kBufferAlign, bytes_));
  KVGATE_CHECK(data_ != nullptr) << "out of memory for a buffer of " << bytes_ << " bytes";
  if (bytes_ >= kLargeAllocationBytes) CountLargeAllocation();
}

AlignedBuffer AlignedBuffer::Zeroed(size_t bytes) {
  AlignedBuffer buffer(bytes);
  if (buffer.size() > 0) std::memset(buffer.data(), 0, buffer.size());
  return buffer;
}

AlignedBuffer::~AlignedBuffer() { std::free(data_); }

uint64_t LargeAllocations() { return large_allocations.load(std::memory_order_relaxed); }
void CountLargeAllocation() { large_allocations.fetch_add(1, std::memory_order_relaxed); }

}  // namespace kvgate::storage
