// SPDX-License-Identifier: Apache-2.0
#include "client/grpc/shared_blocks.h"

#include <cstdlib>

namespace kvgate::client {
namespace {
constexpr size_t kAlignment = 64;
}

std::byte* SharedBlocks::Alloc(size_t bytes) {
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  Memory memory(static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded)), std::free);
  std::byte* address = memory.get();
  if (address == nullptr) return nullptr;
  std::lock_guard<std::mutex> lock(mutex_);
  blocks_[address] = Block{std::move(memory), bytes};
  return address;
}

void SharedBlocks::Free(std::byte* memory) {
  std::lock_guard<std::mutex> lock(mutex_);
  blocks_.erase(memory);
}

SharedBlocks::Memory SharedBlocks::Find(const std::byte* data, size_t bytes) const {
  std::lock_guard<std::mutex> lock(mutex_);
  auto next = blocks_.upper_bound(data);
  if (next == blocks_.begin()) return nullptr;
  const auto& [start, block] = *--next;
  const size_t offset = static_cast<size_t>(data - start);
  if (offset > block.bytes || bytes > block.bytes - offset) return nullptr;
  return block.memory;
}

}  // namespace kvgate::client
