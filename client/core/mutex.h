// SPDX-License-Identifier: Apache-2.0
//
// Mutex and CondVar for libkvgate.so: std's, with the annotations that clang's -Wthread-safety
// checks. (Abseil's do the same for the daemon, but the library may need nothing but libc.)
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#if defined(__clang__)
#define KVGATE_TS(x) __attribute__((x))
#else
#define KVGATE_TS(x)
#endif
#define KVGATE_GUARDED_BY(mutex) KVGATE_TS(guarded_by(mutex))
#define KVGATE_REQUIRES(mutex) KVGATE_TS(exclusive_locks_required(mutex))
#define KVGATE_EXCLUDES(mutex) KVGATE_TS(locks_excluded(mutex))

namespace kvgate::client {

class KVGATE_TS(capability("mutex")) Mutex {
 public:
  void Lock() KVGATE_TS(exclusive_lock_function()) { mutex_.lock(); }
  void Unlock() KVGATE_TS(unlock_function()) { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class KVGATE_TS(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) KVGATE_TS(exclusive_lock_function(mutex)) : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() KVGATE_TS(unlock_function()) { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

class CondVar {
 public:
  // Waits at most `ns` nanoseconds, or not at all when that is not positive.
  void WaitFor(Mutex& mutex, int64_t ns) KVGATE_REQUIRES(mutex) {
    if (ns <= 0) return;
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait_until(lock, std::chrono::steady_clock::now() + std::chrono::nanoseconds(ns));
    lock.release();
  }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace kvgate::client
