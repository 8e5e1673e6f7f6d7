// SPDX-License-Identifier: Apache-2.0
//
// kvgated: reads the configuration, runs one Gateway until SIGTERM or SIGINT, exits 0 after a
// graceful stop, 1 with one line on stderr when it could not start or stop properly, 78 when it is
// the configuration (exit_status.h), and 3 when something hung at the stop (stop_guard.h).
#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gateway/config.h"
#include "gateway/exit_status.h"
#include "gateway/gateway.h"
#include "gateway/logging.h"
#include "gateway/memory_parts.h"
#include "gateway/notify.h"
#include "gateway/start_checks.h"
#include "gateway/stop_guard.h"
#include "gateway/telemetry/call_log.h"
#include "gateway/version.h"
#include "proto/wire/error_id.h"

namespace kvgate::gateway {
namespace {

// gRPC buffers whole messages and glibc keeps what was freed, once an arena.
constexpr int kArenasMax = 4;
constexpr int kTrimThresholdBytes = 16 << 20;

int Fail(const absl::Status& status) {
  const std::string text = absl::StrCat("error: ", status.message());
  Log(LogLevel::kError, wire::Tagged(wire::ErrorId::kStartFailed, text));
  return ExitStatusOf(status);
}

// `config check`: all that a start looks at before it opens and writes.
int Check(const Config& config) {
  const absl::StatusOr<StartFindings> found = CheckStart(config);
  if (!found.ok()) return Fail(found.status());
  std::string text;
  for (const std::string& warning : found->warnings) {
    absl::StrAppend(&text, "warning: ", warning, "\n");
  }
  for (const std::string& note : found->notes) absl::StrAppend(&text, "note: ", note, "\n");
  for (const absl::Status& status : found->in_use) {
    absl::StrAppend(&text, "note: ", status.message(), "; a start needs it free\n");
  }
  std::fputs(absl::StrCat(text, "the configuration is good\n").c_str(), stdout);
  return 0;
}

// Before any thread is made, so that all of them inherit it: only main takes these signals.
sigset_t BlockStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signals;
}

void WarnUnlessOk(const absl::Status& status) {
  if (!status.ok()) Log(LogLevel::kWarning, std::string(status.message()));
}

// Nothing when nobody watches; a wish that cannot be read is said, and the daemon serves.
std::unique_ptr<Watchdog> StartWatchdog(const Notifier& manager, Gateway* gateway) {
  const absl::StatusOr<absl::Duration> interval = WatchdogInterval();
  WarnUnlessOk(interval.status());
  if (!interval.ok() || *interval == absl::ZeroDuration()) return nullptr;
  return std::make_unique<Watchdog>(&manager, *interval, [gateway] { gateway->Probe(); });
}

void ApplyLogging(const Config& config) {
  SetLogLevel(config.log_level);
  SetLogFormat(config.log_format);
  SetSlowLimit(absl::Milliseconds(config.slow_ms));
}

// SIGHUP: file and variables are read again. What is wrong changes nothing.
void Reload(int argc, const char* const* argv, Config* running, Gateway* gateway) {
  const absl::StatusOr<CommandLine> line = ParseCommandLine(argc, argv);
  if (!line.ok()) {
    Log(LogLevel::kWarning, absl::StrCat("reload refused: ", line.status().message()));
    return;
  }
  if (const absl::Status status = gateway->Reload(); !status.ok()) {
    Log(LogLevel::kWarning, absl::StrCat("reload refused: ", status.message()));
    return;
  }
  const std::vector<std::string> restart = ApplyReload(line->config, running);
  ApplyLogging(*running);
  Log(LogLevel::kInfo, restart.empty() ? std::string("reloaded")
                                       : absl::StrCat("reloaded; a restart is needed for ",
                                                      absl::StrJoin(restart, ", ")));
}

int Main(int argc, char** argv) {
  absl::StatusOr<CommandLine> line = ParseCommandLine(argc, argv);
  if (!line.ok()) return Fail(line.status());
  if (!line->print.empty()) {
    std::fputs(line->print.c_str(), stdout);
    if (line->effective) std::fputs(MemoryAsComments(line->config).c_str(), stdout);
    return 0;
  }
  if (line->check) return Check(line->config);
  Config config = line->config;
  ApplyLogging(config);
  mallopt(M_ARENA_MAX, kArenasMax);
  mallopt(M_TRIM_THRESHOLD, kTrimThresholdBytes);
  umask(0077);  // what others may enter or open is opened to them by name
  const sigset_t signals = BlockStopSignals();

  Log(LogLevel::kInfo, absl::StrCat("starting ", Version(), " on ", config.data_dirs.front()));
  const Notifier manager = Notifier::FromEnvironment();
  WarnUnlessOk(manager.Starting("starting: reading what is on disk"));
  std::optional<StopGuard> guard;  // before the gateway: watches its end too
  absl::StatusOr<std::unique_ptr<Gateway>> gateway = Gateway::Start(config);
  if (!gateway.ok()) return Fail(gateway.status());
  // Whatever the level: programs wait for this line.
  Log(LogLevel::kError, (*gateway)->ReadyLine());
  WarnUnlessOk(manager.Ready((*gateway)->ReadyLine()));
  std::unique_ptr<Watchdog> watchdog = StartWatchdog(manager, gateway->get());

  int number = 0;
  while (sigwait(&signals, &number) == 0 && number == SIGHUP) {
    WarnUnlessOk(manager.Reloading());
    Reload(argc, argv, &config, gateway->get());
    WarnUnlessOk(manager.Ready((*gateway)->ReadyLine()));
  }
  Log(LogLevel::kInfo, absl::StrCat("stopping on signal ", number));
  const absl::Duration limit = absl::Milliseconds(config.drain_ms);
  guard.emplace(limit + kStopSlack);
  WarnUnlessOk(manager.Stopping("draining", limit + kStopSlack + kStopSlack));
  watchdog.reset();
  absl::Status stopped = (*gateway)->Failure();
  stopped.Update((*gateway)->Stop(limit));
  gateway->reset();
  if (!stopped.ok()) return Fail(stopped);
  Log(LogLevel::kInfo, "stopped");
  return 0;
}

}  // namespace
}  // namespace kvgate::gateway

int main(int argc, char** argv) { return kvgate::gateway::Main(argc, argv); }
