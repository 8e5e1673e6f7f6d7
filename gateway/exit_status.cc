// SPDX-License-Identifier: Apache-2.0
#include "gateway/exit_status.h"

#include <string>

#include "proto/wire/error_id.h"

namespace kvgate::gateway {

int ExitStatusOf(const absl::Status& status) {
  const std::string text(status.message());
  const size_t open = text.rfind('[');
  if (open == std::string::npos || text.back() != ']') return kExitFailed;
  const wire::ErrorEntry* entry = wire::FindError(text.substr(open + 1, text.size() - open - 2));
  if (entry == nullptr) return kExitFailed;
  switch (entry->id) {
    case wire::ErrorId::kBadFlag:
    case wire::ErrorId::kBadSetting:
    case wire::ErrorId::kBadConfigFile:
    case wire::ErrorId::kTcpNotAllowed:
    case wire::ErrorId::kDirectoryUnusable:
    case wire::ErrorId::kDirectoryOfAnotherUser:
    case wire::ErrorId::kForeignData:
    case wire::ErrorId::kBadSocketPath:
    case wire::ErrorId::kDiskTooSmall:
    case wire::ErrorId::kCopyOnWrite:
    case wire::ErrorId::kLaterFormat:
    case wire::ErrorId::kMixedDisks:
    case wire::ErrorId::kCopiedDisk:
    case wire::ErrorId::kDiskBelowMade:
      return kExitConfig;
    default:
      return kExitFailed;
  }
}

}  // namespace kvgate::gateway
