// SPDX-License-Identifier: Apache-2.0
//
// EvictionPolicy: in which order memory-resident blocks are to go. It knows slot numbers of the
// side table and nothing else; who may go at all (pins, leases, unwritten blocks) is the store's.
//
// The order is chain-aware by how it is used: the store touches a chain from its tail to its head,
// so the head is the youngest and leaves go before their root.
// Threads: thread-compatible (the store's lock). Errors: none; misuse is a CHECK.
#pragma once

#include <cstdint>
#include <memory>

namespace kvgate::storage {

class EvictionPolicy {
 public:
  static constexpr uint32_t kNone = 0xFFFFFFFF;

  virtual ~EvictionPolicy() = default;
  virtual void Add(uint32_t slot) = 0;  // as just touched
  virtual void Touch(uint32_t slot) = 0;
  virtual void Remove(uint32_t slot) = 0;
  // The slot that should go first, and the one after `slot`; kNone at the end.
  virtual uint32_t First() const = 0;
  virtual uint32_t Next(uint32_t slot) const = 0;
};

// Least recently touched first.
std::unique_ptr<EvictionPolicy> NewLruPolicy();

}  // namespace kvgate::storage
