// SPDX-License-Identifier: Apache-2.0
#include "proto/wire/crc32c_kernels.h"

#include <algorithm>
#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace kvgate::wire::internal {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;
constexpr size_t kCopyPiece = 8192;  // stays in the first-level cache between copy and checksum

using Table = std::array<std::array<uint32_t, 256>, 8>;

// kTable[k][b]: the effect of byte b followed by k zero bytes.
constexpr Table MakeTable() {
  Table table{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int i = 0; i < 8; ++i) crc = (crc >> 1) ^ ((crc & 1) ? kPolynomial : 0);
    table[0][b] = crc;
  }
  for (uint32_t b = 0; b < 256; ++b) {
    for (size_t k = 1; k < 8; ++k) {
      table[k][b] = (table[k - 1][b] >> 8) ^ table[0][table[k - 1][b] & 0xff];
    }
  }
  return table;
}
constexpr Table kTable = MakeTable();

uint64_t LoadLe64(const unsigned char* p) {
  uint64_t word;
  std::memcpy(&word, p, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  word = __builtin_bswap64(word);
#endif
  return word;
}

uint32_t PortableCrc(uint32_t state, const unsigned char* p, size_t bytes) {
  for (; bytes >= 8; p += 8, bytes -= 8) {
    const uint64_t word = LoadLe64(p) ^ state;
    state = kTable[7][word & 0xff] ^ kTable[6][(word >> 8) & 0xff] ^
            kTable[5][(word >> 16) & 0xff] ^ kTable[4][(word >> 24) & 0xff] ^
            kTable[3][(word >> 32) & 0xff] ^ kTable[2][(word >> 40) & 0xff] ^
            kTable[1][(word >> 48) & 0xff] ^ kTable[0][word >> 56];
  }
  for (; bytes > 0; ++p, --bytes) state = (state >> 8) ^ kTable[0][(state ^ *p) & 0xff];
  return state;
}

// The checksum is taken from `dst`, so a source that changes meanwhile cannot make them differ.
template <uint32_t (*kCrc)(uint32_t, const unsigned char*, size_t)>
uint32_t CopyThenCrc(uint32_t state, unsigned char* dst, const unsigned char* src, size_t bytes) {
  while (bytes > 0) {
    const size_t piece = std::min(bytes, kCopyPiece);
    std::memcpy(dst, src, piece);
    state = kCrc(state, dst, piece);
    dst += piece;
    src += piece;
    bytes -= piece;
  }
  return state;
}

#if defined(__x86_64__)

// crc32q has a latency of 3 and a throughput of 1, so three independent streams run at once. Their
// registers are joined by appending the zeros of a stream's length, which for a fixed length is
// four table look-ups.
constexpr size_t kLongStream = 2720;  // 3 * 2720 = 8160 <= kCopyPiece; not a multiple of 4096
constexpr size_t kShortStream = 192;
constexpr size_t kCacheLine = 64;

using ShiftTable = std::array<std::array<uint32_t, 256>, 4>;

template <size_t kBytes>
constexpr uint32_t AppendZerosOneBit(uint32_t bit) {
  uint32_t crc = bit;
  for (size_t i = 0; i < kBytes; ++i) crc = (crc >> 8) ^ kTable[0][crc & 0xff];
  return crc;
}

template <size_t kBytes>
constexpr ShiftTable MakeShiftTable() {
  std::array<uint32_t, 32> of_bit{};
  for (int i = 0; i < 32; ++i) of_bit[i] = AppendZerosOneBit<kBytes>(1u << i);
  ShiftTable table{};
  for (int k = 0; k < 4; ++k) {
    for (uint32_t b = 0; b < 256; ++b) {
      for (int i = 0; i < 8; ++i) {
        if ((b >> i) & 1) table[k][b] ^= of_bit[8 * k + i];
      }
    }
  }
  return table;
}
constexpr ShiftTable kLongShift = MakeShiftTable<kLongStream>();
constexpr ShiftTable kShortShift = MakeShiftTable<kShortStream>();

inline uint32_t Shift(const ShiftTable& table, uint32_t crc) {
  return table[0][crc & 0xff] ^ table[1][(crc >> 8) & 0xff] ^ table[2][(crc >> 16) & 0xff] ^
         table[3][crc >> 24];
}

// `kAhead`: asks for the block after this one. The streams are too short for the CPU to see them by
// itself, and a block that came from a disk lies in no cache: 6 GB/s without, 11 GB/s with.
template <size_t kStream, bool kAhead>
__attribute__((target("sse4.2"))) inline uint32_t ThreeStreams(uint32_t state,
                                                               const unsigned char* p,
                                                               const ShiftTable& shift) {
  uint64_t a = state, b = 0, c = 0;
  for (size_t i = 0; i < kStream; i += 8) {
    if (kAhead && i % kCacheLine == 0) {
      for (size_t stream = 3; stream < 6; ++stream) {
        _mm_prefetch(reinterpret_cast<const char*>(p + stream * kStream + i), _MM_HINT_T0);
      }
    }
    a = _mm_crc32_u64(a, LoadLe64(p + i));
    b = _mm_crc32_u64(b, LoadLe64(p + kStream + i));
    c = _mm_crc32_u64(c, LoadLe64(p + 2 * kStream + i));
  }
  const uint32_t ab = Shift(shift, static_cast<uint32_t>(a)) ^ static_cast<uint32_t>(b);
  return Shift(shift, ab) ^ static_cast<uint32_t>(c);
}

__attribute__((target("sse4.2"))) uint32_t Sse42Crc(uint32_t state, const unsigned char* p,
                                                    size_t bytes) {
  constexpr size_t kLongBlock = 3 * kLongStream;
  for (; bytes >= 2 * kLongBlock; p += kLongBlock, bytes -= kLongBlock) {
    state = ThreeStreams<kLongStream, true>(state, p, kLongShift);
  }
  for (; bytes >= kLongBlock; p += kLongBlock, bytes -= kLongBlock) {
    state = ThreeStreams<kLongStream, false>(state, p, kLongShift);
  }
  for (; bytes >= 3 * kShortStream; p += 3 * kShortStream, bytes -= 3 * kShortStream) {
    state = ThreeStreams<kShortStream, false>(state, p, kShortShift);
  }
  uint64_t wide = state;
  for (; bytes >= 8; p += 8, bytes -= 8) wide = _mm_crc32_u64(wide, LoadLe64(p));
  state = static_cast<uint32_t>(wide);
  for (; bytes > 0; ++p, --bytes) state = _mm_crc32_u8(state, *p);
  return state;
}

constexpr Crc32cKernels kSse42 = {"sse4.2", Sse42Crc, CopyThenCrc<Sse42Crc>};

#endif  // __x86_64__

constexpr Crc32cKernels kPortable = {"portable", PortableCrc, CopyThenCrc<PortableCrc>};

}  // namespace

const Crc32cKernels& PortableKernels() { return kPortable; }

const Crc32cKernels* Sse42Kernels() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return &kSse42;
#endif
  return nullptr;
}

const Crc32cKernels& Kernels() {
  static const Crc32cKernels& best = Sse42Kernels() != nullptr ? *Sse42Kernels() : kPortable;
  return best;
}

}  // namespace kvgate::wire::internal
