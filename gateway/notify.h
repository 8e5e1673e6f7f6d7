// SPDX-License-Identifier: Apache-2.0
//
// What the service manager is told: the protocol of sd_notify(3), without its library.
//
// Notifier sends datagrams to the socket that NOTIFY_SOCKET names (a path, or @name of the abstract
// namespace). Without one every message is OK and goes nowhere. Watchdog proves at a third of the
// interval that the daemon is alive: it sends WATCHDOG=1 only after `prove` has returned, so a
// daemon whose locks hang falls silent and is restarted.
// Threads: Notifier is immutable and its sends are thread-safe; Watchdog has one thread, joined by
// the destructor, which waits for a `prove` that runs. Ownership: Watchdog borrows the Notifier.
// Errors: a status; whoever cannot reach its manager goes on. Limits: a send waits 1 s at most.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace kvgate::gateway {

class Notifier {
 public:
  static Notifier FromEnvironment();
  // Empty: nobody listens.
  explicit Notifier(std::string address) : address_(std::move(address)) {}

  // `status` is the line that `systemctl status` shows.
  absl::Status Starting(std::string_view status) const;
  absl::Status Ready(std::string_view status) const;
  // A reload begins; Ready() ends it.
  absl::Status Reloading() const;
  // The manager waits `limit` for the end, whatever its own limit is.
  absl::Status Stopping(std::string_view status, absl::Duration limit) const;
  absl::Status Alive() const;

 private:
  absl::Status Send(const std::string& message) const;

  const std::string address_;
};

// WATCHDOG_USEC, when it is meant for this process (WATCHDOG_PID); zero when nobody watches.
absl::StatusOr<absl::Duration> WatchdogInterval();

class Watchdog {
 public:
  // `prove` runs at once and then again and again; it returns when the daemon works.
  Watchdog(const Notifier* notifier, absl::Duration interval, std::function<void()> prove);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  void Loop(absl::Duration pause);

  const Notifier* const notifier_;
  const std::function<void()> prove_;
  absl::Notification stopped_;
  std::thread thread_;
};

}  // namespace kvgate::gateway
