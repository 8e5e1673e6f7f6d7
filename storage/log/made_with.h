// SPDX-License-Identifier: Apache-2.0
//
// What a disk in use was made with, asked before it is opened as part of a log: its size is fixed
// then. A pure read, blocking; any thread that may use the disk.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "storage/io/disk.h"

namespace kvgate::storage {

struct MadeWith {
  uint64_t device_bytes = 0;
  uint32_t devices = 0;  // of its set
};
// Nothing: the disk is blank, or its format was cut short. Errors: those of OpenDeviceSet for a
// disk that holds anything else.
absl::StatusOr<std::optional<MadeWith>> ReadMadeWith(Disk& disk);

}  // namespace kvgate::storage
