// SPDX-License-Identifier: Apache-2.0
//
// PoolView: the daemon's pool as this client sees it: extents, mapped read-only when first needed,
// and the generation array.
//
// Every place from the wire is checked against what is mapped. Threads: thread-safe; an extent once
// mapped stays until the view is destroyed, so spans are good as long as the view is held. After
// Void no place is valid.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "client/client.h"
#include "client/core/mutex.h"
#include "client/local/channel.h"

namespace kvgate::client {

// A mapping that is undone at the end. Move-only.
class Mapping {
 public:
  Mapping() = default;
  // Empty when mmap fails.
  static Mapping Of(int fd, uint64_t bytes, bool writable);
  Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Mapping();
  std::span<std::byte> bytes() const { return bytes_; }
  std::span<std::byte> Release() { return std::exchange(bytes_, {}); }

 private:
  std::span<std::byte> bytes_;
};

class PoolView {
 public:
  static constexpr uint32_t kExtentsMax = 4096;

  using Capability = std::array<uint8_t, 16>;

  // `channel` outlives it.
  PoolView(Channel* channel, const Capability& capability, Mapping generations)
      : channel_(channel), capability_(capability), generations_(std::move(generations)) {}

  // The bytes of a place; maps the extent if need be, which asks the daemon.
  Outcome Find(const local::PlaceWire& place, Deadline deadline, std::span<const std::byte>* bytes);

  // True when the generation of a place is still the one it was answered with. Call it after the
  // copy: it fences before it reads.
  bool StillValid(const local::PlaceWire& place) const;

  // The attachment is over, and with it every lease.
  void Void() { void_.store(true, std::memory_order_release); }

 private:
  Outcome Map(uint32_t extent, Deadline deadline);

  // Constant.
  Channel* const channel_;
  const Capability capability_;
  const Mapping generations_;

  std::atomic<bool> void_{false};
  // Set once each, published by the size.
  std::array<std::atomic<const std::byte*>, kExtentsMax> bases_{};
  std::array<std::atomic<uint64_t>, kExtentsMax> sizes_{};

  Mutex mutex_;
  std::vector<Mapping> mappings_ KVGATE_GUARDED_BY(mutex_);
};

}  // namespace kvgate::client
