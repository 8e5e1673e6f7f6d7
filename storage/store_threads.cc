// SPDX-License-Identifier: Apache-2.0
#include "storage/store_threads.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "storage/base/thread_name.h"

namespace kvgate::storage {

Workers::Workers(int threads) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this, i] {
      SetThreadName(absl::StrCat("kv-work-", i));
      Run();
    });
  }
}

void Workers::Post(std::function<void()> work) {
  {
    absl::MutexLock lock(&mu_);
    if (!stop_) {
      queue_.push_back(std::move(work));
      return;
    }
  }
  work();
}

void Workers::Run() {
  while (true) {
    std::function<void()> work;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(this, &Workers::Ready));
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

void Workers::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stop_ = true;
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

Timers::Timers(const Clock* clock) : clock_(clock) {
  thread_ = std::thread([this] {
    SetThreadName("kv-timer");
    Run();
  });
}

Timers::Id Timers::Schedule(absl::Time at, std::function<void()> run) {
  absl::MutexLock lock(&mu_);
  const Id id{at, next_++};
  due_.emplace(id, std::move(run));
  if (due_.begin()->first == id) changed_.Signal();
  return id;
}

bool Timers::Cancel(const Id& id) {
  absl::MutexLock lock(&mu_);
  return due_.erase(id) > 0;
}

void Timers::Run() {
  constexpr absl::Duration kLook = absl::Milliseconds(5);
  absl::MutexLock lock(&mu_);
  while (!stop_) {
    if (due_.empty()) {
      changed_.Wait(&mu_);
      continue;
    }
    const absl::Duration left = due_.begin()->first.first - clock_->Now();
    if (left > absl::ZeroDuration()) {
      changed_.WaitWithTimeout(&mu_, std::min(left, kLook));
      continue;
    }
    std::function<void()> run = std::move(due_.begin()->second);
    due_.erase(due_.begin());
    mu_.Unlock();
    run();
    run = nullptr;  // what it holds ends outside the lock
    mu_.Lock();
  }
}

void Timers::Stop() {
  std::map<Id, std::function<void()>> dropped;
  {
    absl::MutexLock lock(&mu_);
    stop_ = true;
    dropped.swap(due_);
    changed_.Signal();
  }
  if (thread_.joinable()) thread_.join();
}

}  // namespace kvgate::storage
