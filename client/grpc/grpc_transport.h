// SPDX-License-Identifier: Apache-2.0
//
// GrpcTransport: client/transport.h over one gRPC connection to a node, by unix socket or TCP.
//
// Every call carries its deadline. Payload of Get is copied once, from the received message into
// the caller's pieces, by the calling thread; payload of Set is copied once into the message, or
// not at all when it lies in one piece of staging memory (SharedBlocks). Errors keep their code.
// Threads: thread-safe.
#pragma once

#include <memory>

#include "client/grpc/connection.h"
#include "client/transport.h"

namespace kvgate::client {

std::unique_ptr<Transport> MakeGrpcTransport(std::unique_ptr<GrpcConnection> connection,
                                             const Options& options);

}  // namespace kvgate::client
