// SPDX-License-Identifier: Apache-2.0
#include "client/core/env.h"

#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "client/core/grpc_library.h"

namespace kvgate::client {
namespace {

int64_t MonotonicNow() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

bool SocketExists(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
}

uint64_t DrawSeed() {
  uint64_t seed = 0;
  // Fails only before the kernel's pool is ready; clock and process differ then too.
  if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed)) {
    seed = static_cast<uint64_t>(MonotonicNow()) * 0x9e3779b97f4a7c15u ^
           static_cast<uint64_t>(getpid());
  }
  return seed;
}

std::string ReadToken(const std::string& path, std::string* token) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return "token_file " + path + ": cannot be read, or is empty";
  const size_t end = line.find_last_not_of(" \t\r");
  line.resize(end == std::string::npos ? 0 : end + 1);
  const std::string wrong = CheckToken(line);
  if (line.empty() || !wrong.empty()) {
    return "token_file " + path +
           ": its first line is not a token of 1 to 256 printable characters";
  }
  *token = line;
  return "";
}

}  // namespace

ClientEnv ClientEnv::Real() {
  ClientEnv env;
  env.now = MonotonicNow;
  env.process_id = [] { return static_cast<int>(getpid()); };
  env.socket_exists = SocketExists;
  env.read_token = ReadToken;
  env.connect_local = ConnectLocal;
  env.connect_grpc = ConnectGrpc;
  env.seed = DrawSeed();
  return env;
}

Options WithEnvironment(Options options) {
  if (!options.token.empty() || !options.token_file.empty()) return options;
  if (const char* path = std::getenv("KVGATE_TOKEN_FILE")) options.token_file = path;
  if (!options.token_file.empty()) return options;
  if (const char* token = std::getenv("KVGATE_TOKEN")) options.token = token;
  return options;
}

std::unique_ptr<Client> Client::Create(const Options& options, std::string* error) {
  return CreateClient(WithEnvironment(options), ClientEnv::Real(), error);
}

}  // namespace kvgate::client
