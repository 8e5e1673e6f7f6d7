// SPDX-License-Identifier: Apache-2.0
//
// Loads libkvgate_grpc.so on demand (dlopen, RTLD_LOCAL) and connects through it. The library is
// loaded once a path and never unloaded: gRPC has threads of its own. Thread-safe.
#pragma once

#include <memory>

#include "client/transport.h"

namespace kvgate::client {

// Null with *outcome = kUnavailable when the library is missing or of another build.
std::unique_ptr<Transport> ConnectGrpc(const Options& options, Deadline deadline, Outcome* outcome);

}  // namespace kvgate::client
