// SPDX-License-Identifier: Apache-2.0
#include "proto/wire/checksum.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "proto/wire/crc32c_kernels.h"

namespace kvgate::wire {
namespace {

// Polynomials over GF(2) modulo the Castagnoli polynomial, bit-reflected: bit 31 is x^0.
constexpr uint32_t kPolynomial = 0x82f63b78;
constexpr uint32_t kOne = 0x80000000;

constexpr uint32_t MultiplyModP(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (int i = 31; i >= 0; --i) {
    if ((a >> i) & 1) product ^= b;
    b = (b >> 1) ^ ((b & 1) ? kPolynomial : 0);
  }
  return product;
}

// kZeroBytes[k] = x^(8 * 2^k) mod P: multiplying by it appends 2^k zero bytes.
constexpr std::array<uint32_t, 64> MakeZeroBytes() {
  std::array<uint32_t, 64> table{};
  uint32_t power = kOne >> 8;
  for (auto& entry : table) {
    entry = power;
    power = MultiplyModP(power, power);
  }
  return table;
}
constexpr std::array<uint32_t, 64> kZeroBytes = MakeZeroBytes();

// The CRC (without its final xor) of what `crc` stands for, followed by `bytes` zero bytes.
uint32_t AppendZeros(uint32_t crc, uint64_t bytes) {
  for (int k = 0; bytes != 0 && crc != 0; ++k, bytes >>= 1) {
    if (bytes & 1) crc = MultiplyModP(kZeroBytes[k], crc);
  }
  return crc;
}

}  // namespace

uint32_t Crc32c(uint32_t crc, const void* data, size_t bytes) {
  return ~internal::Kernels().crc(~crc, static_cast<const unsigned char*>(data), bytes);
}

uint32_t CopyCrc32c(uint32_t crc, void* dst, const void* src, size_t bytes) {
  return ~internal::Kernels().copy_crc(~crc, static_cast<unsigned char*>(dst),
                                       static_cast<const unsigned char*>(src), bytes);
}

uint32_t Crc32cCombine(uint32_t crc_a, uint32_t crc_b, uint64_t bytes_b) {
  return AppendZeros(crc_a, bytes_b) ^ crc_b;
}

uint32_t Crc32cTail(uint32_t crc_ab, uint32_t crc_a, uint64_t bytes_b) {
  return AppendZeros(crc_a, bytes_b) ^ crc_ab;
}

uint32_t BlockCrcOfKey(const NsDigest& ns_digest, std::string_view key) {
  const unsigned char key_len[2] = {static_cast<unsigned char>(key.size()),
                                    static_cast<unsigned char>(key.size() >> 8)};
  uint32_t crc = Crc32c(0, ns_digest.data(), ns_digest.size());
  crc = Crc32c(crc, key_len, sizeof(key_len));
  return Crc32c(crc, key.data(), key.size());
}

uint32_t BlockCrcPrefix(uint32_t crc_of_key, uint8_t group, uint8_t shard, uint64_t value_bytes) {
  unsigned char tail[10] = {group, shard};
  for (int i = 0; i < 8; ++i) tail[2 + i] = static_cast<unsigned char>(value_bytes >> (8 * i));
  return Crc32c(crc_of_key, tail, sizeof(tail));
}

uint32_t ValueCrcFromBlockCrc(uint32_t block_crc, uint32_t prefix_crc, uint64_t value_bytes) {
  return Crc32cTail(block_crc, prefix_crc, value_bytes);
}

uint32_t BlockCrcFromValueCrc(uint32_t value_crc, uint32_t prefix_crc, uint64_t value_bytes) {
  return Crc32cCombine(prefix_crc, value_crc, value_bytes);
}

}  // namespace kvgate::wire
