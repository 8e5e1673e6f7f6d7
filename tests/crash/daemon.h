// SPDX-License-Identifier: Apache-2.0
//
// Daemon: a real kvgated as a child process, for tests that kill it.
//
// Start() waits until its ready line was read; Kill() is SIGKILL and reaps. The destructor kills.
// Owned by one thread. Failures to start are told with the daemon's own output.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace kvgate::testing {

class Daemon {
 public:
  Daemon(std::string binary, std::string data_dir, std::vector<std::string> flags);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Empty when ready, else what went wrong.
  std::string Start();
  void Kill();  // SIGKILL
  int Stop();   // SIGTERM, returns the exit status
  void Signal(int signal);
  std::string local_socket() const { return data_dir_ + "/run/local.sock"; }
  std::string grpc_target() const { return "unix:" + data_dir_ + "/run/grpc.sock"; }
  const std::string& log() const { return log_; }  // read so far

 private:
  const std::string binary_, data_dir_;
  const std::vector<std::string> flags_;
  pid_t pid_ = -1;
  int output_ = -1;
  std::string log_;
};

}  // namespace kvgate::testing
