// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as the header pages of a batch: as they are, and with their checksum made good. What is
// accepted must stay within the segment.
#include <cstdint>
#include <cstring>
#include <vector>

#include "proto/wire/checksum.h"
#include "storage/base/check.h"
#include "storage/log/format.h"

namespace kvgate::storage {
namespace {

void Try(std::span<const std::byte> bytes) {
  const absl::StatusOr<Batch> batch = DecodeBatch(bytes);
  if (!batch.ok()) return;
  KVGATE_CHECK(batch->records.size() == batch->keys.size());
  for (const LogRecord& record : batch->records) {
    KVGATE_CHECK(record.meta.ns == batch->ns.id);
    if (record.meta.type != RecordType::kValue) continue;
    KVGATE_CHECK(record.first_page >= batch->info.first_page + batch->info.header_pages);
    KVGATE_CHECK(record.first_page + PagesOf(record.meta.length) <=
                 batch->info.first_page + batch->info.batch_pages);
  }
}

}  // namespace
}  // namespace kvgate::storage

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvgate::storage;  // NOLINT
  Try(std::as_bytes(std::span(data, size)));
  std::vector<uint8_t> pages(data, data + size);
  pages.resize(AlignToPage(size == 0 ? 1 : size));
  std::memset(pages.data() + 8, 0, 4);
  Le<4> crc;
  crc.set(kvgate::wire::Crc32c(0, pages.data(), pages.size()));
  std::memcpy(pages.data() + 8, &crc, 4);
  Try(std::as_bytes(std::span(pages)));
  return 0;
}
