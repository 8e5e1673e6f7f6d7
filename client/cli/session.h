// SPDX-License-Identifier: Apache-2.0
//
// Session: a client with one namespace open, as the data commands need it: by the local door, or by
// gRPC where several tenants leave no local door.
//
// Without --ns it is the CLI's own namespace (model "kvgate-cli"); with it, the namespace of an
// engine, whose identity the operator's socket tells. Thread-safe once opened.
#pragma once

#include <memory>
#include <string>

#include "client/cli/admin_client.h"
#include "client/client.h"
#include "proto/wire/identity.h"

namespace kvgate::cli {

struct Session {
  std::unique_ptr<client::Client> client;
  wire::Identity identity;
  client::OpenReply opened;
  uint64_t ns = 0;

  Answer Open(const Context& context);
};

}  // namespace kvgate::cli
