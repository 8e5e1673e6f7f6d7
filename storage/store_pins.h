// SPDX-License-Identifier: Apache-2.0
//
// PinTable: pin tokens (engine words: a pin is a hold of the daemon, named by a token).
//
// Promises
//  1. A token is a random non-zero 64-bit number, bound to one namespace, with a time limit.
//  2. Every block that a live token covers is pinned; a block stays pinned while any token covers
//  it.
//  3. What a token was granted in memory stays there, within the byte cap of memory. A pinned block
//     that came into memory later stays while the cap has room, and may leave above it.
//  4. A full table replaces a random token of that tenant, never a staged one; with nothing to
//     replace, or above the byte caps, no token is given.
// Threads: thread-compatible (the store's lock). Limits: tokens a tenant, bytes in memory and on
// disk.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/random/random.h"
#include "absl/time/time.h"
#include "storage/index/block_id.h"
#include "storage/store.h"

namespace kvgate::storage {

struct PinnedKey {
  wire::Hash128 hash;
  uint32_t crc_of_key = 0;  // wire::BlockCrcOfKey: proves the key without keeping it
};

// Keys first … first + keys.size() - 1 of one query's list.
struct PinnedGroup {
  uint32_t group = 0;
  uint32_t first = 0;
  std::vector<PinnedKey> keys;
};

struct PinnedBlock {
  BlockId id;
  uint64_t bytes = 0;  // whole pages
  bool in_memory = false;
};

struct PinGrant {
  NamespaceId ns = 0;
  std::string tenant;
  absl::Time expires;
  bool staged = false;
  std::vector<PinnedGroup> groups;
  std::vector<PinnedBlock> blocks;
};

struct PinLimits {
  uint32_t tokens_max = 0;  // a tenant
  uint64_t memory_bytes_max = 0, disk_bytes_max = 0;
};

class PinTable {
 public:
  explicit PinTable(const PinLimits& limits) : limits_(limits) {}

  // The token, or 0.
  uint64_t Add(PinGrant grant, absl::Time now);
  // The token's groups; null when it is unknown, ended or of another namespace.
  const std::vector<PinnedGroup>* Find(NamespaceId ns, uint64_t token, absl::Time now);
  bool Renew(NamespaceId ns, uint64_t token, absl::Time expires, absl::Time now);
  bool Remove(NamespaceId ns, uint64_t token, absl::Time now);
  // Ends what is over. The calls above do it themselves.
  void Expire(absl::Time now);

  bool IsPinned(const BlockId& id) const {
    return !blocks_.empty() && blocks_.find(id) != blocks_.end();
  }
  // Whether pins forbid that a resident block leaves memory now.
  bool Keeps(const BlockId& id) const;
  // A pinned block came into memory, or left it.
  void Moved(const BlockId& id, bool in_memory);

  uint64_t tokens() const { return tokens_.size(); }
  uint64_t memory_bytes() const { return memory_bytes_; }
  uint64_t disk_bytes() const { return disk_bytes_; }
  uint64_t replaced() const { return replaced_; }

 private:
  struct Block {
    uint32_t tokens = 0;
    uint64_t bytes = 0;
    bool in_memory = false;
    bool granted = false;  // in memory since a token was given for it there
  };
  struct Tenant {
    std::vector<uint64_t> replaceable;  // tokens, unordered; some may have ended
    uint32_t tokens = 0;
  };

  bool MakeRoom(const std::string& tenant);
  void End(uint64_t token);
  void AddBytes(const Block& block, bool add);
  bool HasRoom(const PinGrant& grant) const;

  const PinLimits limits_;
  absl::BitGen random_;
  absl::flat_hash_map<uint64_t, PinGrant> tokens_;
  absl::flat_hash_map<BlockId, Block> blocks_;
  absl::flat_hash_map<std::string, Tenant> tenants_;
  std::set<std::pair<absl::Time, uint64_t>> expiries_;
  uint64_t memory_bytes_ = 0, disk_bytes_ = 0, replaced_ = 0;
  uint64_t granted_bytes_ = 0;  // of memory_bytes_
};

}  // namespace kvgate::storage
