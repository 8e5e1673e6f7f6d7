// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>

#include "storage/store_lookup.h"

namespace kvgate::storage {
namespace {

// held_until[n]: how many keys in a row are held that end with key n - 1.
std::vector<uint32_t> RunsEndingAt(const QueryPlan& query) {
  std::vector<uint32_t> runs(query.keys.size() + 1, 0);
  for (size_t n = 1; n < runs.size(); ++n) runs[n] = query.Held(n - 1) ? runs[n - 1] + 1 : 0;
  return runs;
}

void AddRuns(const QueryPlan& query, GroupHeld* held) {
  for (uint32_t i = held->first; i < held->first + held->held; ++i) {
    const KeyFound found = i < query.found.size() ? query.found[i] : KeyFound{};
    if (held->runs.empty() || held->runs.back().tier != found.tier ||
        held->runs.back().value_bytes != found.value_bytes) {
      held->runs.push_back({0, found.tier, found.value_bytes});
    }
    ++held->runs.back().count;
  }
}

}  // namespace

uint32_t QueryPlan::LeadingHeld() const {
  uint32_t held = 0;
  while (held < keys.size() && Held(held)) ++held;
  return held;
}

QueryPlan::Range QueryPlan::Needed(uint32_t blocks) const {
  if (match == Match::kMembership) return {};
  const uint32_t start = match == Match::kWindow ? blocks - std::min(blocks, window_blocks) : 0;
  Range range{std::max(start, first_wanted), blocks};
  if (range.first > range.end) range.first = range.end;
  return range;
}

uint32_t BoundaryTokens(const std::vector<QueryPlan>& queries) {
  uint64_t step = 1, most = UINT32_MAX;
  bool binds = false;
  std::vector<std::vector<uint32_t>> runs(queries.size());
  for (size_t q = 0; q < queries.size(); ++q) {
    const QueryPlan& query = queries[q];
    if (query.match == Match::kMembership) continue;
    binds = true;
    step = std::lcm(step, uint64_t{query.block_tokens});
    if (step > UINT32_MAX) return 0;
    const bool prefix = query.match == Match::kPrefix;
    const uint64_t blocks = prefix ? query.LeadingHeld() : query.keys.size();
    most = std::min(most, blocks * query.block_tokens);
    if (!prefix) runs[q] = RunsEndingAt(query);
  }
  if (!binds) return 0;
  for (uint64_t boundary = most / step * step; boundary > 0; boundary -= step) {
    bool satisfied = true;
    for (size_t q = 0; q < queries.size() && satisfied; ++q) {
      if (queries[q].match != Match::kWindow) continue;
      const uint64_t blocks = boundary / queries[q].block_tokens;
      satisfied = runs[q][blocks] >= std::min<uint64_t>(blocks, queries[q].window_blocks);
    }
    if (satisfied) return static_cast<uint32_t>(boundary);
  }
  return 0;
}

GroupHeld HeldOf(const QueryPlan& query, uint32_t boundary_tokens) {
  GroupHeld held;
  held.group = query.group;
  switch (query.match) {
    case Match::kPrefix:
      held.held = query.LeadingHeld();
      AddRuns(query, &held);
      break;
    case Match::kWindow: {
      const uint32_t blocks = boundary_tokens / query.block_tokens;
      held.held = std::min(blocks, query.window_blocks);
      held.first = blocks - held.held;
      AddRuns(query, &held);
      break;
    }
    case Match::kMembership:
      held.bitmap.assign((query.keys.size() + 7) / 8, '\0');
      for (size_t i = 0; i < query.keys.size(); ++i) {
        if (!query.Held(i)) continue;
        ++held.held;
        held.bitmap[i / 8] = static_cast<char>(held.bitmap[i / 8] | (1 << (i % 8)));
      }
      break;
  }
  return held;
}

}  // namespace kvgate::storage
