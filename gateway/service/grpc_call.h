// SPDX-License-Identifier: Apache-2.0
//
// GrpcCall: one running gRPC call: its times, and its single end, counted by telemetry.
// And the one place where absl::Status becomes grpc::Status. Private to gateway/service: only its
// .cc files include this header, since it knows grpc. Threads: thread-compatible; whoever holds the
// shared_ptr last ends the call. A call that nobody ended ends as INTERNAL in the destructor, so
// that a client never hangs on our mistake.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gateway/service/running_calls.h"
#include "gateway/service/services.h"
#include "gateway/telemetry/call_log.h"
#include "gateway/telemetry/telemetry.h"

namespace grpc {
class CallbackServerContext;
class ServerUnaryReactor;
class Status;
}  // namespace grpc

namespace kvgate::gateway {

grpc::Status ToGrpc(const absl::Status& status);

class GrpcCall {
 public:
  struct Kind {
    Door door;
    Rpc rpc;
  };
  GrpcCall(const ServiceDeps& deps, Kind kind, grpc::CallbackServerContext* context,
           uint64_t bytes_in);
  ~GrpcCall();
  GrpcCall(const GrpcCall&) = delete;
  GrpcCall& operator=(const GrpcCall&) = delete;

  // Why the call may not start: no good token, draining, deadline already over, cancelled.
  absl::Status Admit();

  void Finish(const absl::Status& status, uint64_t bytes_out = 0);

  // Around the store's part of the call.
  void StoreAsked() { times_.StoreAsked(deps_.clock->Now()); }
  void StoreAnswered() { times_.StoreAnswered(deps_.clock->Now()); }
  bool store_read() const { return times_.store_read(); }
  // Once it was answered: how long it kept the client waiting, and from which tier at the farthest.
  void RecordWait(storage::Tier tier);
  std::string id() const { return RequestId(request_); }  // for the log

  grpc::ServerUnaryReactor* reactor() const { return reactor_; }
  const std::string& tenant() const { return tenant_; }    // once admitted
  absl::Time arrival() const { return times_.arrival(); }  // of the store's clock
  absl::Time deadline() const { return deadline_; }        // of the store's clock
  bool cancelled() const;
  std::string peer() const;  // as gRPC names it

 private:
  absl::Status CheckToken();

  const ServiceDeps& deps_;
  const RunningCalls::Token running_;
  const Kind kind_;
  const uint64_t request_ = NextRequest();
  grpc::CallbackServerContext* const context_;
  const std::shared_ptr<EndedCall> ended_;  // of a Get: logged when its answer was sent
  grpc::ServerUnaryReactor* const reactor_;
  const uint64_t bytes_in_;
  CallTimes times_;
  absl::Time deadline_;
  std::string tenant_;
  bool finished_ = false;
};
using GrpcCallRef = std::shared_ptr<GrpcCall>;

}  // namespace kvgate::gateway
