// SPDX-License-Identifier: Apache-2.0
#include "tests/crash/daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <utility>

namespace kvgate::testing {

namespace {
constexpr std::chrono::seconds kStartLimit{30};  // hang detector; the promise is 1 s
}

Daemon::Daemon(std::string binary, std::string data_dir, std::vector<std::string> flags)
    : binary_(std::move(binary)), data_dir_(std::move(data_dir)), flags_(std::move(flags)) {}

Daemon::~Daemon() { Kill(); }

std::string Daemon::Start() {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return "pipe2 failed";
  std::vector<std::string> args = {binary_, "--data-dir=" + data_dir_};
  args.insert(args.end(), flags_.begin(), flags_.end());
  std::vector<char*> argv;
  for (auto& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(pipe_fds[1], STDERR_FILENO);
    dup2(pipe_fds[1], STDOUT_FILENO);
    execv(binary_.c_str(), argv.data());
    _exit(127);
  }
  close(pipe_fds[1]);
  output_ = pipe_fds[0];
  log_.clear();
  const auto limit = std::chrono::steady_clock::now() + kStartLimit;
  while (log_.find("kvgated ready") == std::string::npos) {
    if (std::chrono::steady_clock::now() > limit) return "not ready in time:\n" + log_;
    pollfd poll_fd{output_, POLLIN, 0};
    if (poll(&poll_fd, 1, 1000) <= 0) continue;
    char buffer[4096];
    const ssize_t n = read(output_, buffer, sizeof buffer);
    if (n <= 0) return "ended before it was ready:\n" + log_;
    log_.append(buffer, static_cast<size_t>(n));
  }
  // What it says later must not fill the pipe and stop it.
  fcntl(output_, F_SETPIPE_SZ, 1 << 20);
  return "";
}

void Daemon::Signal(int signal) {
  if (pid_ > 0) kill(pid_, signal);
}

void Daemon::Kill() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (output_ >= 0) close(output_);
  pid_ = output_ = -1;
}

int Daemon::Stop() {
  int status = -1;
  if (pid_ > 0) {
    kill(pid_, SIGTERM);
    waitpid(pid_, &status, 0);
  }
  pid_ = -1;
  Kill();
  return status;
}

}  // namespace kvgate::testing
