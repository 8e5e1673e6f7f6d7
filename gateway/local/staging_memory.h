// SPDX-License-Identifier: Apache-2.0
//
// StagingMemory: the memfds that one client may write, made by the daemon: one space of addresses,
// of which the first part is there from the beginning and others are added behind it.
//
// Each part is sealed SHRINK|GROW|SEAL, so that neither side can be made to fault by a truncated
// file; pages are touched only when used. What lies in it may change at any time: read once, trust
// nothing. Threads: Grow and parts() belong to one thread (the door's); bytes() is thread-safe, and
// what it answered stays good. Unmaps and closes at the end; the client's own mappings keep pages.
// Limits: bytes_max of address space, kStagingPartsMax parts.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace kvgate::gateway {

class StagingMemory {
 public:
  struct Part {
    int fd;  // this object's
    uint64_t offset, bytes;
  };

  // REQUIRES: 0 < bytes <= bytes_max, both multiples of kStagingGranule.
  static absl::StatusOr<std::unique_ptr<StagingMemory>> Create(uint64_t bytes, uint64_t bytes_max);
  StagingMemory(const StagingMemory&) = delete;
  StagingMemory& operator=(const StagingMemory&) = delete;
  ~StagingMemory();

  // Adds a part. REQUIRES: a multiple of kStagingGranule above 0; all parts within bytes_max.
  absl::Status Grow(uint64_t bytes);

  std::span<std::byte> bytes() const { return {base_, bytes_.load(std::memory_order_acquire)}; }
  const std::vector<Part>& parts() const { return parts_; }
  uint64_t bytes_max() const { return bytes_max_; }

 private:
  StagingMemory(std::byte* base, uint64_t bytes_max) : base_(base), bytes_max_(bytes_max) {}

  std::byte* const base_;
  uint64_t bytes_max_;  // of address space that is ours
  std::atomic<uint64_t> bytes_{0};
  std::vector<Part> parts_;
};

}  // namespace kvgate::gateway
