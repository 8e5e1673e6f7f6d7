// SPDX-License-Identifier: Apache-2.0
#include "gateway/policy/no_hits.h"

namespace kvgate::gateway {
namespace {

const NamespaceFacts* NeighbourOf(const NamespaceFacts& one, std::span<const NamespaceFacts> all) {
  const NamespaceFacts* best = nullptr;
  for (const NamespaceFacts& other : all) {
    if (other.ns == one.ns || other.tenant != one.tenant) continue;
    if (other.identity == nullptr || !other.has_blocks()) continue;
    const uint64_t holds = other.keys_held + other.blocks_stored;
    if (best == nullptr || holds > best->keys_held + best->blocks_stored) best = &other;
  }
  return best;
}

}  // namespace

std::vector<NoHits> FindNoHits(std::span<const NamespaceFacts> all) {
  std::vector<NoHits> found;
  for (const NamespaceFacts& one : all) {
    if (one.identity == nullptr || one.keys_held > 0 || one.keys_asked < kNoHitsKeysMin) continue;
    const NamespaceFacts* neighbour = NeighbourOf(one, all);
    if (neighbour == nullptr) continue;
    NoHits no_hits{one.ns, neighbour->ns, one.keys_asked, "", "", ""};
    no_hits.field =
        wire::FirstDifference(*one.identity, *neighbour->identity, &no_hits.here, &no_hits.there);
    found.push_back(std::move(no_hits));
  }
  return found;
}

}  // namespace kvgate::gateway
