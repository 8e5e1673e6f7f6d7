// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a footer, in pages and as the checkpoint keeps it: as they are, and with their
// checksum made good.
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "proto/wire/checksum.h"
#include "storage/base/check.h"
#include "storage/log/format.h"

namespace kvgate::storage {
namespace {

void Check(const absl::StatusOr<Footer>& footer) {
  if (!footer.ok()) return;
  for (const LogRecord& record : footer->records) {
    KVGATE_CHECK(record.first_page + PagesOf(record.meta.length) <= footer->info.data_pages);
  }
}

}  // namespace
}  // namespace kvgate::storage

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvgate::storage;  // NOLINT
  std::string image(reinterpret_cast<const char*>(data), size);
  Check(DecodeFooterPages(std::as_bytes(std::span(image))));
  Check(DecodeFooterImage(image));
  constexpr size_t kTrailer = sizeof(DiskFooterTrailer);
  if (size < kTrailer) return 0;
  std::memset(image.data() + size - kTrailer + 8, 0, 4);
  Le<4> crc;
  crc.set(kvgate::wire::Crc32c(0, image.data(), size));
  std::memcpy(image.data() + size - kTrailer + 8, &crc, 4);
  Check(DecodeFooterImage(image));
  std::vector<std::byte> pages(AlignToPage(size));
  ExpandFooter(image, pages);
  Check(DecodeFooterPages(pages));
  return 0;
}
