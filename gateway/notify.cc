// SPDX-License-Identifier: Apache-2.0
#include "gateway/notify.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gateway/logging.h"
#include "proto/wire/error_id.h"

namespace kvgate::gateway {
namespace {

std::string ManagerText(std::string text) {
  return wire::Tagged(wire::ErrorId::kServiceManager, std::move(text));
}

constexpr timeval kSendLimit = {.tv_sec = 1, .tv_usec = 0};

// A line break would begin the next assignment.
std::string StatusLine(std::string_view text) {
  std::string line = "STATUS=";
  line.append(text);
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

int64_t MonotonicMicroseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::ToInt64Microseconds(absl::DurationFromTimespec(now));
}

}  // namespace

Notifier Notifier::FromEnvironment() {
  const char* address = std::getenv("NOTIFY_SOCKET");
  return Notifier(address == nullptr ? "" : address);
}

absl::Status Notifier::Starting(std::string_view status) const { return Send(StatusLine(status)); }

absl::Status Notifier::Ready(std::string_view status) const {
  return Send(absl::StrCat("READY=1\n", StatusLine(status)));
}

absl::Status Notifier::Reloading() const {
  return Send(absl::StrCat("RELOADING=1\nMONOTONIC_USEC=", MonotonicMicroseconds()));
}

absl::Status Notifier::Stopping(std::string_view status, absl::Duration limit) const {
  return Send(absl::StrCat("STOPPING=1\n", StatusLine(status),
                           "\nEXTEND_TIMEOUT_USEC=", absl::ToInt64Microseconds(limit)));
}

absl::Status Notifier::Alive() const { return Send("WATCHDOG=1"); }

absl::Status Notifier::Send(const std::string& message) const {
  if (address_.empty()) return absl::OkStatus();
  sockaddr_un address{};
  const bool known = address_.front() == '/' || address_.front() == '@';
  if (!known || address_.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(ManagerText(
        absl::StrCat("NOTIFY_SOCKET: \"", address_, "\" is neither a path nor @name, of at most ",
                     sizeof(address.sun_path) - 1, " bytes")));
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, address_.data(), address_.size());
  if (address_.front() == '@') address.sun_path[0] = '\0';
  const auto failed = [this](const char* what) {
    const absl::Status status =
        absl::ErrnoToStatus(errno, absl::StrCat("NOTIFY_SOCKET: ", address_, ": ", what));
    return absl::Status(status.code(), ManagerText(std::string(status.message())));
  };
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return failed("socket");
  // A manager that does not read must not hold the daemon.
  absl::Status status;
  if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kSendLimit, sizeof(kSendLimit)) != 0) {
    status = failed("setsockopt");
  } else if (sendto(fd, message.data(), message.size(), MSG_NOSIGNAL,
                    reinterpret_cast<const sockaddr*>(&address),
                    static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size())) <
             0) {
    status = failed("send");
  }
  close(fd);
  return status;
}

absl::StatusOr<absl::Duration> WatchdogInterval() {
  const char* interval = std::getenv("WATCHDOG_USEC");
  if (interval == nullptr) return absl::ZeroDuration();
  int64_t microseconds = 0;
  if (!absl::SimpleAtoi(interval, &microseconds) || microseconds <= 0) {
    return absl::InvalidArgumentError(ManagerText(
        absl::StrCat("WATCHDOG_USEC: \"", interval, "\" is not a number of microseconds")));
  }
  const char* meant = std::getenv("WATCHDOG_PID");
  if (meant != nullptr && meant != std::to_string(getpid())) return absl::ZeroDuration();
  return absl::Microseconds(microseconds);
}

Watchdog::Watchdog(const Notifier* notifier, absl::Duration interval, std::function<void()> prove)
    : notifier_(notifier),
      prove_(std::move(prove)),
      thread_([this, interval] { Loop(interval / 3); }) {}

Watchdog::~Watchdog() {
  stopped_.Notify();
  thread_.join();
}

void Watchdog::Loop(absl::Duration pause) {
  pthread_setname_np(pthread_self(), "kvgate-alive");
  bool reached = true;
  do {
    prove_();
    const absl::Status sent = notifier_->Alive();
    // Once: it would be said again at every beat.
    if (!sent.ok() && reached) Log(LogLevel::kWarning, std::string(sent.message()));
    reached = sent.ok();
  } while (!stopped_.WaitForNotificationWithTimeout(pause));
}

}  // namespace kvgate::gateway
