// SPDX-License-Identifier: Apache-2.0
//
// WorkerPool: a few named threads for the rare calls that may block (Open, Scan), so that gRPC's
// own threads never do. The queue is bounded; a full one refuses. Thread-safe. Stop() (or the
// destructor) refuses new work, runs what is queued and joins.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace kvgate::gateway {

class WorkerPool {
 public:
  WorkerPool(size_t threads, size_t queue_max);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // False when the queue is full or the pool is stopping; then `work` was not taken.
  bool Run(std::function<void()> work);
  void Stop();

 private:
  void Loop();

  const size_t queue_max_;
  absl::Mutex mu_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace kvgate::gateway
