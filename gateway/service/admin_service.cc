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
using AdminBase = v1::Admin::WithCallbackMethod_Stats<
    v1::Admin::WithCallbackMethod_Scan<v1::Admin::WithCallbackMethod_Explain<
        v1::Admin::WithCallbackMethod_Requests<v1::Admin::Service>>>>;

constexpr uint32_t kScanLimitDefault = 256, kScanLimitMax = 1024;
constexpr uint32_t kRequestsDefault = 32, kRequestsMax = 1024;
constexpr int kExplainedMax = 64;  // namespaces

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

uint64_t UnixMs(absl::Time time) {
  return static_cast<uint64_t>(std::max<int64_t>(0, absl::ToUnixMillis(time)));
}

void ExplanationToProto(const storage::Explanation& explanation, const storage::NamespaceInfo& info,
                        const std::map<storage::NamespaceId, storage::NamespaceInfo>& infos,
                        v1::NamespaceExplanation* out) {
  out->set_tenant(info.tenant);
  out->set_alias(info.alias);
  out->set_model(info.identity.model);
  out->set_identity_digest(Bytes(info.identity_digest));
  for (const storage::Explanation::Held& held : explanation.held) {
    v1::HeldBlock* block = out->add_held();
    block->set_group(held.group);
    block->set_shard(held.shard);
    block->set_in_memory(held.in_memory);
    block->set_on_disk(held.on_disk);
    block->set_value_bytes(held.value_bytes);
    block->set_depth(held.depth);
    block->set_expires_in_s(held.expires_in_s);
  }
  for (const storage::Explanation::Event& event : explanation.events) {
    v1::DepartureEvent* told = out->add_events();
    told->set_departure(static_cast<v1::Departure>(event.departure));
    told->set_at_unix_ms(UnixMs(event.at));
    told->set_group(event.group);
    told->set_shard(event.shard);
  }
  for (const storage::Explanation::Elsewhere& elsewhere : explanation.elsewhere) {
    v1::ElsewhereHeld* there = out->add_elsewhere();
    there->set_alias(elsewhere.alias);
    const auto other = infos.find(elsewhere.ns);
    if (other != infos.end()) {
      there->set_identity_digest(Bytes(other->second.identity_digest));
    }
    there->set_field(elsewhere.field);
    there->set_here(elsewhere.here);
    there->set_there(elsewhere.there);
  }
}

class AdminService final : public AdminBase {
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
  Reactor* Explain(Context* context, const v1::ExplainRequest* request,
                   v1::ExplainResponse* response) override {
    return OnWorker(Rpc::kExplain, context, request->ByteSizeLong(),
                    [this, request, response] { return DoExplain(*request, response); });
  }
  Reactor* Requests(Context* context, const v1::RequestsRequest* request,
                    v1::RequestsResponse* response) override {
    return OnWorker(Rpc::kRequests, context, request->ByteSizeLong(),
                    [this, request, response] { return DoRequests(*request, response); });
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
  absl::Status DoExplain(const v1::ExplainRequest& request, v1::ExplainResponse* response);
  absl::Status DoRequests(const v1::RequestsRequest& request, v1::RequestsResponse* response);
  std::map<storage::NamespaceId, storage::NamespaceInfo> Infos() const;

  const ServiceDeps deps_;
  const absl::Time started_;
};

absl::Status AdminService::DoStats(const v1::StatsRequest& request, v1::StatsResponse* response) {
  for (const auto& [name, value] : deps_.telemetry->Snapshot(request.prefix())) {
    v1::Counter* counter = response->add_counters();
    counter->set_name(name);
    counter->set_value(value);
  }
  std::map<storage::NamespaceId, storage::NamespaceUse> uses;
  for (const storage::NamespaceUse& use : deps_.store->NamespaceUses()) uses[use.ns] = use;
  for (const storage::NamespaceInfo& info : deps_.store->Namespaces()) {
    v1::NamespaceStats* stats = response->add_namespaces();
    const storage::NamespaceUse& use = uses[info.id];
    stats->set_lookups(use.lookups);
    stats->set_keys_asked(use.keys_asked);
    stats->set_keys_held(use.keys_held);
    stats->set_blocks_stored(use.blocks_stored);
    stats->set_hit_tokens_memory(use.hit_tokens_memory);
    stats->set_hit_tokens_disk(use.hit_tokens_disk);
    if (!info.identity.model.empty()) stats->set_identity(wire::EncodeIdentity(info.identity));
    stats->set_tenant(info.tenant);
    stats->set_model(info.identity.model);
    stats->set_alias(info.alias);
    for (const std::string& alias : info.aliases) stats->add_aliases(alias);
    stats->set_identity_digest(Bytes(info.identity_digest));
  }
  response->set_incarnation(deps_.namespaces->incarnation());
  response->set_version(deps_.server_version);
  for (const std::string& directory : deps_.data_dirs) response->add_data_dirs(directory);
  response->set_uptime_ms(
      static_cast<uint64_t>(absl::ToInt64Milliseconds(deps_.clock->Now() - started_)));
  return absl::OkStatus();
}

absl::Status AdminService::DoScan(const v1::ScanRequest& request, v1::ScanResponse* response) {
  if (request.limit() > kScanLimitMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("limit: ", request.limit(), ", at most ", kScanLimitMax, " is allowed"));
  }
  std::map<storage::NamespaceId, storage::NamespaceInfo> infos = Infos();
  std::set<storage::NamespaceId> wanted;  // each tenant may have one of this identity
  for (const auto& [id, info] : infos) {
    if (Bytes(info.identity_digest) == request.identity_digest()) wanted.insert(id);
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

std::map<storage::NamespaceId, storage::NamespaceInfo> AdminService::Infos() const {
  std::map<storage::NamespaceId, storage::NamespaceInfo> infos;
  for (storage::NamespaceInfo& info : deps_.store->Namespaces()) infos[info.id] = std::move(info);
  return infos;
}

absl::Status AdminService::DoExplain(const v1::ExplainRequest& request,
                                     v1::ExplainResponse* response) {
  const std::map<storage::NamespaceId, storage::NamespaceInfo> infos = Infos();
  const bool named = !request.identity_digest().empty();
  // A tenant that has opened nothing yet has never stored anything: an answer, not an error.
  bool found = !named;
  response->set_remembered_since_unix_ms(UnixMs(started_));
  for (const auto& [id, info] : infos) {
    if (!request.tenant().empty() && info.tenant != request.tenant()) continue;
    if (Bytes(info.identity_digest).rfind(request.identity_digest(), 0) != 0) continue;
    found = true;
    absl::StatusOr<storage::Explanation> explanation = deps_.store->Explain(id, request.key());
    if (!explanation.ok()) return explanation.status();
    response->set_remembered_since_unix_ms(UnixMs(explanation->remembered_since));
    if (!named && explanation->held.empty() && explanation->events.empty()) continue;
    if (response->namespaces_size() >= kExplainedMax) break;
    ExplanationToProto(*explanation, info, infos, response->add_namespaces());
  }
  if (found) return absl::OkStatus();
  return absl::NotFoundError("identity_digest, tenant: no namespace has these");
}

absl::Status AdminService::DoRequests(const v1::RequestsRequest& request,
                                      v1::RequestsResponse* response) {
  if (request.limit() > kRequestsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("limit: ", request.limit(), ", at most ", kRequestsMax, " is allowed"));
  }
  std::map<storage::NamespaceId, storage::NamespaceInfo> infos = Infos();
  const uint32_t limit = request.limit() == 0 ? kRequestsDefault : request.limit();
  for (const storage::RequestUse& use : deps_.store->RecentRequests(limit)) {
    v1::RequestRecord* record = response->add_requests();
    const storage::NamespaceInfo& info = infos[use.ns];
    record->set_tenant(info.tenant);
    record->set_model(info.identity.model);
    record->set_identity_digest(Bytes(info.identity_digest));
    record->set_at_unix_ms(UnixMs(use.at));
    record->set_group(use.group);
    record->set_blocks(use.blocks);
    record->set_tokens(use.tokens);
    record->set_bytes(use.bytes);
    record->set_prompt_tokens(use.prompt_tokens);
    record->set_output_tokens(use.output_tokens);
    record->set_turn(use.turn);
  }
  return absl::OkStatus();
}

}  // namespace

std::shared_ptr<grpc::Service> MakeAdminService(const ServiceDeps& deps) {
  return std::make_shared<AdminService>(deps);
}

}  // namespace kvgate::gateway
