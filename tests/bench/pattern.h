// SPDX-License-Identifier: Apache-2.0
//
// Values that say what they are: each 8-byte word of a value is a function of (key number, version,
// index), so that a single wrong byte, a mixture of two values, or a shifted one is seen.
// Pure functions; thread-safe; about as fast as memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace kvgate::testing {

inline uint64_t Mix64(uint64_t x) {  // splitmix64 finaliser (Steele, Lea, Flood 2014)
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

inline uint64_t PatternSeed(uint64_t key, uint64_t version) {
  return Mix64(key * 0x100000001b3ull + version);
}

// REQUIRES: `to` is 8-byte aligned; any length.
inline void FillPattern(std::byte* to, size_t bytes, uint64_t key, uint64_t version) {
  const uint64_t seed = PatternSeed(key, version);
  auto* words = reinterpret_cast<uint64_t*>(to);
  const size_t n = bytes / 8;
  for (size_t i = 0; i < n; ++i) words[i] = seed + i * 0x9e3779b97f4a7c15ull;
  const uint64_t last = seed + n * 0x9e3779b97f4a7c15ull;
  std::memcpy(to + n * 8, &last, bytes % 8);
}

// True when `from` holds exactly what FillPattern would write.
inline bool IsPattern(const std::byte* from, size_t bytes, uint64_t key, uint64_t version) {
  const uint64_t seed = PatternSeed(key, version);
  const auto* words = reinterpret_cast<const uint64_t*>(from);
  const size_t n = bytes / 8;
  uint64_t wrong = 0;
  for (size_t i = 0; i < n; ++i) wrong |= words[i] ^ (seed + i * 0x9e3779b97f4a7c15ull);
  const uint64_t last = seed + n * 0x9e3779b97f4a7c15ull;
  return wrong == 0 && std::memcmp(from + n * 8, &last, bytes % 8) == 0;
}

// A 32-byte key, as long as a block hash of an engine.
inline std::string PatternKey(uint64_t key) {
  std::string text(32, '\0');
  for (int i = 0; i < 4; ++i) {
    const uint64_t word = Mix64(key * 4 + i);
    std::memcpy(text.data() + i * 8, &word, 8);
  }
  return text;
}

}  // namespace kvgate::testing
