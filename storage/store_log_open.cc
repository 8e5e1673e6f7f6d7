// SPDX-License-Identifier: Apache-2.0
//
// Store::Open and OpenOn: directories, locks, disks and the log on them.
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/store_impl.h"

namespace kvgate::storage {
namespace {

std::string CheckpointDirectory(const StoreOptions& options) {
  if (!options.log.checkpoint || options.log.directories.empty()) return "";
  return options.log.directories.front() + "/checkpoint";
}

absl::StatusOr<std::unique_ptr<Store>> OpenWith(const StoreOptions& options, Clock* clock,
                                                std::vector<std::unique_ptr<Disk>> disks,
                                                std::vector<LockFile> locks) {
  StoreImpl::LogOpener open_log;
  if (!disks.empty()) {
    open_log = [&](LogOwner* owner) {
      return Log::Open(options.log, std::move(disks), CheckpointDirectory(options), owner, clock);
    };
  }
  auto store = std::make_unique<StoreImpl>(options, clock);
  if (absl::Status status = store->Start(open_log, std::move(locks)); !status.ok()) return status;
  return std::unique_ptr<Store>(std::move(store));
}

absl::StatusOr<LockFile> LockDirectory(const std::string& directory) {
  if (absl::Status status = MakeDirectory(directory); !status.ok()) return status;
  auto lock = LockFile::Acquire(directory + "/LOCK");
  if (lock.ok()) return lock;
  return absl::Status(
      lock.status().code(),
      absl::StrCat(lock.status().message(), "; is another kvgated running on ", directory, "?"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> Store::OpenOn(const StoreOptions& options, Clock* clock,
                                                     std::vector<std::unique_ptr<Disk>> disks) {
  if (absl::Status status = options.Validate(); !status.ok()) return status;
  return OpenWith(options, clock, std::move(disks), {});
}

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const StoreOptions& options, Clock* clock) {
  if (absl::Status status = options.Validate(); !status.ok()) return status;
  const std::vector<std::string>& directories = options.log.directories;
  std::vector<LockFile> locks;
  for (const std::string& directory : directories) {
    auto lock = LockDirectory(directory);
    if (!lock.ok()) return lock.status();
    locks.push_back(std::move(*lock));
  }
  std::vector<std::unique_ptr<Disk>> disks;
  for (const std::string& directory : directories) {
    auto disk = OpenDisk(directory + "/kvgate.data", options.log.bytes_max / directories.size(),
                         options.disk);
    if (!disk.ok()) return disk.status();
    disks.push_back(std::move(*disk));
  }
  return OpenWith(options, clock, std::move(disks), std::move(locks));
}

}  // namespace kvgate::storage
