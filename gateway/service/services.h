// SPDX-License-Identifier: Apache-2.0
//
// The two gRPC services. They translate messages, check them and call the store; they decide
// nothing.
//
// Threads: handlers run on gRPC's threads and never wait there: what may block (Open, Scan, Stats)
// goes to `workers`; the copy of a Set is the one long piece of work. Answers come from the store's
// threads. Ownership: everything in ServiceDeps outlives the services, which outlive their server.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/core/namespace_table.h"
#include "gateway/service/receive_budget.h"
#include "gateway/service/running_calls.h"
#include "gateway/service/unsent.h"
#include "gateway/service/worker_pool.h"
#include "gateway/telemetry/telemetry.h"
#include "storage/base/clock.h"
#include "storage/store.h"

namespace grpc {
class Service;
}

namespace kvgate::gateway {

class AnswerTimer;
class Tokens;

struct ServiceDeps {
  storage::Clock* clock = nullptr;
  storage::Store* store = nullptr;
  NamespaceTable* namespaces = nullptr;
  Telemetry* telemetry = nullptr;
  WorkerPool* workers = nullptr;
  const std::atomic<bool>* draining = nullptr;
  AnswerTimer* answers = nullptr;
  UnsentGauge unsent;                     // of all doors
  uint64_t unsent_bytes_max = 256 << 20;  // of one door; values above it answer NOT_SENT
  std::shared_ptr<ReceiveTotals> received = std::make_shared<ReceiveTotals>();  // of all doors
  uint64_t receive_bytes_max = 256 << 20;                                       // of one door
  std::shared_ptr<RunningCalls> calls = std::make_shared<RunningCalls>();       // of one door
  std::string tenant;        // of everybody who comes through this door; empty: the token decides
  Tokens* tokens = nullptr;  // not null: each call shows one
  std::string server_version;
  std::vector<std::string> data_dirs;  // for the operator
  // The local door's socket of a tenant; empty: closed.
  std::function<std::string(const std::string& tenant)> local_socket;
};

std::shared_ptr<grpc::Service> MakeKvCacheService(const ServiceDeps& deps);
std::shared_ptr<grpc::Service> MakeAdminService(const ServiceDeps& deps);

}  // namespace kvgate::gateway
