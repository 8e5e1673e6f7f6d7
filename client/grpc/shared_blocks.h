// SPDX-License-Identifier: Apache-2.0
//
// SharedBlocks: staging memory of the gRPC transport. A block that a message refers to stays there
// until both its owner freed it and gRPC let go of the message, so that a Set of staging memory
// needs no copy and a Set that timed out never leaves gRPC with memory that is gone. A block whose
// Set timed out may still be read: free it rather than fill it again. Threads: thread-safe. Limits:
// the client bounds what it asks for.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

namespace kvgate::client {

class SharedBlocks {
 public:
  using Memory = std::shared_ptr<std::byte>;

  std::byte* Alloc(size_t bytes);
  void Free(std::byte* memory);
  // The block in which these bytes lie whole, or null.
  Memory Find(const std::byte* data, size_t bytes) const;

 private:
  struct Block {
    Memory memory;
    size_t bytes = 0;
  };
  mutable std::mutex mutex_;
  std::map<const std::byte*, Block> blocks_;  // guarded by mutex_
};

}  // namespace kvgate::client
