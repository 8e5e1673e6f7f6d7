// SPDX-License-Identifier: Apache-2.0
//
// SlotSlab: what the index keeps of a block, 56 bytes each, in chunks that never move.
//
// A slot's number is its name (parents are named so) and stays while it is in use. Free slots are a
// list through the slab itself. Memory grows by one chunk of 2 MiB at a time, where the kernel has
// them as one huge page (a random look-up is a third faster), and is not given back.
// Threads: thread-compatible (the index's lock). Errors: none; misuse is a CHECK.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "storage/base/check.h"

namespace kvgate::storage {

inline constexpr uint32_t kNoSlot = 0xFFFFFFFF;

struct IndexSlot {
  static constexpr uint16_t kChildrenMax = 0xFFFF;  // sticks there
  static constexpr uint32_t kFlagBits = 6, kFlagMask = (1u << kFlagBits) - 1;
  static constexpr uint32_t kLengthMax = 1u << (32 - kFlagBits);  // 64 MiB
  enum Flag : uint32_t {
    kUsed = 1,
    kGhost = 2,  // not held; stands for the parent that its children name
    kHit = 4,
  };

  uint64_t hash_lo, hash_hi;
  uint64_t version : 48;
  uint64_t place_page : 16;
  uint32_t place_segment;
  uint32_t length_and_flags;  // length - 1, then flags
  uint32_t crc;
  uint32_t expiry_s;
  uint32_t parent;  // slot number
  uint32_t memory_slot;
  uint16_t ns;  // in the index's table of namespaces
  uint8_t group, shard;
  uint16_t children;
  uint8_t depth;   // EncodeDepth
  uint8_t policy;  // free for the eviction policy of the log

  bool Has(Flag flag) const { return (length_and_flags & flag) != 0; }
  void Raise(Flag flag) { length_and_flags |= flag; }
  void Lower(Flag flag) { length_and_flags &= ~static_cast<uint32_t>(flag); }
  uint32_t length() const { return (length_and_flags >> kFlagBits) + 1; }
  void set_length(uint32_t length) {
    KVGATE_CHECK(length >= 1 && length <= kLengthMax);
    length_and_flags = ((length - 1) << kFlagBits) | (length_and_flags & kFlagMask);
  }
};
static_assert(sizeof(IndexSlot) == 56);

// Exact below 128, then in steps of 512, at most 65,152.
constexpr uint8_t EncodeDepth(uint32_t depth) {
  if (depth < 128) return static_cast<uint8_t>(depth);
  const uint32_t code = 128 + (depth - 128) / 512;
  return static_cast<uint8_t>(code < 255 ? code : 255);
}
constexpr uint32_t DecodeDepth(uint8_t code) {
  return code < 128 ? code : 128 + (uint32_t{code} - 128) * 512;
}

class SlotSlab {
 public:
  // A cleared slot, marked as used.
  uint32_t Take() {
    uint32_t number = free_;
    if (number != kNoSlot) {
      free_ = At(number).parent;
    } else {
      if (end_ % kChunkSlots == 0) AddChunk();
      number = end_++;
    }
    ++used_;
    At(number) = IndexSlot{};
    At(number).Raise(IndexSlot::kUsed);
    return number;
  }

  void Free(uint32_t number) {
    KVGATE_CHECK(At(number).Has(IndexSlot::kUsed));
    At(number) = IndexSlot{};
    At(number).parent = free_;
    free_ = number;
    --used_;
  }

  IndexSlot& At(uint32_t number) { return chunks_[number / kChunkSlots][number % kChunkSlots]; }
  const IndexSlot& At(uint32_t number) const {
    return chunks_[number / kChunkSlots][number % kChunkSlots];
  }

  uint32_t end() const { return end_; }  // all numbers below were in use at some time
  uint64_t used() const { return used_; }
  uint64_t bytes() const { return chunks_.size() * kChunkBytes; }

 private:
  static constexpr size_t kChunkBytes = 2 << 20;
  static constexpr size_t kChunkSlots = kChunkBytes / sizeof(IndexSlot);
  struct FreeChunk {
    void operator()(IndexSlot* chunk) const { std::free(chunk); }
  };

  void AddChunk() {
    void* chunk = std::aligned_alloc(kChunkBytes, kChunkBytes);
    KVGATE_CHECK(chunk != nullptr);
    madvise(chunk, kChunkBytes, MADV_HUGEPAGE);  // a wish: nothing hangs on it
    chunks_.emplace_back(static_cast<IndexSlot*>(chunk));
  }

  std::vector<std::unique_ptr<IndexSlot[], FreeChunk>> chunks_;
  uint32_t end_ = 0;
  uint32_t free_ = kNoSlot;
  uint64_t used_ = 0;
};

}  // namespace kvgate::storage
