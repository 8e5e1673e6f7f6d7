// SPDX-License-Identifier: Apache-2.0
//
// RunningCalls: how many calls of a gRPC door have not ended, so that a stop waits for them and for
// nothing else. gRPC's own Shutdown waits for connections too, and one whose client answers no
// pings holds it for its whole limit.
//
// Promises: a call counts from its arrival until nothing of it is left here; a Get until its answer
// was sent or given up. Threads: thread-safe. Ownership: shared by those who count.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace kvgate::gateway {

class RunningCalls {
 public:
  class Token {
   public:
    explicit Token(std::shared_ptr<RunningCalls> calls) : calls_(std::move(calls)) {
      calls_->count_.fetch_add(1, std::memory_order_relaxed);
    }
    ~Token() { calls_->End(); }
    Token(const Token&) = delete;
    Token& operator=(const Token&) = delete;

   private:
    const std::shared_ptr<RunningCalls> calls_;
  };

  int64_t count() const { return count_.load(std::memory_order_acquire); }

  // False when some still run after `limit`.
  bool WaitForNone(absl::Duration limit) {
    absl::MutexLock lock(&mu_);
    return mu_.AwaitWithTimeout(absl::Condition(
                                    +[](RunningCalls* calls) { return calls->count() == 0; }, this),
                                limit);
  }

 private:
  void End() {
    if (count_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    absl::MutexLock lock(&mu_);  // its release makes WaitForNone look again
  }

  std::atomic<int64_t> count_{0};
  absl::Mutex mu_;
};

}  // namespace kvgate::gateway
