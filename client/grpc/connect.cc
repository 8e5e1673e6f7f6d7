// SPDX-License-Identifier: Apache-2.0
//
// The one symbol of libkvgate_grpc.so (client/transport.h says what it promises).
#include <exception>
#include <memory>

#include "client/grpc/connection.h"
#include "client/grpc/grpc_transport.h"
#include "client/transport.h"

extern "C" __attribute__((visibility("default"))) kvgate::client::Transport* kvgate_grpc_connect(
    uint32_t abi, const kvgate::client::Options* options, kvgate::client::Deadline deadline,
    kvgate::client::Outcome* outcome) {
  namespace kc = kvgate::client;
  if (abi != kc::kTransportAbi) return nullptr;
  try {
    auto connection =
        kc::GrpcConnection::Connect(options->grpc_target, options->token, deadline, outcome);
    if (!connection) return nullptr;
    return kc::MakeGrpcTransport(std::move(connection), *options).release();
  } catch (const std::exception& exception) {
    *outcome = kc::Outcome{kvgate::wire::Code::kInternal, false, exception.what()};
    return nullptr;
  }
}
