// SPDX-License-Identifier: Apache-2.0
//
// GrpcServer: one gRPC door: the unix socket of a tenant, TCP, or the operator's socket.
//
// Promises: the tenant of a call is that of the door that it came through: each door is a server of
// its own with a service that was built for its tenant, so two cannot be confused. With tokens
// (ServiceDeps) every call but those of the operator's socket shows one of that tenant's; on TCP
// the token names the tenant. Health (grpc.health.v1) is served everywhere, reflection on unix
// sockets and loopback only; a message above 69 MiB is refused; what Offers promise and Sets bring
// stays under the budget (receive_budget.h). gRPC's own quota, which ends streams without a word,
// stands one message above. Threads: gRPC's own. Drain() tells health watchers that this door
// closes. Stop() waits for running calls within the limit and for nothing else: connections without
// a call, and clients that answer no pings, get 250 ms of it to hear GOAWAY. What still runs then
// is cancelled; joins. The owner has set ServiceDeps::draining before, so that new calls are
// refused. Ownership: ServiceDeps outlives it. Stop removes the socket file. Errors: names the
// address that cannot be listened on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/service/services.h"

namespace kvgate::gateway {

struct GrpcServerOptions {
  // One of the two. A unix path is < 108 B; an old file there is replaced: check that it is dead.
  std::string unix_path;
  std::string tcp;  // host:port, port 0 = any
  uint32_t unix_mode = 0600;
  std::string tenant;  // of everybody who comes through this door
  bool admin = false;  // serve Admin instead of KvCache
  uint64_t receive_bytes_max = 256ull << 20;
};

class GrpcServer {
 public:
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const GrpcServerOptions& options,
                                                           const ServiceDeps& deps);
  ~GrpcServer();  // as Stop(0)
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  int tcp_port() const;  // 0: no TCP
  void Drain();
  void Stop(absl::Duration limit);

 private:
  struct Impl;
  explicit GrpcServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The most that gRPC holds of messages that it receives through such a door.
uint64_t ReceiveQuota(const GrpcServerOptions& options);

// "127.0.0.1:80", "[::1]:80" and "localhost:80" are loopback.
bool IsLoopback(const std::string& host_port);

}  // namespace kvgate::gateway
