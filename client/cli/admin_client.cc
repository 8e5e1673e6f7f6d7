// SPDX-License-Identifier: Apache-2.0
#include "client/cli/admin_client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "client/cli/alike.h"
#include "proto/kvgate/v1/admin.grpc.pb.h"

namespace kvgate::cli {

namespace {

constexpr int kMessageBytesMax = 69 << 20;

bool Fits(const v1::NamespaceStats& candidate, const std::string& name) {
  if (name == candidate.model()) return true;
  for (const std::string& alias : candidate.aliases()) {
    if (name == alias) return true;
  }
  return name.size() >= 4 && Hex(candidate.identity_digest()).rfind(name, 0) == 0;
}

// A line each; those that look alike with the fields in which they differ.
std::string ListOf(const std::vector<v1::NamespaceStats>& namespaces) {
  std::string out;
  const std::vector<std::string> apart = TellApart(namespaces);
  for (size_t i = 0; i < namespaces.size(); ++i) {
    const v1::NamespaceStats& one = namespaces[i];
    out += "\n  " + Hex(one.identity_digest()).substr(0, 12) + " tenant=" + one.tenant() +
           " model=" + one.model();
    for (const std::string& alias : one.aliases()) out += " alias=" + alias;
    if (!apart[i].empty()) out += " " + apart[i];
  }
  return out.empty() ? " none" : out;
}

}  // namespace

struct AdminClient::Impl {
  std::chrono::microseconds timeout;
  std::unique_ptr<v1::Admin::Stub> stub;

  template <typename Call>
  Answer Run(const Call& call) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + timeout);
    const grpc::Status status = call(&context);
    return {wire::CodeFromWire(static_cast<uint32_t>(status.error_code())), status.error_message()};
  }
};

AdminClient::AdminClient(const Context& context) : impl_(std::make_unique<Impl>()) {
  impl_->timeout = std::chrono::microseconds(static_cast<int64_t>(context.timeout_ms * 1000));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  impl_->stub = v1::Admin::NewStub(grpc::CreateCustomChannel(
      "unix:" + context.AdminSocket(), grpc::InsecureChannelCredentials(), arguments));
}

AdminClient::~AdminClient() = default;

Answer AdminClient::Stats(const v1::StatsRequest& request, v1::StatsResponse* response) {
  return impl_->Run(
      [&](grpc::ClientContext* context) { return impl_->stub->Stats(context, request, response); });
}

Answer AdminClient::Scan(const v1::ScanRequest& request, v1::ScanResponse* response) {
  return impl_->Run(
      [&](grpc::ClientContext* context) { return impl_->stub->Scan(context, request, response); });
}

Answer AdminClient::Explain(const v1::ExplainRequest& request, v1::ExplainResponse* response) {
  return impl_->Run([&](grpc::ClientContext* context) {
    return impl_->stub->Explain(context, request, response);
  });
}

Answer AdminClient::Requests(const v1::RequestsRequest& request, v1::RequestsResponse* response) {
  return impl_->Run([&](grpc::ClientContext* context) {
    return impl_->stub->Requests(context, request, response);
  });
}

Answer AdminClient::FindNamespaces(const std::string& name, const std::string& tenant,
                                   std::vector<v1::NamespaceStats>* found) {
  v1::StatsRequest request;
  request.set_prefix("uptime");  // the namespaces come whatever the prefix
  v1::StatsResponse response;
  if (Answer answer = Stats(request, &response); !answer.ok()) return answer;
  std::vector<v1::NamespaceStats> all;
  for (const v1::NamespaceStats& candidate : response.namespaces()) {
    if (!tenant.empty() && candidate.tenant() != tenant) continue;
    all.push_back(candidate);
    if (Fits(candidate, name)) found->push_back(candidate);
  }
  if (!found->empty()) return {};
  return {wire::Code::kNotFound, "--ns: no namespace" +
                                     (tenant.empty() ? "" : " of tenant \"" + tenant + "\"") +
                                     " is called \"" + name + "\"; choose one of:" + ListOf(all)};
}

Answer AdminClient::FindNamespace(const std::string& name, const std::string& tenant,
                                  v1::NamespaceStats* found) {
  std::vector<v1::NamespaceStats> fitting;
  if (Answer answer = FindNamespaces(name, tenant, &fitting); !answer.ok()) return answer;
  if (fitting.size() == 1) {
    *found = fitting.front();
    return {};
  }
  // One identity may be that of several tenants.
  const bool tenants = fitting.front().tenant() != fitting.back().tenant();
  return {wire::Code::kFailedPrecondition,
          "--ns: \"" + name + "\" means " + std::to_string(fitting.size()) +
              " namespaces; name one by its digest" + (tenants ? " and --tenant:" : ":") +
              ListOf(fitting)};
}

Answer AdminClient::CheckTenant(const Context& context) {
  if (!context.tenant_named) return {};
  std::vector<std::string> tenants = context.TenantsWithDoor();
  v1::StatsRequest request;
  request.set_prefix("uptime");
  v1::StatsResponse response;
  if (Answer answer = Stats(request, &response); !answer.ok()) return answer;
  for (const v1::NamespaceStats& stats : response.namespaces()) {
    if (std::find(tenants.begin(), tenants.end(), stats.tenant()) == tenants.end()) {
      tenants.push_back(stats.tenant());
    }
  }
  if (std::find(tenants.begin(), tenants.end(), context.tenant) != tenants.end()) return {};
  return {wire::Code::kNotFound, "--tenant: there is no \"" + context.tenant +
                                     "\" here; choose one of: " + Joined(tenants)};
}

}  // namespace kvgate::cli
