// SPDX-License-Identifier: Apache-2.0
//
// Which namespaces look for blocks and never find any, while a neighbour of the same tenant has
// some: mostly two engines that were meant to share and whose identities differ. Pure functions;
// thread-safe. No errors: what is not known (an identity that was lost) is not judged.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "proto/wire/identity.h"

namespace kvgate::gateway {

// Fewer keys say nothing: every engine begins with misses.
inline constexpr uint64_t kNoHitsKeysMin = 1000;

// One namespace since the start of the daemon.
struct NamespaceFacts {
  uint32_t ns = 0;
  std::string tenant;
  const wire::Identity* identity = nullptr;  // null: not known
  uint64_t keys_asked = 0, keys_held = 0;    // of Lookups
  uint64_t blocks_stored = 0;

  bool has_blocks() const { return keys_held > 0 || blocks_stored > 0; }
};

struct NoHits {
  uint32_t ns = 0, neighbour = 0;
  uint64_t keys_asked = 0;
  std::string field;        // the first of the identity in which they differ
  std::string here, there;  // its two values
};

// In the order of `all`. Of several neighbours the one that holds most is named.
std::vector<NoHits> FindNoHits(std::span<const NamespaceFacts> all);

}  // namespace kvgate::gateway
