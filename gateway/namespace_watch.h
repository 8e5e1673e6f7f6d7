// SPDX-License-Identifier: Apache-2.0
//
// NamespaceWatch: looks every few seconds for namespaces that ask and never find (policy/no_hits.h)
// and warns, at most once an hour and namespace.
// Threads: one of its own, joined by the destructor; Look and without_hits are thread-safe.
// Ownership: the store outlives it. Never fails.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gateway/policy/no_hits.h"
#include "storage/store.h"

namespace kvgate::gateway {

class NamespaceWatch {
 public:
  static constexpr absl::Duration kInterval = absl::Seconds(5);
  static constexpr absl::Duration kRepeat = absl::Hours(1);
  using Warn = std::function<void(const NoHits&)>;

  // An infinite interval: only Look looks.
  NamespaceWatch(const storage::Store* store, absl::Duration interval, Warn warn);
  ~NamespaceWatch();
  NamespaceWatch(const NamespaceWatch&) = delete;
  NamespaceWatch& operator=(const NamespaceWatch&) = delete;

  void Look(absl::Time now);
  uint64_t without_hits() const { return without_hits_.load(std::memory_order_relaxed); }

 private:
  const storage::Store* const store_;
  const Warn warn_;
  std::atomic<uint64_t> without_hits_{0};

  absl::Mutex mu_;
  std::map<uint32_t, absl::Time> warned_ ABSL_GUARDED_BY(mu_);  // at most as many as namespaces

  absl::Notification stopped_;
  std::thread thread_;
};

// The warning as it stands in the log.
void LogNoHits(const NoHits& no_hits);

}  // namespace kvgate::gateway
