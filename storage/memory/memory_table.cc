// SPDX-License-Identifier: Apache-2.0
#include "storage/memory/memory_table.h"

#include <utility>

#include "proto/wire/checksum.h"
#include "storage/base/check.h"

namespace kvgate::storage {

uint32_t MemoryBlock::value_crc() const {
  return wire::ValueCrcFromBlockCrc(block_crc_, prefix_crc_, length_);
}

uint32_t MemoryTable::Place(MemorySlot slot) {
  KVGATE_CHECK(slot.block != nullptr);
  value_bytes_ += slot.block->bytes().size();
  page_bytes_ += slot.block->memory().size();
  written_ += slot.write == WriteState::kWritten;
  uint32_t number = 0;
  if (!free_.empty()) {
    number = free_.back();
    free_.pop_back();
    slots_[number] = std::move(slot);
  } else {
    number = static_cast<uint32_t>(slots_.size());
    slots_.push_back(std::move(slot));
  }
  return number;
}

uint32_t MemoryTable::Add(MemorySlot slot) {
  const uint32_t number = Place(std::move(slot));
  policy_->Add(number);
  return number;
}

uint32_t MemoryTable::AddOnProbation(MemorySlot slot, absl::Time now) {
  const uint32_t number = Place(std::move(slot));
  MemorySlot& placed = slots_[number];
  probation_bytes_ += placed.block->memory().size();
  placed.probation = probation_.insert(probation_.end(), number);
  placed.arrived = now;
  return number;
}

void MemoryTable::EndProbation(MemorySlot* slot) {
  probation_bytes_ -= slot->block->memory().size();
  probation_.erase(*slot->probation);
  slot->probation.reset();
}

void MemoryTable::Promote(uint32_t number) {
  EndProbation(&slots_[number]);
  policy_->Add(number);
}

void MemoryTable::SetWrite(uint32_t number, WriteState state) {
  MemorySlot& slot = slots_[number];
  written_ -= slot.write == WriteState::kWritten;
  slot.write = state;
  written_ += slot.write == WriteState::kWritten;
}

MemorySlot MemoryTable::Remove(uint32_t number) {
  KVGATE_CHECK(number < slots_.size() && slots_[number].block != nullptr);
  if (slots_[number].probation) {
    EndProbation(&slots_[number]);
  } else {
    policy_->Remove(number);
  }
  MemorySlot slot = std::exchange(slots_[number], MemorySlot{});
  value_bytes_ -= slot.block->bytes().size();
  page_bytes_ -= slot.block->memory().size();
  written_ -= slot.write == WriteState::kWritten;
  free_.push_back(number);
  return slot;
}

}  // namespace kvgate::storage
