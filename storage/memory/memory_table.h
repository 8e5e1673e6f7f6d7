// SPDX-License-Identifier: Apache-2.0
//
// MemoryTable: the side table of memory-resident blocks, by slot number, with their eviction order.
//
// A MemoryBlock is the immutable block itself: pool bytes, length, checksums. The table holds one
// reference and each BlockRef another; its bytes go back to the pool with the last one.
// MemorySlot adds what only resident blocks have: full key, time and producer of the write, and
// whether the block still waits for its place in the log.
// A block is in the order of the EvictionPolicy or on probation, in the order of arrival: read from
// disk once, and kept for whoever reads the same a moment later, not for its own sake.
// Threads: MemoryBlock immutable; MemoryTable thread-compatible (the store's lock).
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "storage/index/block_id.h"
#include "storage/memory/eviction_policy.h"
#include "storage/memory/pool.h"
#include "storage/store.h"

namespace kvgate::storage {

class MemoryBlock final : public BlockRef::Holder {
 public:
  // `block_crc` covers what `prefix_crc` covers, then the value (proto/wire/checksum.h).
  MemoryBlock(PoolBuffer buffer, uint32_t length, uint32_t block_crc, uint32_t prefix_crc)
      : buffer_(std::move(buffer)),
        length_(length),
        block_crc_(block_crc),
        prefix_crc_(prefix_crc) {}

  std::span<const std::byte> bytes() const override { return buffer_.memory().first(length_); }
  PoolPlace place() const override { return buffer_.place(); }
  uint32_t value_crc() const override;

  uint32_t block_crc() const { return block_crc_; }
  uint32_t prefix_crc() const { return prefix_crc_; }
  // Whole pages, zero beyond the value: what the log writes.
  std::span<const std::byte> memory() const { return buffer_.memory(); }

 private:
  const PoolBuffer buffer_;
  const uint32_t length_, block_crc_, prefix_crc_;
};

// Where a resident block stands on its way into the log.
enum class WriteState : uint8_t {
  kNone = 0,     // no log, or asked to be VOLATILE, or too large, or refused by the log
  kWaiting = 1,  // the write queue was full; tried again when it drains, may be evicted before
  kQueued = 2,   // given to the log; stays in memory until that ended
  kWritten = 3,
};

struct MemorySlot {
  BlockId id;
  uint64_t version = 0;
  std::shared_ptr<const MemoryBlock> block;  // null: free slot
  std::string key;                           // empty when it was loaded by handle
  uint32_t written_s = 0;
  uint32_t used_s = 0;  // cache seconds of the last use
  uint64_t producer = 0;
  bool supersedes = false;
  WriteState write = WriteState::kNone;
  // Its place in the list of those on probation, and since when; the table's own.
  std::optional<std::list<uint32_t>::iterator> probation;
  absl::Time arrived;
};

class MemoryTable {
 public:
  explicit MemoryTable(std::unique_ptr<EvictionPolicy> policy) : policy_(std::move(policy)) {}

  uint32_t Add(MemorySlot slot);
  uint32_t AddOnProbation(MemorySlot slot, absl::Time now);
  // Ends the probation, as just touched.
  void Promote(uint32_t number);
  // The block as it was; its bytes live on as long as somebody holds them.
  MemorySlot Remove(uint32_t number);
  void Touch(uint32_t number, uint32_t now_s) {
    slots_[number].used_s = now_s;
    if (!slots_[number].probation) policy_->Touch(number);
  }

  void SetWrite(uint32_t number, WriteState state);

  // `write` is changed by SetWrite alone.
  MemorySlot& at(uint32_t number) { return slots_[number]; }
  const MemorySlot& at(uint32_t number) const { return slots_[number]; }
  const EvictionPolicy& policy() const { return *policy_; }
  const std::list<uint32_t>& probation() const { return probation_; }  // oldest first
  uint64_t probation_bytes() const { return probation_bytes_; }        // whole pages

  uint64_t blocks() const { return slots_.size() - free_.size(); }
  uint64_t written() const { return written_; }  // blocks in WriteState::kWritten
  uint64_t value_bytes() const { return value_bytes_; }
  uint64_t page_bytes() const { return page_bytes_; }

 private:
  uint32_t Place(MemorySlot slot);
  void EndProbation(MemorySlot* slot);

  const std::unique_ptr<EvictionPolicy> policy_;
  // Deques, so that growth never allocates a large piece on the path of a Get.
  std::deque<MemorySlot> slots_;
  std::deque<uint32_t> free_;
  std::list<uint32_t> probation_;
  uint64_t written_ = 0, value_bytes_ = 0, page_bytes_ = 0, probation_bytes_ = 0;
};

}  // namespace kvgate::storage
