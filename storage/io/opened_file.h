// SPDX-License-Identifier: Apache-2.0
//
// OpenedFile: a file or block device that this process holds exclusively, ready for an engine.
// Move-only; closing it gives the exclusive use up.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/io/disk.h"
#include "storage/io/file_util.h"

namespace kvgate::storage {

struct OpenedFile {
  UniqueFd fd;
  std::string name;
  uint64_t bytes = 0;
  std::string mode;  // "direct" or "buffered"
  std::string note;  // why it is buffered although direct was asked for
};

// What a copy-on-write file system (by its statfs type) means for a file with these
// FS_IOC_GETFLAGS: OK, or FAILED_PRECONDITION that tells how to mend it. Overwriting in place is
// what the log is made of; copy-on-write turns each lap into fragments and breaks the space
// accounting.
absl::Status CheckCopyOnWrite(const std::string& path, uint64_t file_system_type,
                              uint32_t file_flags);

// Ends the exclusive use of a file at once; closing it may do so only when a ring that knew the
// file is dead. No transfer may be in flight.
void GiveUpLock(const UniqueFd& fd);

// The part of OpenDisk that comes before the engine.
absl::StatusOr<OpenedFile> OpenFileForDisk(const std::string& path, uint64_t bytes, bool direct);

}  // namespace kvgate::storage
