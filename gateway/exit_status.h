// SPDX-License-Identifier: Apache-2.0
//
// How the program ends, for whoever started it and may start it again. Pure, thread-safe.
#pragma once

#include "absl/status/status.h"

namespace kvgate::gateway {

inline constexpr int kExitFailed = 1;   // could not start, or not write out what was buffered
inline constexpr int kExitConfig = 78;  // EX_CONFIG: wrong until somebody changes something

// By the id at the end of the message. What may pass by itself (a directory in use, no space, an
// address taken, a disk that is missing) is kExitFailed, and so is what has no id.
int ExitStatusOf(const absl::Status& status);

}  // namespace kvgate::gateway
