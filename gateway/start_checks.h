// SPDX-License-Identifier: Apache-2.0
//
// What is looked at before anything is opened, so that a wrong start ends with one clear line.
//
// CheckStart is all of it and changes nothing: a start and `kvgated config check` both call it, so
// that they say the same. PrepareStart then makes directories and removes dead socket files.
// Blocking; from one thread. Errors: canonical, one line: where the value was given, what is wrong
// and what to do, with an id.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/config.h"

namespace kvgate::gateway {

struct StartFindings {
  std::vector<std::string> warnings;  // a start goes on, and says them
  std::vector<std::string> notes;     // what the store itself says at a start
  // Why a start would have to wait for another daemon; a check only notes it.
  std::vector<absl::Status> in_use;
};

// Tokens, directories (there or possible, ours, nothing foreign in them, none twice), the size
// that each was made with, space, segments, paths of sockets, options of the store, memory.
absl::StatusOr<StartFindings> CheckStart(const Config& config);

// REQUIRES: CheckStart found nothing wrong, nor in use. Directories are made with 0750: the mode of
// that of the sockets decides who connects.
absl::Status PrepareStart(const Config& config);

// The socket of a door ("grpc", "local"); the default tenant has the plain names.
std::string SocketPath(const Config& config, const std::string& door, const std::string& tenant);
std::string AdminSocketPath(const Config& config);

}  // namespace kvgate::gateway
