// SPDX-License-Identifier: Apache-2.0
#include "gateway/local/workers.h"

#include <utility>

#include "storage/base/thread_name.h"

namespace kvgate::gateway {

Workers::Workers(uint32_t threads) {
  for (uint32_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

bool Workers::Post(std::function<void()> work) {
  absl::MutexLock lock(&mu_);
  if (stopped_) return false;
  queue_.push_back(std::move(work));
  return true;
}

void Workers::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopped_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Workers::Run() {
  storage::SetThreadName("kv-local-work");
  const auto ready = [this] {
    mu_.AssertReaderHeld();
    return stopped_ || !queue_.empty();
  };
  while (true) {
    std::function<void()> work;
    {
      absl::MutexLock lock(&mu_, absl::Condition(&ready));
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace kvgate::gateway
