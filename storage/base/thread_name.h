// SPDX-License-Identifier: Apache-2.0
//
// Names the calling thread for top, gdb and perf ("kv-disk-0"). The kernel keeps 15 bytes; longer
// names are cut. Thread-safe, never fails.
#pragma once

#include <string_view>

namespace kvgate::storage {

void SetThreadName(std::string_view name);

}  // namespace kvgate::storage
