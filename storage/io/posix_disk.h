// SPDX-License-Identifier: Apache-2.0
//
// posix_disk: a Disk of pread, pwrite and fdatasync on posix_threads threads of its own, for where
// io_uring is denied (containers forbid it by default). Promises and threads: pool_disk.h.
#pragma once

#include <memory>

#include "storage/io/disk.h"
#include "storage/io/opened_file.h"

namespace kvgate::storage {

std::unique_ptr<Disk> MakePosixDisk(OpenedFile file, const DiskOptions& options);

}  // namespace kvgate::storage
