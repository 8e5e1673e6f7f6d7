// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gateway/core/text.h"
#include "gateway/service/grpc_call.h"
#include "gateway/service/services.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "proto/kvgate/v1/admin.grpc.pb.h"

namespace kvgate::gateway {
namespace {

using Context = grpc::CallbackServerContext;
using Reactor = grpc::ServerUnaryReactor;
using Base =
    v1::Admin::WithCallbackMethod_Stats<v1::Admin::WithCallbackMethod_Scan<v1::Admin::Service>>;

constexpr uint32_t kScanLimitDefault = 256, kScanLimitMax = 1024;

template <typename Digest>
std::string Bytes(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::string HashBytes(const wire::Hash128& hash) {
  std::string bytes(16, '\0');
  for (int i = 0; i < 8; ++i) {
    bytes[i] = static_cast<char>(hash.lo >> (8 * i));
    bytes[8 + i] = static_cast<char>(hash.hi >> (8 * i));
  }
  return bytes;
}

void ScanEntryToProto(const storage::ScanEntry& entry, const storage::NamespaceInfo& info,
                      v1::ScanEntry* out) {
  out->set_key_hash(HashBytes(entry.hash));
  out->set_key(entry.key);
  out->set_group(entry.group);
  out->set_shard(entry.shard);
  out->set_value_bytes(entry.value_bytes);
  out->set_in_memory(entry.in_memory);
  out->set_on_disk(entry.on_disk);
  out->set_version(entry.version);
  out->set_depth(entry.depth);
  out->set_identity_digest(Bytes(info.identity_digest));
  out->set_tenant(info.tenant);
}

class AdminService final : public Base {
 public:
  explicit AdminService(const ServiceDeps& deps) : deps_(deps), started_(deps.clock->Now()) {}

  Reactor* Stats(Context* context, const v1::StatsRequest* request,
                 v1::StatsResponse* response) override {
    return OnWorker(Rpc::kStats, context, request->ByteSizeLong(),
                    [this, request, response] { return DoStats(*request, response); });
  }
  Reactor* Scan(Context* context, const v1::ScanRequest* request,
                v1::ScanResponse* response) override {
    return OnWorker(Rpc::kScan, context, request->ByteSizeLong(),
                    [this, request, response] { return DoScan(*request, response); });
  }

 private:
  Reactor* OnWorker(Rpc rpc, Context* context, uint64_t bytes_in,
                    std::function<absl::Status()> work) {
    auto call =
        std::make_shared<GrpcCall>(deps_, GrpcCall::Kind{Door::kAdmin, rpc}, context, bytes_in);
    absl::Status status = call->Admit();
    if (status.ok() &&
        !deps_.workers->Run([call, work = std::move(work)] { call->Finish(work()); })) {
      status = absl::ResourceExhaustedError("Admin: too many calls are waiting");
    }
    if (!status.ok()) call->Finish(status);
    return call->reactor();
  }

  absl::Status DoStats(const v1::StatsRequest& request, v1::StatsResponse* response);
  absl::Status DoScan(const v1::ScanRequest& request, v1::ScanResponse* response);

  const ServiceDeps deps_;
  const absl::Time started_;
};

absl::Status AdminService::DoStats(const v1::StatsRequest& request, v1::StatsResponse* response) {
  for (const auto& [name, value] : deps_.telemetry->Snapshot(request.prefix())) {
    v1::Counter* counter = response->add_counters();
    counter->set_name(name);
    counter->set_value(value);
  }
  for (const storage::NamespaceInfo& info : deps_.store->Namespaces()) {
    v1::NamespaceStats* stats = response->add_namespaces();
    stats->set_tenant(info.tenant);
    stats->set_model(info.identity.model);
    stats->set_alias(info.alias);
    stats->set_identity_digest(Bytes(info.identity_digest));
  }
  response->set_incarnation(deps_.namespaces->incarnation());
  response->set_version(deps_.server_version);
  response->set_uptime_ms(
      static_cast<uint64_t>(absl::ToInt64Milliseconds(deps_.clock->Now() - started_)));
  return absl::OkStatus();
}

absl::Status AdminService::DoScan(const v1::ScanRequest& request, v1::ScanResponse* response) {
  if (request.limit() > kScanLimitMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("limit: ", request.limit(), ", at most ", kScanLimitMax, " is allowed"));
  }
  std::map<storage::NamespaceId, storage::NamespaceInfo> infos;
  std::set<storage::NamespaceId> wanted;  // each tenant may have one of this identity
  for (const storage::NamespaceInfo& info : deps_.store->Namespaces()) {
    infos[info.id] = info;
    if (Bytes(info.identity_digest) == request.identity_digest()) wanted.insert(info.id);
  }
  if (!request.identity_digest().empty() && wanted.empty()) {
    return absl::NotFoundError(absl::StrCat("identity_digest: no namespace has this one (",
                                            request.identity_digest().size(),
                                            " bytes, a digest has 32)"));
  }
  const uint32_t limit = request.limit() == 0 ? kScanLimitDefault : request.limit();
  const storage::NamespaceId only = wanted.size() == 1 ? *wanted.begin() : 0;
  std::string cursor = request.cursor();
  do {
    const uint32_t room = limit - static_cast<uint32_t>(response->entries_size());
    absl::StatusOr<storage::ScanResult> page = deps_.store->Scan(only, cursor, room);
    if (!page.ok()) return page.status();
    for (const storage::ScanEntry& entry : page->entries) {
      if (!wanted.empty() && wanted.count(entry.ns) == 0) continue;
      ScanEntryToProto(entry, infos[entry.ns], response->add_entries());
    }
    cursor = page->next_cursor;
  } while (!cursor.empty() && static_cast<uint32_t>(response->entries_size()) < limit);
  response->set_next_cursor(cursor);
  return absl::OkStatus();
}
}  // namespace

std::shared_ptr<grpc::Service> MakeAdminService(const ServiceDeps& deps) {
  return std::make_shared<AdminService>(deps);
}

}  // namespace kvgate::gateway
