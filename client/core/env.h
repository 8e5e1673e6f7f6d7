// SPDX-License-Identifier: Apache-2.0
//
// ClientEnv: what a client takes from the world, in one place so that tests put theirs there.
// Copyable; its functions are called from any thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "client/client.h"
#include "client/transport.h"

namespace kvgate::client {

struct ClientEnv {
  using Connect =
      std::function<std::unique_ptr<Transport>(const Options&, Deadline, Outcome* outcome)>;

  std::function<int64_t()> now;  // CLOCK_MONOTONIC nanoseconds
  std::function<int()> process_id;
  std::function<bool(const std::string& path)> socket_exists;
  Connect connect_local;
  // Empty, or why there is no token in that file.
  std::function<std::string(const std::string& path, std::string* token)> read_token;
  Connect connect_grpc;  // empty answer with kUnavailable when the library is not there
  uint64_t seed = 0;     // of jitter, sampling and the drawn producer

  static ClientEnv Real();
};

// With the token of the environment where the options name none.
Options WithEnvironment(Options options);

// Empty, or what is wrong with a token: 1 to 256 printable characters are one.
std::string CheckToken(const std::string& token);

// Empty, or what is wrong with these options: field, value and limit.
std::string CheckOptions(const Options& options);

// Client::Create with a world of the caller's.
std::unique_ptr<Client> CreateClient(const Options& options, const ClientEnv& env,
                                     std::string* error);

}  // namespace kvgate::client
