// SPDX-License-Identifier: Apache-2.0
#include "client/cli/session.h"

#include <fstream>
#include <utility>

#include "client/cli/usage.h"
#include "client/core/env.h"
#include "client/grpc/connection.h"
#include "client/grpc/grpc_transport.h"

namespace kvgate::cli {
namespace {

wire::Identity OwnIdentity() {
  wire::Identity identity;
  identity.model = "kvgate-cli";
  identity.weights_id = "none";
  identity.layout = "bytes";
  identity.prefix_hash_algorithm = "none";
  identity.groups.push_back({.kind = wire::GroupKind::kFullAttention,
                             .block_tokens = 1,
                             .layer_names = {"value"},
                             .spec = "opaque",
                             .page_bytes = 1});
  return identity;
}

std::unique_ptr<client::Transport> ConnectGrpc(const client::Options& options,
                                               client::Deadline deadline,
                                               client::Outcome* outcome) {
  auto connection =
      client::GrpcConnection::Connect(options.grpc_target, options.token, deadline, outcome);
  if (connection == nullptr) return nullptr;
  return client::MakeGrpcTransport(std::move(connection), options);
}

bool HoldsTokensOfTenants(const std::string& path) {
  std::ifstream file(path);
  std::string text(4096, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  return IsTokensFile(text);
}

Answer FindIdentity(const Context& context, wire::Identity* identity) {
  if (context.name_space.empty()) {
    *identity = OwnIdentity();
    return {};
  }
  AdminClient admin(context);
  v1::NamespaceStats found;
  Answer answer = admin.FindNamespace(context.name_space, context.tenant, &found);
  if (!answer.ok()) return answer;
  std::string error;
  if (wire::DecodeIdentity(found.identity(), identity, &error)) return {};
  return {wire::Code::kFailedPrecondition,
          "the gateway knows only the digest of this identity; its engine must open it once"};
}

}  // namespace

Answer Session::Open(const Context& context) {
  if (Answer answer = FindIdentity(context, &identity); !answer.ok()) return answer;
  std::string error;
  client::ClientEnv env = client::ClientEnv::Real();
  // Linked, not loaded: a second copy of the messages in one process would end it.
  env.connect_grpc = ConnectGrpc;
  env.read_token = [read = env.read_token](const std::string& path, std::string* token) {
    const std::string wrong = read(path, token);
    return wrong.empty() || !HoldsTokensOfTenants(path)
               ? wrong
               : "token_file " + path +
                     ": holds TENANT TOKEN, as the daemon reads it; only the token is wanted: make "
                     "a file of that alone";
  };
  client =
      client::CreateClient(client::WithEnvironment({.transport = "auto",
                                                    .local_socket = context.LocalSocket(),
                                                    .grpc_target = "unix:" + context.GrpcSocket(),
                                                    .client_name = "kvgate-cli",
                                                    .token_file = context.token_file}),
                           env, &error);
  if (client == nullptr) return {wire::Code::kInvalidArgument, error};
  const client::Outcome outcome =
      client->Open({.identity = wire::EncodeIdentity(identity)},
                   client::DeadlineIn(context.timeout_ms), &ns, &opened);
  return {outcome.code, outcome.message};
}

}  // namespace kvgate::cli
