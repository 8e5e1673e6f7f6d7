// SPDX-License-Identifier: Apache-2.0
#include "storage/store_random.h"

#include <sys/random.h>

#include <cerrno>

#include "storage/base/check.h"

namespace kvgate::storage {

void FillRandom(void* to, size_t bytes) {
  auto* at = static_cast<unsigned char*>(to);
  while (bytes > 0) {
    const ssize_t got = getrandom(at, bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    KVGATE_CHECK(got > 0) << "getrandom failed, errno " << errno;
    at += got;
    bytes -= static_cast<size_t>(got);
  }
}

uint64_t RandomNonZero64() {
  uint64_t value = 0;
  while (value == 0) FillRandom(&value, sizeof(value));
  return value;
}

}  // namespace kvgate::storage
