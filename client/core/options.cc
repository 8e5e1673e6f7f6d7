// SPDX-License-Identifier: Apache-2.0
#include <sys/un.h>

#include "client/core/env.h"

namespace kvgate::client {
namespace {

constexpr size_t kNameBytesMax = 63;
constexpr size_t kTokenBytesMax = 256;
constexpr size_t kSocketPathBytesMax = sizeof(sockaddr_un::sun_path) - 1;
constexpr uint64_t kStagingBytesMax = 64ull << 30;

std::string OverLimit(const char* field, uint64_t value, uint64_t limit) {
  return std::string(field) + ": " + std::to_string(value) + " is over the limit of " +
         std::to_string(limit);
}

}  // namespace

std::string CheckToken(const std::string& token) {
  if (token.size() > kTokenBytesMax) {
    return OverLimit("token bytes", token.size(), kTokenBytesMax);
  }
  for (const char c : token) {
    if (c <= ' ' || c >= 0x7f) return "token: a character of it is not a printable one";
  }
  return "";
}

std::string CheckOptions(const Options& options) {
  const std::string& transport = options.transport;
  if (transport != "auto" && transport != "local" && transport != "grpc") {
    return "transport: '" + transport + "' is none of auto, local, grpc";
  }
  if (transport == "local" && options.local_socket.empty()) {
    return "local_socket: empty, and transport is local";
  }
  if (transport == "grpc" && options.grpc_target.empty()) {
    return "grpc_target: empty, and transport is grpc";
  }
  if (options.local_socket.empty() && options.grpc_target.empty()) {
    return "local_socket and grpc_target: both are empty";
  }
  if (options.local_socket.size() > kSocketPathBytesMax) {
    return OverLimit("local_socket bytes", options.local_socket.size(), kSocketPathBytesMax);
  }
  if (options.client_name.size() > kNameBytesMax) {
    return OverLimit("client_name bytes", options.client_name.size(), kNameBytesMax);
  }
  if (!options.token.empty() && !options.token_file.empty()) {
    return "token and token_file: both are given; one of them counts";
  }
  if (std::string wrong = CheckToken(options.token); !wrong.empty()) return wrong;
  if (options.staging_bytes > kStagingBytesMax) {
    return OverLimit("staging_bytes", options.staging_bytes, kStagingBytesMax);
  }
  if (static_cast<uint8_t>(options.verify) > static_cast<uint8_t>(Verify::kNever)) {
    return OverLimit("verify", static_cast<uint8_t>(options.verify),
                     static_cast<uint8_t>(Verify::kNever));
  }
  if (options.connect_timeout_ms == 0) return "connect_timeout_ms: must not be 0";
  if (options.breaker_failures == 0) return "breaker_failures: must not be 0";
  if (options.breaker_open_ms == 0) return "breaker_open_ms: must not be 0";
  return "";
}

}  // namespace kvgate::client
