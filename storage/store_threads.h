// SPDX-License-Identifier: Apache-2.0
//
// The store's own threads: Workers run completions that are too long for a Disk's thread, Timers
// run what is due.
//
// Workers: FIFO, `threads` at a time. The queue is bounded by who posts: one item a read or append
// in flight. Stop runs what is queued, then joins; afterwards Post runs the work at once, in the
// caller.
// Timers: `run` is called once, on the timers' thread, when the Clock reached `at`, unless Cancel
// came first. Stop drops what is not due. A Clock that does not pass by itself (tests) is looked at
// every few milliseconds while something is scheduled, and never otherwise.
// Thread-safe, both.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"

namespace kvgate::storage {

class Workers {
 public:
  explicit Workers(int threads);
  ~Workers() { Stop(); }

  void Post(std::function<void()> work);
  void Stop();

 private:
  void Run();
  bool Ready() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stop_ || !queue_.empty(); }

  absl::Mutex mu_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;  // constant until Stop
};

class Timers {
 public:
  using Id = std::pair<absl::Time, uint64_t>;

  explicit Timers(const Clock* clock);
  ~Timers() { Stop(); }

  Id Schedule(absl::Time at, std::function<void()> run);
  // True when it will not run. False: it runs or ran.
  bool Cancel(const Id& id);
  void Stop();

 private:
  void Run();

  const Clock* const clock_;
  absl::Mutex mu_;
  absl::CondVar changed_;
  std::map<Id, std::function<void()>> due_ ABSL_GUARDED_BY(mu_);
  uint64_t next_ ABSL_GUARDED_BY(mu_) = 1;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace kvgate::storage
