// SPDX-License-Identifier: Apache-2.0
#include "client/core/staging.h"

#include <cstdlib>
#include <utility>

namespace kvgate::client {
namespace {

std::byte* AllocOrdinary(size_t bytes) {
  const size_t rounded =
      (bytes + Staging::kAlignment - 1) / Staging::kAlignment * Staging::kAlignment;
  return static_cast<std::byte*>(std::aligned_alloc(Staging::kAlignment, rounded));
}

}  // namespace

Staging::~Staging() {
  MutexLock lock(mutex_);
  for (const auto& [memory, block] : blocks_) Release(memory, block);
}

bool Staging::Reserve(size_t bytes) {
  MutexLock lock(mutex_);
  if (bytes > bytes_max_ - bytes_in_use_) return false;
  bytes_in_use_ += bytes;
  return true;
}

std::byte* Staging::Alloc(size_t bytes, const std::shared_ptr<Transport>& transport) {
  if (bytes == 0 || !Reserve(bytes)) return nullptr;
  Block block{bytes, transport};
  std::byte* memory = transport ? transport->AllocStaging(bytes) : nullptr;
  if (memory == nullptr) {
    block.owner = nullptr;
    memory = AllocOrdinary(bytes);
  }
  MutexLock lock(mutex_);
  if (memory == nullptr) {
    bytes_in_use_ -= bytes;
  } else {
    blocks_.emplace(memory, std::move(block));
  }
  return memory;
}

void Staging::Free(std::byte* memory) {
  if (memory == nullptr) return;
  Block block;
  {
    MutexLock lock(mutex_);
    const auto found = blocks_.find(memory);
    if (found == blocks_.end()) return;
    block = std::move(found->second);
    blocks_.erase(found);
    bytes_in_use_ -= block.bytes;
  }
  Release(memory, block);
}

void Staging::Release(std::byte* memory, const Block& block) {
  if (block.owner) {
    block.owner->FreeStaging(memory);
  } else {
    std::free(memory);
  }
}

uint64_t Staging::bytes_in_use() const {
  MutexLock lock(mutex_);
  return bytes_in_use_;
}

}  // namespace kvgate::client
