// SPDX-License-Identifier: Apache-2.0
//
// Pool bytes in answers that gRPC has not sent yet: how many there are, and how many more a door
// may add.
//
// Promises: one client that does not read does not take all from the others. An answer gets at most
// half of what its door has left, so a next one always gets something; a TCP connection holds at
// most half of its door's bytes (gRPC gives all clients of a unix socket the same peer name: there
// the door, which is the tenant, is the unit). A door that has nothing unsent may send one whole
// message, so that every value can be sent whatever the limit.
// Threads: thread-safe. Ownership: a count lives as long as any slice that it counts.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"

namespace kvgate::gateway {

// A number that is counted in its parents too.
class UnsentCount {
 public:
  explicit UnsentCount(std::shared_ptr<UnsentCount> parent = nullptr)
      : parent_(std::move(parent)) {}
  void Add(int64_t bytes) {
    for (UnsentCount* at = this; at != nullptr; at = at->parent_.get()) {
      at->bytes_.fetch_add(bytes, std::memory_order_relaxed);
    }
  }
  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  const std::shared_ptr<UnsentCount> parent_;
  std::atomic<int64_t> bytes_{0};
};
using UnsentGauge = std::shared_ptr<UnsentCount>;

class UnsentDoor {
 public:
  // `process` counts the bytes of all doors.
  UnsentDoor(UnsentGauge process, uint64_t bytes_max);

  // A right to add `bytes` to `gauge`; held until the answer's slices count for themselves.
  class Grant {
   public:
    Grant(UnsentGauge gauge, uint64_t bytes) : gauge_(std::move(gauge)), bytes_(bytes) {
      gauge_->Add(static_cast<int64_t>(bytes_));
    }
    ~Grant() { gauge_->Add(-static_cast<int64_t>(bytes_)); }
    Grant(const Grant&) = delete;
    Grant& operator=(const Grant&) = delete;
    const UnsentGauge& gauge() const { return gauge_; }
    uint64_t bytes() const { return bytes_; }

   private:
    const UnsentGauge gauge_;
    const uint64_t bytes_;
  };

  // At most `wanted`, perhaps 0. `peer` as gRPC names it.
  std::unique_ptr<Grant> Ask(const std::string& peer, uint64_t wanted);

 private:
  UnsentGauge GaugeOf(const std::string& peer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const UnsentGauge door_;
  const uint64_t bytes_max_;

  absl::Mutex mu_;
  // TCP connections that have, or lately had, bytes unsent.
  absl::flat_hash_map<std::string, std::weak_ptr<UnsentCount>> peers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace kvgate::gateway
