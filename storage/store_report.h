// SPDX-License-Identifier: Apache-2.0
//
// What a Store tells people about itself beyond counters: why a block is not there, what recent
// requests took, how each namespace is used. Plain data: thread-compatible. Times are the clock's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace kvgate::storage {

using NamespaceId = uint32_t;  // on disk, never reused; 0 = none

// Why a block that was asked for is not there. The numbers are on the wire.
enum class Departure : uint8_t {
  kEvicted = 1,    // gave way in memory and had no place on disk
  kReclaimed = 2,  // its segment of the log was reused
  kExpired = 3,    // its time to live ended
  kDeleted = 4,
  kCorrupt = 5,  // its bytes on disk did not match their checksum
  kRefused = 6,  // a Set was not stored: no space, too large for the disk, not admitted
  kLate = 7,     // it is held, but a Get's answer_by came before its bytes
};

// What is known of one key in one namespace.
struct Explanation {
  struct Held {
    uint8_t group = 0, shard = 0;
    bool in_memory = false, on_disk = false;
    uint64_t value_bytes = 0;
    uint32_t depth = 0;
    uint32_t expires_in_s = 0;  // 0: never
  };
  struct Event {
    Departure departure = Departure::kEvicted;
    absl::Time at;
    uint8_t group = 0, shard = 0;
  };
  // Another namespace of the same tenant that holds this key.
  struct Elsewhere {
    NamespaceId ns = 0;
    std::string alias;
    std::string field;        // the first field of the identity that differs
    std::string here, there;  // its two values
  };
  std::vector<Held> held;
  std::vector<Event> events;                           // newest first, at most kEventsMax
  absl::Time remembered_since = absl::InfinitePast();  // older events are forgotten
  std::vector<Elsewhere> elsewhere;                    // at most kElsewhereMax
  static constexpr size_t kEventsMax = 16, kElsewhereMax = 8;
};

// One request, as its Touch told: what of its chain is held.
struct RequestUse {
  NamespaceId ns = 0;
  absl::Time at;
  uint8_t group = 0;
  uint32_t blocks = 0;                                      // keys of the chain that are held
  uint64_t tokens = 0;                                      // in those blocks
  uint64_t bytes = 0;                                       // of those blocks, all shards
  uint32_t prompt_tokens = 0, output_tokens = 0, turn = 0;  // hints; 0 when not told
};

// Since start.
struct NamespaceUse {
  NamespaceId ns = 0;
  uint64_t lookups = 0, keys_asked = 0, keys_held = 0;  // of Lookup
  uint64_t blocks_stored = 0;
  uint64_t hit_tokens_memory = 0, hit_tokens_disk = 0;  // group 0, shard 0 of Get
};

}  // namespace kvgate::storage
