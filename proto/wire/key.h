// SPDX-License-Identifier: Apache-2.0
//
// Keys of blocks: limits, the 128-bit keyed hash by which index and log know them, root groups.
//
// All functions are pure and thread-safe. Source of the hash: SipHash-2-4 with 128-bit output
// (Aumasson, Bernstein; reference vectors in proto/wire/vectors.json).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proto/wire/checksum.h"

namespace kvgate::wire {

inline constexpr size_t kKeyBytesMax = 1024;
inline constexpr uint64_t kValueBytesMax = 64ull << 20;
inline constexpr size_t kKeysMax = 1024;         // Get, Set, Offer
inline constexpr size_t kLookupKeysMax = 65536;  // summed over groups
inline constexpr uint64_t kKeyListBytesMax = 4ull << 20;
inline constexpr uint64_t kPayloadBytesMax = 64ull << 20;
inline constexpr uint64_t kMessageBytesMax = 69ull << 20;  // gRPC receive limit, both sides
inline constexpr uint32_t kPinMsMax = 30000;
inline constexpr uint32_t kRootGroupTokens = 4096;

// Hash of a key within a namespace. Group and shard are not in it: siblings share the hash.
struct Hash128 {
  uint64_t lo = 0;
  uint64_t hi = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
  bool zero() const { return lo == 0 && hi == 0; }  // "no parent"
};

using HashSecret = std::array<uint8_t, 16>;  // lives in the superblock

// SipHash-2-4-128(secret, bytes).
Hash128 SipHash128(const HashSecret& secret, std::string_view bytes);

// SipHash-2-4-128(secret, ns_digest ‖ u16le key_len ‖ key). REQUIRES: key.size() <= kKeyBytesMax.
Hash128 HashKey(const HashSecret& secret, const NsDigest& ns_digest, std::string_view key);

// Keys a root group: g = max(1, floor(4096 / block_tokens)). REQUIRES: block_tokens > 0.
uint32_t RootGroupKeys(uint32_t block_tokens);

}  // namespace kvgate::wire
