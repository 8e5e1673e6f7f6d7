// SPDX-License-Identifier: Apache-2.0
#include "client/cli/admin_client.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <vector>

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

std::string AliasesOf(const v1::NamespaceStats& candidate) {
  std::string out;
  for (const std::string& alias : candidate.aliases()) out += " alias=" + alias;
  return out;
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

Answer AdminClient::FindNamespace(const std::string& name, const std::string& tenant,
                                  v1::NamespaceStats* found) {
  v1::StatsRequest request;
  request.set_prefix("uptime");  // the namespaces come whatever the prefix
  v1::StatsResponse response;
  if (Answer answer = Stats(request, &response); !answer.ok()) return answer;
  std::vector<v1::NamespaceStats> fitting;
  std::string names;
  for (const v1::NamespaceStats& candidate : response.namespaces()) {
    if (candidate.tenant() != tenant) continue;
    if (Fits(candidate, name)) fitting.push_back(candidate);
    names += "\n  " + Hex(candidate.identity_digest()).substr(0, 12) +
             " model=" + candidate.model() + AliasesOf(candidate);
  }
  if (fitting.size() == 1) {
    *found = fitting.front();
    return {};
  }
  if (names.empty()) names = " none";
  if (fitting.empty()) {
    return {wire::Code::kNotFound, "--ns: no namespace of tenant \"" + tenant + "\" is called \"" +
                                       name + "\"; choose one of:" + names};
  }
  return {wire::Code::kFailedPrecondition, "--ns: \"" + name + "\" means " +
                                               std::to_string(fitting.size()) +
                                               " namespaces; name one by its digest:" + names};
}

}  // namespace kvgate::cli
