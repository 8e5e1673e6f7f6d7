// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a superblock: as they are, and with their checksum made good.
#include <cstdint>
#include <cstring>
#include <vector>

#include "proto/wire/checksum.h"
#include "storage/base/check.h"
#include "storage/log/format.h"

namespace kvgate::storage {
namespace {

void Try(std::span<const std::byte> bytes) {
  const absl::StatusOr<Superblock> decoded = DecodeSuperblock(bytes);
  if (!decoded.ok()) return;
  Page page;
  EncodeSuperblock(*decoded, page);
  KVGATE_CHECK(std::memcmp(page.data(), bytes.data(), kPageBytes) == 0) << "not canonical";
}

}  // namespace
}  // namespace kvgate::storage

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvgate::storage;  // NOLINT
  Try(std::as_bytes(std::span(data, size)));
  std::vector<uint8_t> page(data, data + size);
  page.resize(kPageBytes);
  Le<4> crc;
  crc.set(kvgate::wire::Crc32c(0, page.data(), kPageBytes - 4));
  std::memcpy(page.data() + kPageBytes - 4, &crc, 4);
  Try(std::as_bytes(std::span(page)));
  return 0;
}
