// SPDX-License-Identifier: Apache-2.0
//
// What is looked at before anything is opened, so that a wrong start ends with one clear line.
//
// Blocking; called once, from one thread. May make directories and remove dead socket files,
// nothing else. Errors: canonical, one line: what is wrong and what to do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace kvgate::gateway {

// Makes it if need be (0750); refuses what is not a directory, belongs to another user, or holds
// files that kvgate did not make.
absl::Status PrepareDataDirectory(const std::string& path);

// Whether `disk_bytes`, spread over the directories, fit beside what is there already.
absl::Status CheckSpace(const std::vector<std::string>& data_dirs, uint64_t disk_bytes);

// The directory of the sockets: made with 0750, since its mode decides who connects.
absl::Status PrepareRunDirectory(const std::string& path);

// Makes the path free for a listening stream socket: removes the file of a dead daemon, refuses one
// of a living daemon, a file that is no socket, and a path that is too long for a socket.
absl::Status ClaimSocketPath(const std::string& path);

}  // namespace kvgate::gateway
