// SPDX-License-Identifier: Apache-2.0
#include "client/grpc/connection.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "proto/wire/error_id.h"
#include "proto/wire/key.h"

namespace kvgate::client {
namespace {

constexpr int kKeepaliveTimeMs = 10'000;
constexpr int kKeepaliveTimeoutMs = 3'000;

gpr_timespec GrpcTime(Deadline deadline) {
  return gpr_time_from_nanos(deadline, GPR_CLOCK_MONOTONIC);
}

// All that a call touches while it lives.
struct CallState {
  grpc::ClientContext context;
  grpc::ByteBuffer response;
  grpc::Status received;  // written by gRPC before the end is told
  std::unique_ptr<grpc::ClientAsyncResponseReader<grpc::ByteBuffer>> reader;

  std::mutex mutex;
  std::condition_variable ended;
  bool done = false;    // guarded by mutex
  grpc::Status status;  // guarded by mutex

  void Finish() {
    std::lock_guard<std::mutex> lock(mutex);
    status = std::move(received);
    done = true;
    ended.notify_all();
  }

  bool WaitUntil(Deadline deadline) {
    const std::chrono::steady_clock::time_point until{std::chrono::nanoseconds(deadline)};
    std::unique_lock<std::mutex> lock(mutex);
    return ended.wait_until(lock, until, [this] { return done; });
  }
};

// The one completion queue of the process and the one thread that takes from it. Never destroyed:
// the library is never unloaded, and calls that were given up still end there. (gRPC's callback
// calls would need no thread of ours, but 1.51 aborts when the last channel that made some goes.)
class Poller {
 public:
  static Poller& Get() {
    static Poller* const poller = std::make_unique<Poller>().release();
    return *poller;
  }

  Poller() : thread_([this] { Run(); }) {}

  grpc::CompletionQueue* queue() { return &queue_; }

  // The tag of a call holds it until its end is taken from the queue.
  static void* Tag(const std::shared_ptr<CallState>& call) {
    return std::make_unique<std::shared_ptr<CallState>>(call).release();
  }

 private:
  void Run() {
    pthread_setname_np(pthread_self(), "kvgate_grpc");
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
      std::unique_ptr<std::shared_ptr<CallState>> call(
          static_cast<std::shared_ptr<CallState>*>(tag));
      (*call)->Finish();
    }
  }

  grpc::CompletionQueue queue_;
  std::thread thread_;
};

class ConnectionImpl final : public GrpcConnection {
 public:
  ConnectionImpl(std::shared_ptr<grpc::Channel> channel, const std::string& token)
      : channel_(std::move(channel)),
        stub_(channel_),
        bearer_(token.empty() ? "" : "Bearer " + token) {}

  Outcome Call(const char* method, grpc::ByteBuffer* request, Deadline deadline,
               grpc::ByteBuffer* response) override;

  bool broken() const override {
    return broken_.load(std::memory_order_relaxed) ||
           channel_->GetState(/*try_to_connect=*/false) != GRPC_CHANNEL_READY;
  }

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub_;
  const std::string bearer_;
  std::atomic<bool> broken_{false};
};

Outcome ConnectionImpl::Call(const char* method, grpc::ByteBuffer* request, Deadline deadline,
                             grpc::ByteBuffer* response) {
  const bool connected = !broken();
  auto call = std::make_shared<CallState>();
  call->context.set_deadline(GrpcTime(deadline));
  if (!bearer_.empty()) call->context.AddMetadata("authorization", bearer_);
  call->reader = stub_.PrepareUnaryCall(&call->context, method, *request, Poller::Get().queue());
  call->reader->StartCall();
  call->reader->Finish(&call->response, &call->received, Poller::Tag(call));
  if (!call->WaitUntil(deadline)) {
    call->context.TryCancel();
    return Outcome{wire::Code::kDeadlineExceeded, true, "no answer by the deadline"};
  }
  if (call->status.ok()) {
    response->Swap(&call->response);
    return Outcome{wire::Code::kOk, true, ""};
  }
  const wire::Code code = wire::CodeFromWire(call->status.error_code());
  // An UNAVAILABLE of a server that drains comes over a connection that stands.
  if (code == wire::Code::kUnavailable && broken()) {
    broken_.store(true, std::memory_order_relaxed);
  }
  return Outcome{code, connected, call->status.error_message()};
}

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(wire::kMessageBytesMax));
  arguments.SetMaxSendMessageSize(static_cast<int>(wire::kMessageBytesMax));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  // A connection of its own: without these, channels with equal arguments share one.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // Retries and proxies are decided above, not by gRPC or by the environment.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  return arguments;
}

}  // namespace

int64_t MonotonicNow() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

std::unique_ptr<GrpcConnection> GrpcConnection::Connect(const std::string& target,
                                                        const std::string& token, Deadline deadline,
                                                        Outcome* outcome) {
  std::shared_ptr<grpc::Channel> channel =
      grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), Arguments());
  grpc_connectivity_state state = channel->GetState(/*try_to_connect=*/true);
  while (state != GRPC_CHANNEL_READY) {
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE || state == GRPC_CHANNEL_SHUTDOWN) {
      *outcome = Outcome{wire::Code::kUnavailable, false,
                         wire::Tagged(wire::ErrorId::kNoGateway, "no gRPC server at " + target)};
      return nullptr;
    }
    if (MonotonicNow() >= deadline || !channel->WaitForStateChange(state, GrpcTime(deadline))) {
      *outcome = Outcome{wire::Code::kDeadlineExceeded, false,
                         wire::Tagged(wire::ErrorId::kGatewaySilent,
                                      "no gRPC server answered by the deadline at " + target)};
      return nullptr;
    }
    state = channel->GetState(/*try_to_connect=*/true);
  }
  *outcome = Outcome{};
  return std::make_unique<ConnectionImpl>(std::move(channel), token);
}

}  // namespace kvgate::client
