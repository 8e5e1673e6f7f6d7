// SPDX-License-Identifier: Apache-2.0
//
// CRC32C (Castagnoli, RFC 3720: initial and final xor with ~0) and what the formats build from it.
//
// All functions are pure and thread-safe and never fail. They need nothing but libc, since
// libkvgate.so links them. x86: SSE4.2, three streams interleaved; elsewhere a table.
// Vectors: proto/wire/vectors.json.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace kvgate::wire {

using NsDigest = std::array<uint8_t, 32>;

// CRC32C of `data`, continuing from `crc` (the CRC32C of what stood before; 0 for nothing).
uint32_t Crc32c(uint32_t crc, const void* data, size_t bytes);

// Copies `bytes` from `src` to `dst` and returns Crc32c(crc, dst's new bytes): the checksum is of
// what was written, so a source that changes meanwhile cannot make them differ.
uint32_t CopyCrc32c(uint32_t crc, void* dst, const void* src, size_t bytes);

// CRC32C of A‖B from the CRC32C of A and of B (exact). `bytes_b` = length of B.
uint32_t Crc32cCombine(uint32_t crc_a, uint32_t crc_b, uint64_t bytes_b);

// CRC32C of B from the CRC32C of A‖B and of A (exact): the inverse of the above.
uint32_t Crc32cTail(uint32_t crc_ab, uint32_t crc_a, uint64_t bytes_b);

// The checksum of a stored block is
//   crc32c(ns_digest[32] ‖ u16le key_len ‖ key ‖ u8 group ‖ u8 shard ‖ u64le length ‖ value)
// so that an intact value under another key, namespace, group or shard fails.
// The part up to the key can be kept instead of the key (a pin token does):
uint32_t BlockCrcOfKey(const NsDigest& ns_digest, std::string_view key);
// …and the part up to the value:
uint32_t BlockCrcPrefix(uint32_t crc_of_key, uint8_t group, uint8_t shard, uint64_t value_bytes);

// Block checksum -> plain CRC32C of the value, and back.
uint32_t ValueCrcFromBlockCrc(uint32_t block_crc, uint32_t prefix_crc, uint64_t value_bytes);
uint32_t BlockCrcFromValueCrc(uint32_t value_crc, uint32_t prefix_crc, uint64_t value_bytes);

}  // namespace kvgate::wire
