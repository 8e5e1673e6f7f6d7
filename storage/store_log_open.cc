// SPDX-License-Identifier: Apache-2.0
//
// Store::Open and OpenOn: directories, locks, disks and the log on them.
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/wire/error_id.h"
#include "storage/io/disk.h"
#include "storage/log/made_with.h"
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

std::string SizeText(uint64_t bytes) {
  if (bytes % (1 << 20) != 0) return absl::StrCat(bytes, " bytes");
  if (bytes % (1 << 30) != 0) return absl::StrCat(bytes >> 20, "MiB");
  return absl::StrCat(bytes >> 30, "GiB");
}

// The disk of a directory. How large it is was decided when it was made: what is wanted now may be
// larger, and is told; it may not be smaller. Sizes in texts are those of all directories, as
// --disk gives them.
absl::StatusOr<std::unique_ptr<Disk>> OpenDataFile(const StoreOptions& options,
                                                   const std::string& directory) {
  const std::string path = directory + "/kvgate.data";
  const uint64_t count = options.log.directories.size();
  const uint64_t wanted = options.log.bytes_max / count;
  const uint64_t there = FileBytes(path) / kDiskAlign * kDiskAlign;
  const uint64_t first = there != 0 ? there : wanted;
  auto disk = OpenDisk(path, first, options.disk);
  if (!disk.ok()) return disk;
  const auto made = ReadMadeWith(**disk);
  if (!made.ok()) return made.status();
  uint64_t bytes = wanted;
  // A set of another number of disks is refused later, by a text of its own.
  if (*made) {
    bytes = (*made)->device_bytes;
    const std::string made_text = SizeText(bytes * count), wanted_text = SizeText(wanted * count);
    if (wanted < bytes && (*made)->devices == count) {
      return absl::FailedPreconditionError(wire::Tagged(
          wire::ErrorId::kDiskBelowMade,
          absl::StrCat("disk ", wanted_text, " is below the size ", directory, " was made with (",
                       made_text, "): leave --disk out, or give an empty directory")));
    }
    if (wanted > bytes && (*made)->devices == count) {
      Tell(options.log.events,
           {.kind = EventKind::kSize,
            .level = EventLevel::kWarning,
            .text = absl::StrCat(directory, " was made with ", made_text, "; disk ", wanted_text,
                                 " is not used beyond it until it is formatted anew")});
    }
  }
  if (bytes == first) return disk;
  disk->reset();  // its lock goes with it
  return OpenDisk(path, bytes, options.disk);
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
    auto disk = OpenDataFile(options, directory);
    if (!disk.ok()) return disk.status();
    disks.push_back(std::move(*disk));
  }
  return OpenWith(options, clock, std::move(disks), std::move(locks));
}

}  // namespace kvgate::storage
