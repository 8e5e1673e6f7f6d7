// SPDX-License-Identifier: Apache-2.0
//
// Counts heap allocations of 64 KiB and more that are made on the path of a Get. The store marks
// the path with GetPath on the threads that walk it; an `operator new` that reports here makes the
// count real: //storage:counting_new, which the daemon links, or a test's own. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvgate::storage {

class GetPath {
 public:
  GetPath() { ++depth_; }
  GetPath(const GetPath&) = delete;
  GetPath& operator=(const GetPath&) = delete;
  ~GetPath() { --depth_; }

  // From operator new.
  static void Allocated(size_t bytes) {
    if (bytes >= kLargeBytes && depth_ > 0) CountLarge();
  }
  static uint64_t LargeAllocations();
  // Whether somebody reports allocations; without that the count says nothing.
  static bool Measured();
  static void SetMeasured();

 private:
  static constexpr size_t kLargeBytes = 64 << 10;
  static void CountLarge();
  static thread_local int depth_;
};

}  // namespace kvgate::storage
