// SPDX-License-Identifier: Apache-2.0
#include "proto/wire/key.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace kvgate::wire {
namespace {

uint64_t LoadLe64(const unsigned char* p) {
  uint64_t word = 0;
  for (int i = 0; i < 8; ++i) word |= static_cast<uint64_t>(p[i]) << (8 * i);
  return word;
}

// SipHash-2-4 with 128 bits of output, fed in pieces.
class SipHasher {
 public:
  explicit SipHasher(const HashSecret& secret) {
    const uint64_t k0 = LoadLe64(secret.data()), k1 = LoadLe64(secret.data() + 8);
    v0_ = k0 ^ 0x736f6d6570736575;
    v1_ = k1 ^ 0x646f72616e646f6d ^ 0xee;  // 0xee marks the 128-bit variant
    v2_ = k0 ^ 0x6c7967656e657261;
    v3_ = k1 ^ 0x7465646279746573;
  }

  void Add(const void* data, size_t bytes) {
    const auto* p = static_cast<const unsigned char*>(data);
    total_ += bytes;
    if (held_ > 0) {
      const size_t taken = std::min(bytes, sizeof(word_) - held_);
      std::copy(p, p + taken, word_ + held_);
      held_ += taken;
      p += taken;
      bytes -= taken;
      if (held_ < sizeof(word_)) return;
      Absorb(LoadLe64(word_));
      held_ = 0;
    }
    for (; bytes >= 8; p += 8, bytes -= 8) Absorb(LoadLe64(p));
    std::copy(p, p + bytes, word_);
    held_ = bytes;
  }

  Hash128 Finish() {
    std::fill(word_ + held_, word_ + sizeof(word_), 0);
    word_[7] = static_cast<unsigned char>(total_);
    Absorb(LoadLe64(word_));
    Hash128 hash;
    v2_ ^= 0xee;
    Rounds(4);
    hash.lo = v0_ ^ v1_ ^ v2_ ^ v3_;
    v1_ ^= 0xdd;
    Rounds(4);
    hash.hi = v0_ ^ v1_ ^ v2_ ^ v3_;
    return hash;
  }

 private:
  void Absorb(uint64_t word) {
    v3_ ^= word;
    Rounds(2);
    v0_ ^= word;
  }

  void Rounds(int count) {
    for (int i = 0; i < count; ++i) {
      v0_ += v1_;
      v1_ = std::rotl(v1_, 13) ^ v0_;
      v0_ = std::rotl(v0_, 32);
      v2_ += v3_;
      v3_ = std::rotl(v3_, 16) ^ v2_;
      v0_ += v3_;
      v3_ = std::rotl(v3_, 21) ^ v0_;
      v2_ += v1_;
      v1_ = std::rotl(v1_, 17) ^ v2_;
      v2_ = std::rotl(v2_, 32);
    }
  }

  uint64_t v0_, v1_, v2_, v3_;
  unsigned char word_[8] = {};
  size_t held_ = 0;
  size_t total_ = 0;
};

}  // namespace

Hash128 SipHash128(const HashSecret& secret, std::string_view bytes) {
  SipHasher hasher(secret);
  hasher.Add(bytes.data(), bytes.size());
  return hasher.Finish();
}

Hash128 HashKey(const HashSecret& secret, const NsDigest& ns_digest, std::string_view key) {
  const unsigned char key_len[2] = {static_cast<unsigned char>(key.size()),
                                    static_cast<unsigned char>(key.size() >> 8)};
  SipHasher hasher(secret);
  hasher.Add(ns_digest.data(), ns_digest.size());
  hasher.Add(key_len, sizeof(key_len));
  hasher.Add(key.data(), key.size());
  return hasher.Finish();
}

uint32_t RootGroupKeys(uint32_t block_tokens) {
  return std::max<uint32_t>(1, kRootGroupTokens / block_tokens);
}

}  // namespace kvgate::wire
