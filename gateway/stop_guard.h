// SPDX-License-Identifier: Apache-2.0
//
// StopGuard: ends the process when a stop does not.
//
// A request that hangs in the kernel cannot be cancelled, and whoever owns its buffer waits for it.
// A daemon that is told to stop leaves without it: what was acknowledged as LOGGED or DEVICE is in
// the log, as after kill -9, and the next start recovers it.
// Promises: unless destroyed before `limit`, one line on stderr and _exit(kExitStuck). Threads: one
// of its own, joined by the destructor.
#pragma once

#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace kvgate::gateway {

inline constexpr int kExitStuck = 3;
// What a stop may take beyond its limit: sealing, joining, closing files.
inline constexpr absl::Duration kStopSlack = absl::Seconds(5);

class StopGuard {
 public:
  explicit StopGuard(absl::Duration limit);
  ~StopGuard();
  StopGuard(const StopGuard&) = delete;
  StopGuard& operator=(const StopGuard&) = delete;

 private:
  absl::Notification stopped_;
  std::thread thread_;
};

}  // namespace kvgate::gateway
