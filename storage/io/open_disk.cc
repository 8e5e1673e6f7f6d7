// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/wire/error_id.h"
#include "storage/io/disk.h"
#include "storage/io/opened_file.h"
#include "storage/io/posix_disk.h"
#include "storage/io/uring_disk.h"

namespace kvgate::storage {

absl::StatusOr<std::unique_ptr<Disk>> OpenDisk(const std::string& path, uint64_t bytes,
                                               const DiskOptions& options) {
  absl::StatusOr<OpenedFile> file = OpenFileForDisk(path, bytes, options.direct);
  if (!file.ok()) return file.status();
  if (options.engine == DiskOptions::Engine::kPosix) {
    return MakePosixDisk(*std::move(file), options);
  }
  absl::StatusOr<std::unique_ptr<Disk>> uring = MakeUringDisk(&*file, options);
  if (uring.ok()) return uring;
  if (options.engine == DiskOptions::Engine::kUring) {
    return absl::FailedPreconditionError(
        wire::Tagged(wire::ErrorId::kNoIoUring,
                     absl::StrCat(path, ": io_uring was demanded: ", uring.status().message())));
  }
  file->note =
      absl::StrCat(file->note, file->note.empty() ? "" : "; ", "posix: ", uring.status().message());
  return MakePosixDisk(*std::move(file), options);
}

}  // namespace kvgate::storage
