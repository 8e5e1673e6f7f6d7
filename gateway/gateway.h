// SPDX-License-Identifier: Apache-2.0
//
// Gateway: one whole daemon. It owns every room and knows in which order they start and stop.
//
// Start: checks, store, namespaces, telemetry, local doors, gRPC doors, admin, metrics; then it
// waits a second at most for the rest of recovery, which goes on while the doors are open. When
// that fails, the process gets SIGTERM from itself, and Failure says why. Stop: the reverse; first
// every door refuses new calls ("draining"), then running ones finish within the limit, then the
// store writes out what is buffered and seals. Threads: Start and Stop from one thread. Stop (or
// the destructor, at once) joins everything; neither ends while a request hangs in the kernel, for
// which stop_guard.h is there. Errors: canonical, one line that says what to do.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/config.h"

namespace kvgate::gateway {

class Gateway {
 public:
  static absl::StatusOr<std::unique_ptr<Gateway>> Start(const Config& config);
  virtual ~Gateway() = default;

  // Idempotent. Not OK when buffered blocks could not be written out in time.
  virtual absl::Status Stop(absl::Duration limit) = 0;

  // SIGHUP: reads what stands in files of its own again. Not OK: nothing changed.
  virtual absl::Status Reload() = 0;

  // Takes every lock that a call takes, and gives it back: it hangs where calls would hang. For a
  // watchdog; from any thread, between Start and Stop.
  virtual void Probe() = 0;

  // Why it cannot go on; OK as long as it can. From any thread.
  virtual absl::Status Failure() const = 0;

  // "ready grpc=… local=… admin=… metrics=… incarnation=…"
  virtual std::string ReadyLine() const = 0;
};

}  // namespace kvgate::gateway
