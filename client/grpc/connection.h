// SPDX-License-Identifier: Apache-2.0
//
// GrpcConnection: one gRPC connection, and unary calls on it that end at their deadline whatever
// gRPC does. A call object may live longer than the wait for it; it owns all that it touches, so it
// never writes into memory of a caller. Threads: thread-safe; callers block. Its own threads are
// gRPC's.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "client/client.h"

namespace grpc {
class ByteBuffer;
}

namespace kvgate::client {

// Nanoseconds of CLOCK_MONOTONIC, what a Deadline counts.
int64_t MonotonicNow();

class GrpcConnection {
 public:
  virtual ~GrpcConnection() = default;

  // Null with *outcome set when there is no server, or none by the deadline.
  // Each call shows `token` where it is not empty.
  static std::unique_ptr<GrpcConnection> Connect(const std::string& target,
                                                 const std::string& token, Deadline deadline,
                                                 Outcome* outcome);

  // One unary call of raw messages. `request` may be consumed.
  virtual Outcome Call(const char* method, ::grpc::ByteBuffer* request, Deadline deadline,
                       ::grpc::ByteBuffer* response) = 0;
  // The connection is gone.
  virtual bool broken() const = 0;
};

}  // namespace kvgate::client
