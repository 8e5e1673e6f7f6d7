// SPDX-License-Identifier: Apache-2.0
//
// The socket file of a local door. Thread-safe, blocking only for an instant.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace kvgate::gateway {

// A listening, non-blocking SEQPACKET socket at `path`. A socket file that nobody listens on is
// replaced; ALREADY_EXISTS when a live daemon does, or when the path is something else.
absl::StatusOr<int> ListenLocal(const std::string& path, uint32_t mode);

// Removes the file at `path` if it still is the one whose SocketInode was `inode`.
uint64_t SocketInode(const std::string& path);  // 0: no such file
void RemoveSocket(const std::string& path, uint64_t inode);

}  // namespace kvgate::gateway
