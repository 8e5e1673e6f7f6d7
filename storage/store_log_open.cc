// SPDX-License-Identifier: Apache-2.0
//
// The store's directories and their log. This build has no disk tier and refuses one by name.
#include <utility>

#include "storage/store_impl.h"

namespace kvgate::storage {

absl::Status StoreImpl::OpenLog(std::vector<std::unique_ptr<Disk>> disks,
                                const std::string& checkpoint_dir) {
  (void)disks;
  (void)checkpoint_dir;
  return absl::UnimplementedError("log.directories: this build has no disk tier");
}

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const StoreOptions& options, Clock* clock) {
  if (!options.log.directories.empty()) {
    return absl::UnimplementedError("log.directories: this build has no disk tier");
  }
  return OpenOn(options, clock, {});
}

}  // namespace kvgate::storage
