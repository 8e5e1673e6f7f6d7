// SPDX-License-Identifier: Apache-2.0
//
// Ring: liburing behind a door, with the ladder of fallbacks. Owned by the one thread that calls
// Open; all methods are called there. Private to uring_disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace kvgate::storage {

class Ring {
 public:
  // What comes back for a prepared operation: its tag, and bytes or -errno.
  using Completion = std::function<void(uint64_t tag, int32_t result)>;

  Ring();
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // Room for `entries` prepared operations at a time, on `fd` (not owned).
  absl::Status Open(uint32_t entries, int fd);
  // The fallbacks taken: "no DEFER_TASKRUN; …".
  const std::string& note() const { return note_; }

  // Prepare one operation; there is room for `entries` + a ReadEvent in flight.
  void Read(uint64_t offset, std::byte* data, uint64_t bytes, uint64_t tag);
  void Write(uint64_t offset, const std::byte* data, uint64_t bytes, uint64_t tag);
  void Fdatasync(uint64_t tag);
  // Ends once the eventfd `fd` was written to; `count` stays alive until then.
  void ReadEvent(int fd, uint64_t* count, uint64_t tag);

  // Submits what was prepared, waits for at least one completion but no longer than `limit`
  // (InfiniteDuration: no limit), and hands over all completions.
  void SubmitAndWait(absl::Duration limit, const Completion& completion);

  // Fixed buffers. `memory` is at most 64 MiB. False: the kernel refused (memlock, no table); plain
  // buffers go on working.
  bool AddBuffer(std::span<std::byte> memory);
  // Forgets every buffer that lies inside `memory`.
  void RemoveBuffers(std::span<std::byte> memory);
  // Reads and writes that were prepared on fixed buffers.
  uint64_t fixed_transfers() const;

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
  std::string note_;
};

}  // namespace kvgate::storage
