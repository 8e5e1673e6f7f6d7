// SPDX-License-Identifier: Apache-2.0
//
// Tells tsan what absl::Mutex, absl::CondVar and absl::Notification order, under --config=tsan
// only.
//
// Debian's libabsl is not built with tsan, so tsan would report every field that such a mutex
// protects. A program's own definition of a function comes before a shared library's: each one here
// calls the library's, with a release before what lets others in and an acquire after what lets us
// in.

#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

// Of tsan's runtime; it has no header for them.
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);

namespace {

template <typename Function>
Function* Library(const char* symbol) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, symbol));
}

// Acquires at the end of a scope.
struct AcquireAfter {
  ~AcquireAfter() { __tsan_acquire(address); }
  void* address;
};

// Unlock evaluates the conditions of those who wait, still under the lock but after our release:
// what they read would seem to race with the next owner.
struct ReadsIgnored {
  ReadsIgnored() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~ReadsIgnored() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

}  // namespace

// A member function takes `this` as its first argument, so a free function can stand for it.

#define WRAP_ACQUIRE(symbol)                                 \
  extern "C" void symbol(void* it) {                         \
    static auto* const real = Library<void(void*)>(#symbol); \
    real(it);                                                \
    __tsan_acquire(it);                                      \
  }

#define WRAP_RELEASE(symbol)                                 \
  extern "C" void symbol(void* it) {                         \
    static auto* const real = Library<void(void*)>(#symbol); \
    __tsan_release(it);                                      \
    const ReadsIgnored conditions;                           \
    real(it);                                                \
  }

#define WRAP_TRY(symbol)                                     \
  extern "C" bool symbol(void* it) {                         \
    static auto* const real = Library<bool(void*)>(#symbol); \
    const bool taken = real(it);                             \
    if (taken) __tsan_acquire(it);                           \
    return taken;                                            \
  }

// Waits for something: `mutex` is what is given up and taken again, be it held before or not.
#define WRAP_WAIT(symbol, Result, mutex, PARAMETERS, ARGUMENTS)    \
  extern "C" Result symbol PARAMETERS {                            \
    static auto* const real = Library<Result PARAMETERS>(#symbol); \
    const AcquireAfter acquire{mutex};                             \
    __tsan_release(mutex);                                         \
    return real ARGUMENTS;                                         \
  }

#define WRAP_WHEN(symbol) \
  WRAP_WAIT(symbol, void, it, (void* it, const absl::Condition& when), (it, when))
#define WRAP_WHEN_WITHIN(symbol, Limit)                                             \
  WRAP_WAIT(symbol, bool, it, (void* it, const absl::Condition& when, Limit limit), \
            (it, when, limit))

using absl::Duration;
using absl::Time;

WRAP_ACQUIRE(_ZN4absl7debian35Mutex4LockEv)
WRAP_ACQUIRE(_ZN4absl7debian35Mutex10ReaderLockEv)
WRAP_TRY(_ZN4absl7debian35Mutex7TryLockEv)
WRAP_TRY(_ZN4absl7debian35Mutex13ReaderTryLockEv)
WRAP_RELEASE(_ZN4absl7debian35Mutex6UnlockEv)
WRAP_RELEASE(_ZN4absl7debian35Mutex12ReaderUnlockEv)

WRAP_WHEN(_ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE)
WRAP_WHEN(_ZN4absl7debian35Mutex8LockWhenERKNS0_9ConditionE)
WRAP_WHEN(_ZN4absl7debian35Mutex14ReaderLockWhenERKNS0_9ConditionE)
WRAP_WHEN_WITHIN(_ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE, Duration)
WRAP_WHEN_WITHIN(_ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE, Time)
WRAP_WHEN_WITHIN(_ZN4absl7debian35Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE,
                 Duration)
WRAP_WHEN_WITHIN(_ZN4absl7debian35Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE, Time)

WRAP_WAIT(_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE, void, mutex, (void* it, void* mutex),
          (it, mutex))
WRAP_WAIT(_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE, bool, mutex,
          (void* it, void* mutex, Duration limit), (it, mutex, limit))
WRAP_WAIT(_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE, bool, mutex,
          (void* it, void* mutex, Time limit), (it, mutex, limit))

// HasBeenNotified() is inline and reads only the flag, which lies behind the mutex.
extern "C" void _ZN4absl7debian312Notification6NotifyEv(void* it) {
  static auto* const real = Library<void(void*)>("_ZN4absl7debian312Notification6NotifyEv");
  __tsan_release(static_cast<char*>(it) + sizeof(absl::Mutex));
  __tsan_release(it);
  real(it);
}
WRAP_ACQUIRE(_ZNK4absl7debian312Notification19WaitForNotificationEv)
WRAP_WAIT(_ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE, bool, it,
          (void* it, Duration limit), (it, limit))
WRAP_WAIT(_ZNK4absl7debian312Notification31WaitForNotificationWithDeadlineENS0_4TimeE, bool, it,
          (void* it, Time limit), (it, limit))
