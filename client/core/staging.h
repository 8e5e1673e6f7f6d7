// SPDX-License-Identifier: Apache-2.0
//
// Staging: memory that callers fill before a Set. It is the transport's own (shared with the
// gateway) when there is one attached that has some, ordinary memory else; the sum of both is
// bounded, and asking never waits.
//
// A piece of a transport that broke stays readable and writable until it is freed: its transport is
// kept until then. Threads: thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "client/core/mutex.h"
#include "client/transport.h"

namespace kvgate::client {

class Staging {
 public:
  static constexpr size_t kAlignment = 64;

  explicit Staging(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Null: none is left. `transport` may be null.
  std::byte* Alloc(size_t bytes, const std::shared_ptr<Transport>& transport);
  void Free(std::byte* memory);

  uint64_t bytes_in_use() const;

 private:
  struct Block {
    size_t bytes = 0;
    std::shared_ptr<Transport> owner;  // null: ordinary memory
  };
  bool Reserve(size_t bytes);
  static void Release(std::byte* memory, const Block& block);

  // Constant.
  const uint64_t bytes_max_;

  mutable Mutex mutex_;
  uint64_t bytes_in_use_ KVGATE_GUARDED_BY(mutex_) = 0;
  std::unordered_map<std::byte*, Block> blocks_ KVGATE_GUARDED_BY(mutex_);
};

}  // namespace kvgate::client
