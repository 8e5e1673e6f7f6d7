// SPDX-License-Identifier: Apache-2.0
#include "gateway/version.h"

#include "absl/strings/str_cat.h"
#include "gateway/version_number.inc"
#include "storage/store.h"

namespace kvgate::gateway {

std::string Version() { return kVersionNumber; }

std::string VersionText() {
  return absl::StrCat("kvgated ", Version(), " (wire kvgate.v1, disk format ",
                      storage::kDiskFormatVersion, ")\n");
}

}  // namespace kvgate::gateway
