// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/grpc_server.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gateway/logging.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/impl/server_builder_option.h"
#include "grpcpp/impl/server_builder_plugin.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "proto/wire/key.h"

namespace kvgate::gateway {
namespace {

constexpr int kKeepaliveMs = 10'000, kKeepaliveTimeoutMs = 3'000;
constexpr int kPingIntervalMinMs = 5'000;
// For connections to hear that this server goes. A live client needs a round trip.
constexpr absl::Duration kGoAwayMax = absl::Milliseconds(250);

void SetLimits(const GrpcServerOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(static_cast<int>(wire::kMessageBytesMax));
  builder->SetMaxSendMessageSize(static_cast<int>(wire::kMessageBytesMax));
  grpc::ResourceQuota quota(options.admin ? "kvgate-admin" : "kvgate");
  quota.Resize(ReceiveQuota(options));
  builder->SetResourceQuota(quota);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              kPingIntervalMinMs);
  // Two daemons must not share a port by accident.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

// The reflection library adds its plugin to every server of the process: this takes it out again.
class NoReflection final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins,
                  [](const auto& plugin) { return plugin->name() == "proto_server_reflection"; });
  }
};

void EnableHealth() {
  static std::once_flag once;
  std::call_once(once, [] { grpc::EnableDefaultHealthCheckService(true); });
}

}  // namespace

uint64_t ReceiveQuota(const GrpcServerOptions& options) {
  return options.receive_bytes_max + (options.admin ? 0 : wire::kMessageBytesMax);
}

bool IsLoopback(const std::string& host_port) {
  return absl::StartsWith(host_port, "127.") || absl::StartsWith(host_port, "[::1]:") ||
         absl::StartsWith(host_port, "localhost:");
}

struct GrpcServer::Impl {
  GrpcServerOptions options;
  std::shared_ptr<RunningCalls> calls = std::make_shared<RunningCalls>();
  std::shared_ptr<grpc::Service> service;
  std::unique_ptr<grpc::Server> server;  // after service: destroyed first
  int port = 0;
};

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcServerOptions& options,
                                                              const ServiceDeps& deps) {
  EnableHealth();
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();  // keeps the library linked

  auto impl = std::make_unique<Impl>();
  impl->options = options;
  ServiceDeps own = deps;
  own.tenant = options.tenant;
  if (options.admin) own.tokens = nullptr;
  if (own.tokens != nullptr && options.unix_path.empty()) own.tenant.clear();
  own.receive_bytes_max = options.receive_bytes_max;
  own.calls = impl->calls;
  impl->service = options.admin ? MakeAdminService(own) : MakeKvCacheService(own);

  const bool unix_socket = !options.unix_path.empty();
  const std::string address = unix_socket ? absl::StrCat("unix:", options.unix_path) : options.tcp;
  grpc::ServerBuilder builder;
  SetLimits(options, &builder);
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &impl->port);
  if (!unix_socket && !IsLoopback(options.tcp)) {
    builder.SetOption(std::make_unique<NoReflection>());
  }
  builder.RegisterService(impl->service.get());
  impl->server = builder.BuildAndStart();
  if (impl->server == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("gRPC: cannot listen on ", address,
                     ": choose another address, or stop the program that has it"));
  }
  if (unix_socket && chmod(options.unix_path.c_str(), options.unix_mode) != 0) {
    return absl::InternalError(
        absl::StrCat("gRPC: chmod of ", options.unix_path, ": ", std::strerror(errno)));
  }
  impl->server->GetHealthCheckService()->SetServingStatus(
      options.admin ? "kvgate.v1.Admin" : "kvgate.v1.KvCache", true);
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(impl)));
}

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

GrpcServer::~GrpcServer() { Stop(absl::ZeroDuration()); }

int GrpcServer::tcp_port() const { return impl_->options.tcp.empty() ? 0 : impl_->port; }

void GrpcServer::Drain() {
  if (impl_->server != nullptr) impl_->server->GetHealthCheckService()->SetServingStatus(false);
}

void GrpcServer::Stop(absl::Duration limit) {
  if (impl_->server == nullptr) return;
  Drain();
  const absl::Time by = absl::Now() + limit;
  if (!impl_->calls->WaitForNone(limit)) {
    Log(LogLevel::kWarning,
        absl::StrCat("stop: ", impl_->calls->count(), " gRPC calls still run and are cancelled"));
  }
  // Shutdown also waits for connections to close: for those that answer, no longer.
  const absl::Duration polite = std::clamp(by - absl::Now(), absl::ZeroDuration(), kGoAwayMax);
  impl_->server->Shutdown(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(polite));
  impl_->server.reset();
  const std::string& path = impl_->options.unix_path;
  if (!path.empty()) unlink(path.c_str());  // gRPC usually did; ENOENT is what we want
}

}  // namespace kvgate::gateway
