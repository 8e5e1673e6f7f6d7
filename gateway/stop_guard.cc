// SPDX-License-Identifier: Apache-2.0
#include "gateway/stop_guard.h"

#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gateway/logging.h"
#include "proto/wire/error_id.h"

namespace kvgate::gateway {

StopGuard::StopGuard(absl::Duration limit)
    : thread_([this, limit] {
        if (stopped_.WaitForNotificationWithTimeout(limit)) return;
        Log(LogLevel::kError,
            wire::Tagged(
                wire::ErrorId::kStopTooLong,
                absl::StrCat("stop: not ended after ", absl::FormatDuration(limit),
                             ": a device or a thread hangs; leaving without it (exit ", kExitStuck,
                             "), what was acknowledged as logged is recovered at the next start")));
        _exit(kExitStuck);
      }) {}

StopGuard::~StopGuard() {
  stopped_.Notify();
  thread_.join();
}

}  // namespace kvgate::gateway
