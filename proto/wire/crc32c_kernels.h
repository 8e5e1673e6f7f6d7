// SPDX-License-Identifier: Apache-2.0
//
// The inner loops of CRC32C, chosen once for the CPU that runs. Private to checksum.cc and its
// tests. All work on the raw register: no initial or final xor. Pure, thread-safe, never fail.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvgate::wire::internal {

struct Crc32cKernels {
  const char* name;
  uint32_t (*crc)(uint32_t state, const unsigned char* data, size_t bytes);
  // Copies, and takes the checksum of the very bytes that it writes: each source byte is read once.
  uint32_t (*copy_crc)(uint32_t state, unsigned char* dst, const unsigned char* src, size_t bytes);
};

// What this CPU runs best.
const Crc32cKernels& Kernels();

// Slicing by 8: every CPU.
const Crc32cKernels& PortableKernels();

// SSE4.2; null where the CPU has none.
const Crc32cKernels* Sse42Kernels();

}  // namespace kvgate::wire::internal
