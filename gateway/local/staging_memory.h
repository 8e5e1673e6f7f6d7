// SPDX-License-Identifier: Apache-2.0
//
// StagingMemory: a memfd that one client may write, made by the daemon.
//
// Sealed SHRINK|GROW|SEAL, so that neither side can be made to fault by a truncated file; pages are
// touched only when used. What lies in it may change at any time: read once, trust nothing.
// Immutable after Create; the bytes are the client's. Unmaps and closes; the client's own mapping
// keeps the pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"

namespace kvgate::gateway {

class StagingMemory {
 public:
  static absl::StatusOr<std::unique_ptr<StagingMemory>> Create(uint64_t bytes);
  StagingMemory(const StagingMemory&) = delete;
  StagingMemory& operator=(const StagingMemory&) = delete;
  ~StagingMemory();

  int fd() const { return fd_; }
  std::span<std::byte> bytes() const { return bytes_; }

 private:
  StagingMemory(int fd, std::span<std::byte> bytes) : fd_(fd), bytes_(bytes) {}
  const int fd_;
  const std::span<std::byte> bytes_;
};

}  // namespace kvgate::gateway
