// SPDX-License-Identifier: Apache-2.0
//
// Workers: a few threads for copies and blocking calls. First come, first served; the queue is
// bounded by the calls in flight of all clients. Thread-safe; Stop runs what is queued and joins.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "gateway/local/door_state.h"

namespace kvgate::gateway {

class Workers final : public WorkQueue {
 public:
  explicit Workers(uint32_t threads);
  ~Workers() override { Stop(); }

  bool Post(std::function<void()> work) override;
  void Stop();

 private:
  void Run();

  absl::Mutex mu_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;  // touched by the constructor and Stop alone
};

}  // namespace kvgate::gateway
