// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/simulate.h"

#include <algorithm>
#include <deque>
#include <fstream>
#include <list>
#include <set>
#include <utility>

#include "nlohmann/json.hpp"

namespace kvgate::sim {
namespace {

constexpr uint32_t kNone = 0xFFFFFFFF;

void CountHits(const Trace& trace, size_t request, uint64_t hits, Result* result) {
  result->hits += hits;
  if (request >= trace.requests.size() / 2) result->second_half_hits += hits;
}

// As a client would count its turns: one more than the request it goes on with.
void CountTurns(Trace* trace) {
  std::vector<uint32_t> turn_of(trace->unique_blocks, 0);
  for (Request& request : trace->requests) {
    uint32_t turn = 0;
    for (size_t i = request.blocks.size(); i-- > 1;) {
      if (turn_of[request.blocks[i]] != 0) {
        turn = turn_of[request.blocks[i]];
        break;
      }
    }
    request.turn = turn + 1;
    for (const uint32_t block : request.blocks) turn_of[block] = request.turn;
  }
}

}  // namespace

Trace ReadTrace(const std::string& file) {
  Trace trace;
  std::ifstream in(file);
  std::string line;
  while (std::getline(in, line)) {
    const nlohmann::json record = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (record.is_discarded()) return {};
    Request request;
    request.at_ms = record.at("timestamp");
    request.output_tokens = record.at("output_length");
    request.blocks = record.at("hash_ids").get<std::vector<uint32_t>>();
    for (const uint32_t block : request.blocks) {
      trace.unique_blocks = std::max(trace.unique_blocks, block + 1);
    }
    trace.references += request.blocks.size();
    trace.requests.push_back(std::move(request));
  }
  CountTurns(&trace);
  return trace;
}

Result BlockLru(const Trace& trace, uint32_t capacity, bool tail_first) {
  Result result;
  std::list<uint32_t> order;
  std::vector<std::list<uint32_t>::iterator> where(trace.unique_blocks, order.end());
  uint32_t held = 0;
  const auto use = [&](uint32_t block) {
    if (where[block] != order.end()) {
      order.splice(order.end(), order, where[block]);
      return;
    }
    ++result.writes;
    if (held == capacity) {
      where[order.front()] = order.end();
      order.pop_front();
    } else {
      ++held;
    }
    where[block] = order.insert(order.end(), block);
  };
  for (size_t r = 0; r < trace.requests.size(); ++r) {
    const std::vector<uint32_t>& blocks = trace.requests[r].blocks;
    size_t hits = 0;
    while (hits < blocks.size() && where[blocks[hits]] != order.end()) ++hits;
    CountHits(trace, r, hits, &result);
    if (tail_first) {
      for (size_t i = blocks.size(); i-- > 0;) use(blocks[i]);
    } else {
      for (const uint32_t block : blocks) use(block);
    }
  }
  return result;
}

Result S3Fifo(const Trace& trace, uint32_t capacity) {
  Result result;
  const uint32_t small_max = std::max(1u, capacity / 10);
  const uint32_t ghost_max = capacity - small_max;
  enum : uint8_t { kOut, kSmall, kMain };
  std::vector<uint8_t> place(trace.unique_blocks, kOut), hit(trace.unique_blocks, 0);
  std::vector<uint64_t> ghost_at(trace.unique_blocks, 0);  // 0: not a ghost
  std::deque<uint32_t> small, main;
  uint64_t ghosts = 0;
  const auto evict = [&] {
    for (;;) {
      if (small.size() > small_max || main.empty()) {
        const uint32_t block = small.front();
        small.pop_front();
        if (hit[block] != 0) {
          hit[block] = 0;
          place[block] = kMain;
          main.push_back(block);
          continue;
        }
        place[block] = kOut;
        ghost_at[block] = ++ghosts;
        return;
      }
      const uint32_t block = main.front();
      main.pop_front();
      if (hit[block] != 0) {
        hit[block] = 0;
        main.push_back(block);
        continue;
      }
      place[block] = kOut;
      return;
    }
  };
  for (size_t r = 0; r < trace.requests.size(); ++r) {
    const std::vector<uint32_t>& blocks = trace.requests[r].blocks;
    size_t hits = 0;
    while (hits < blocks.size() && place[blocks[hits]] != kOut) ++hits;
    CountHits(trace, r, hits, &result);
    for (const uint32_t block : blocks) {
      if (place[block] != kOut) {
        hit[block] = 1;
        continue;
      }
      ++result.writes;
      if (small.size() + main.size() >= capacity) evict();
      const bool ghost = ghost_at[block] != 0 && ghosts - ghost_at[block] < ghost_max;
      ghost_at[block] = 0;
      hit[block] = 0;
      place[block] = ghost ? kMain : kSmall;
      (ghost ? main : small).push_back(block);
    }
  }
  return result;
}

Result MinWithBypass(const Trace& trace, uint32_t capacity) {
  Result result;
  std::vector<std::vector<uint64_t>> next(trace.requests.size());
  std::vector<uint64_t> last(trace.unique_blocks, UINT64_MAX);
  for (size_t r = trace.requests.size(); r-- > 0;) {
    const std::vector<uint32_t>& blocks = trace.requests[r].blocks;
    next[r].resize(blocks.size());
    for (size_t i = blocks.size(); i-- > 0;) {
      next[r][i] = last[blocks[i]];
      last[blocks[i]] = (uint64_t{r} << 24) + i;
    }
  }
  std::set<std::pair<uint64_t, uint32_t>> held;       // by next use
  std::vector<uint64_t> due(trace.unique_blocks, 0);  // 0: not held
  for (size_t r = 0; r < trace.requests.size(); ++r) {
    const std::vector<uint32_t>& blocks = trace.requests[r].blocks;
    size_t hits = 0;
    while (hits < blocks.size() && due[blocks[hits]] != 0) ++hits;
    CountHits(trace, r, hits, &result);
    for (size_t i = 0; i < blocks.size(); ++i) {
      const uint32_t block = blocks[i];
      const bool was = due[block] != 0;
      if (was) held.erase({due[block], block});
      due[block] = 0;
      if (next[r][i] == UINT64_MAX) continue;
      if (held.size() == capacity) {
        const auto farthest = std::prev(held.end());
        if (farthest->first <= next[r][i]) continue;
        due[farthest->second] = 0;
        held.erase(farthest);
      }
      if (!was) ++result.writes;
      due[block] = next[r][i];
      held.insert({due[block], block});
    }
  }
  return result;
}

Result ByChains(const Trace& trace, uint32_t capacity, Hints hints,
                std::unique_ptr<storage::ChainPolicy> policy) {
  Result result;
  std::vector<uint32_t> slot_of(trace.unique_blocks, kNone), block_of(capacity, kNone), free;
  for (uint32_t slot = capacity; slot-- > 0;) free.push_back(slot);
  std::vector<storage::ChainBlock> chain;
  for (size_t r = 0; r < trace.requests.size(); ++r) {
    const Request& request = trace.requests[r];
    chain.clear();
    size_t hits = 0;
    for (const uint32_t block : request.blocks) {
      if (hits == chain.size() && slot_of[block] != kNone) ++hits;
      chain.push_back({block * 0x9E3779B97F4A7C15u + 1, slot_of[block]});
    }
    CountHits(trace, r, hits, &result);
    storage::ChainHints told;
    if (hints == Hints::kAll) told = {std::max(1u, request.output_tokens), request.turn};
    policy->Use(chain, told, request.at_ms);
    for (size_t i = hits; i < request.blocks.size(); ++i) {
      if (slot_of[request.blocks[i]] != kNone) continue;
      if (free.empty()) {
        if (i > 0 && !policy->WorthRoom(request.at_ms)) break;
        const uint32_t victim = policy->First(request.at_ms);
        if (victim == kNone) break;
        policy->Remove(victim);
        slot_of[block_of[victim]] = kNone;
        free.push_back(victim);
      }
      const uint32_t slot = free.back();
      free.pop_back();
      slot_of[request.blocks[i]] = slot;
      block_of[slot] = request.blocks[i];
      policy->Add(slot);
      ++result.writes;
    }
  }
  return result;
}

}  // namespace kvgate::sim
