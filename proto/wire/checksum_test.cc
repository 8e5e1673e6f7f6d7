// SPDX-License-Identifier: Apache-2.0
#include "proto/wire/checksum.h"

#include <gtest/gtest.h>
#include <isa-l/crc.h>

#include <random>
#include <string>
#include <vector>

#include "proto/wire/crc32c_kernels.h"

namespace kvgate::wire {
namespace {

using Bytes = std::vector<unsigned char>;

Bytes RandomBytes(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  Bytes bytes(n);
  for (auto& b : bytes) b = static_cast<unsigned char>(random());
  return bytes;
}

uint32_t Isal(uint32_t crc, const unsigned char* p, size_t n) {
  return ~crc32_iscsi(const_cast<unsigned char*>(p), static_cast<int>(n), ~crc);
}

std::vector<const internal::Crc32cKernels*> AllKernels() {
  std::vector<const internal::Crc32cKernels*> all = {&internal::PortableKernels()};
  if (internal::Sse42Kernels() != nullptr) all.push_back(internal::Sse42Kernels());
  return all;
}

TEST(Crc32c, MatchesRfc3720) {
  EXPECT_EQ(Crc32c(0, "", 0), 0u);
  EXPECT_EQ(Crc32c(0, "123456789", 9), 0xe3069283u);
  EXPECT_EQ(Crc32c(0, Bytes(32, 0).data(), 32), 0x8a9136aau);
  EXPECT_EQ(Crc32c(0, Bytes(32, 0xff).data(), 32), 0x62a8ab43u);
  Bytes up(32), down(32);
  for (int i = 0; i < 32; ++i) up[i] = i, down[i] = 31 - i;
  EXPECT_EQ(Crc32c(0, up.data(), 32), 0x46dd794eu);
  EXPECT_EQ(Crc32c(0, down.data(), 32), 0x113fdb5cu);
}

TEST(Crc32c, EveryKernelMatchesIsalAtEveryShortLengthAndAlignment) {
  const Bytes bytes = RandomBytes(3000, 1);
  for (const auto* kernels : AllKernels()) {
    for (size_t at = 0; at < 9; ++at) {
      for (size_t n = 0; n < 2000; n += 1 + n / 64) {
        EXPECT_EQ(~kernels->crc(~0x1234u, bytes.data() + at, n), Isal(0x1234, bytes.data() + at, n))
            << kernels->name << " length " << n << " from " << at;
      }
    }
  }
}

TEST(Crc32c, EveryKernelMatchesIsalAtLongLengths) {
  const Bytes bytes = RandomBytes((1 << 20) + 100, 2);
  for (const auto* kernels : AllKernels()) {
    for (const size_t n : {8159u, 8160u, 8161u, 16319u, 16320u, 65536u, 1048576u, 1048583u}) {
      EXPECT_EQ(~kernels->crc(~0u, bytes.data() + 3, n), Isal(0, bytes.data() + 3, n))
          << kernels->name << " length " << n;
    }
  }
}

TEST(Crc32c, ContinuesWhereItStopped) {
  const Bytes bytes = RandomBytes(100000, 3);
  for (const size_t cut : {0u, 1u, 7u, 4096u, 99999u, 100000u}) {
    const uint32_t head = Crc32c(0, bytes.data(), cut);
    EXPECT_EQ(Crc32c(head, bytes.data() + cut, bytes.size() - cut),
              Crc32c(0, bytes.data(), bytes.size()));
  }
}

TEST(CopyCrc32c, CopiesAndChecksumsTheCopyWithEveryKernel) {
  const Bytes source = RandomBytes(1 << 20, 4);
  for (const auto* kernels : AllKernels()) {
    for (const size_t n : {0u, 1u, 63u, 64u, 577u, 4096u, 8191u, 8192u, 8193u, 300001u, 1000000u}) {
      for (const size_t at : {0u, 1u, 8u}) {
        Bytes copy(n + 64, 0xcc);
        EXPECT_EQ(~kernels->copy_crc(~77u, copy.data() + at, source.data() + 5, n),
                  Isal(77, source.data() + 5, n))
            << kernels->name << " length " << n;
        EXPECT_TRUE(std::equal(copy.begin() + at, copy.begin() + at + n, source.begin() + 5));
        EXPECT_EQ(copy[n + at], 0xcc) << "wrote past the end";
      }
    }
  }
}

TEST(Crc32cCombine, EqualsTheChecksumOfTheWhole) {
  const Bytes bytes = RandomBytes(70000, 5);
  for (const size_t cut : {0u, 1u, 44u, 4096u, 69999u, 70000u}) {
    const uint32_t a = Crc32c(0, bytes.data(), cut);
    const uint32_t b = Crc32c(0, bytes.data() + cut, bytes.size() - cut);
    const uint32_t whole = Crc32c(0, bytes.data(), bytes.size());
    EXPECT_EQ(Crc32cCombine(a, b, bytes.size() - cut), whole);
    EXPECT_EQ(Crc32cTail(whole, a, bytes.size() - cut), b);
  }
}

TEST(Crc32cCombine, TakesLengthsThatNoMemoryHolds) {
  // (A ‖ B) ‖ C = A ‖ (B ‖ C) by lengths alone.
  const uint64_t b = (1ull << 40) + 12345, c = (1ull << 50) + 6789;
  const uint32_t left = Crc32cCombine(Crc32cCombine(0x11111111, 0x22222222, b), 0x33333333, c);
  const uint32_t right = Crc32cCombine(0x11111111, Crc32cCombine(0x22222222, 0x33333333, c), b + c);
  EXPECT_EQ(left, right);
  EXPECT_NE(left, Crc32cCombine(0x11111111, Crc32cCombine(0x22222222, 0x33333333, c), b + c + 1));
}

class BlockCrc : public testing::Test {
 protected:
  uint32_t Of(const NsDigest& ns, std::string_view key, uint8_t group, uint8_t shard,
              const std::string& value) {
    const uint32_t prefix = BlockCrcPrefix(BlockCrcOfKey(ns, key), group, shard, value.size());
    return Crc32c(prefix, value.data(), value.size());
  }
  NsDigest ns_{1, 2, 3};
};

TEST_F(BlockCrc, DependsOnEverythingThatNamesTheBlock) {
  const uint32_t right = Of(ns_, "key", 1, 2, "value");
  NsDigest other = ns_;
  other[31] ^= 1;
  EXPECT_NE(Of(other, "key", 1, 2, "value"), right);
  EXPECT_NE(Of(ns_, "kez", 1, 2, "value"), right);
  EXPECT_NE(Of(ns_, "keyv", 1, 2, "alue"), right);
  EXPECT_NE(Of(ns_, "key", 2, 2, "value"), right);
  EXPECT_NE(Of(ns_, "key", 1, 3, "value"), right);
  EXPECT_NE(Of(ns_, "key", 2, 1, "value"), right);
  EXPECT_NE(Of(ns_, "key", 1, 2, "valuf"), right);
}

TEST_F(BlockCrc, GivesTheValueCrcAndBack) {
  const std::string value(100000, 'v');
  const uint32_t prefix = BlockCrcPrefix(BlockCrcOfKey(ns_, "key"), 0, 9, value.size());
  const uint32_t block = Of(ns_, "key", 0, 9, value);
  const uint32_t plain = Crc32c(0, value.data(), value.size());
  EXPECT_EQ(ValueCrcFromBlockCrc(block, prefix, value.size()), plain);
  EXPECT_EQ(BlockCrcFromValueCrc(plain, prefix, value.size()), block);
}

}  // namespace
}  // namespace kvgate::wire
