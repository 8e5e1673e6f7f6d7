// SPDX-License-Identifier: Apache-2.0
//
// Random numbers that a stranger cannot guess (pin tokens, tickets, the hash secret of a store
// without disks), from the kernel. Thread-safe. A kernel that gives none is a CHECK.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvgate::storage {

void FillRandom(void* to, size_t bytes);
uint64_t RandomNonZero64();

}  // namespace kvgate::storage
