// SPDX-License-Identifier: Apache-2.0
//
// Simulations of a cache of equal blocks over a trace; a hit is a block of the contiguous prefix.
// Threads: pure functions. Errors: a trace that is not whole gives no requests.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "storage/policy/chain_policy.h"

namespace kvgate::sim {

struct Request {
  int64_t at_ms = 0;
  uint32_t output_tokens = 0, turn = 0;  // turn counts from 1
  std::vector<uint32_t> blocks;          // dense numbers: equal number, equal prefix
};
struct Trace {
  std::vector<Request> requests;
  uint32_t unique_blocks = 0;
  uint64_t references = 0;
};
// Lines of JSON: timestamp (ms), output_length, hash_ids.
Trace ReadTrace(const std::string& file);

struct Result {
  uint64_t hits = 0, second_half_hits = 0, writes = 0;
};
enum class Hints { kNone, kAll };

Result BlockLru(const Trace& trace, uint32_t capacity, bool tail_first);
Result S3Fifo(const Trace& trace, uint32_t capacity);
Result MinWithBypass(const Trace& trace, uint32_t capacity);
Result ByChains(const Trace& trace, uint32_t capacity, Hints hints,
                std::unique_ptr<storage::ChainPolicy> policy);

}  // namespace kvgate::sim
