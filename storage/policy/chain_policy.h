// SPDX-License-Identifier: Apache-2.0
//
// ChainPolicy: which resident blocks should go first, judged by the chains they belong to.
//
// It is told what the store sees: a request that names a chain from token 0, blocks that come and
// go, hints. It answers with an order; who may go at all (pins, leases) is the store's, which walks
// the order and skips. Shards of a key are one block here.
// Pure code: time comes in as a parameter; where it runs backwards it stands still.
// Threads: thread-compatible. Ownership: nothing of the caller's is kept. Errors: none; misuse of
// a slot (added twice, unknown) or an empty chain is a CHECK. Limits: memory is a few words a slot
// and a chain.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace kvgate::storage {

inline constexpr uint32_t kNotResident = 0xFFFFFFFF;

struct ChainBlock {
  uint64_t key = 0;              // hash of the block
  uint32_t slot = kNotResident;  // kNotResident: not resident
};

// What a client told of the request; 0 = not told.
struct ChainHints {
  uint32_t output_tokens = 0, turn = 0;
};

class ChainPolicy {
 public:
  virtual ~ChainPolicy() = default;
  // A request names `chain`, head first. Its resident blocks are used; missing ones may follow by
  // Add, in order.
  virtual void Use(std::span<const ChainBlock> chain, const ChainHints& hints, int64_t now_ms) = 0;
  // Whether blocks of the last used chain are worth what First() would lose.
  virtual bool WorthRoom(int64_t now_ms) = 0;
  // A block came in, as part of the last used chain, after its parent.
  virtual void Add(uint32_t slot) = 0;
  virtual void Remove(uint32_t slot) = 0;
  // The block that should go first, and the one after `slot`; kNotResident at the end.
  virtual uint32_t First(int64_t now_ms) = 0;
  virtual uint32_t Next(uint32_t slot) const = 0;
};

// Least recently used chain first, from its tail.
std::unique_ptr<ChainPolicy> NewLruChainPolicy();
// Least worth first: returns expected per time waited (hazard_model.h).
std::unique_ptr<ChainPolicy> NewHazardChainPolicy();

}  // namespace kvgate::storage
