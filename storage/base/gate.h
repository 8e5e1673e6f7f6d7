// SPDX-License-Identifier: Apache-2.0
//
// Gate: how a service stops. Work enters and leaves; Close refuses new work and waits for what is
// inside. Close may be called again (it then only waits). The destructor closes.
// Thread-safe. Close must not be called by work that is inside: it would wait for itself.
//
//   Gate::Pass pass(gate_);
//   if (!pass) return absl::CancelledError("stopping");
#pragma once

#include <cstdint>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace kvgate::storage {

class Gate {
 public:
  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate() { Close(); }

  // False once Close was called. Each true needs one Leave.
  bool TryEnter() {
    absl::MutexLock lock(&mutex_);
    if (closed_) return false;
    ++inside_;
    return true;
  }

  void Leave() {
    absl::MutexLock lock(&mutex_);
    --inside_;
  }

  void Close() {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    mutex_.Await(absl::Condition(
        +[](int64_t* inside) { return *inside == 0; }, &inside_));
  }

  bool closed() const {
    absl::MutexLock lock(&mutex_);
    return closed_;
  }

  // Inside for as long as it lives; false when the gate refused. Movable, so that a callback can
  // carry it.
  class Pass {
   public:
    explicit Pass(Gate& gate) : gate_(gate.TryEnter() ? &gate : nullptr) {}
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&&) = delete;
    ~Pass() {
      if (gate_ != nullptr) gate_->Leave();
    }
    explicit operator bool() const { return gate_ != nullptr; }

   private:
    Gate* gate_;
  };

 private:
  mutable absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t inside_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace kvgate::storage
