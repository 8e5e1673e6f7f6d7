// SPDX-License-Identifier: Apache-2.0
//
// AdminClient: the operator's socket of one kvgated, from the CLI's side.
//
// One channel, made at the first call; every call has the context's timeout and is answered or
// fails by then. Thread-compatible. Errors: the canonical code and a text for people.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client/cli/context.h"
#include "proto/kvgate/v1/admin.pb.h"

namespace kvgate::cli {

struct Answer {
  wire::Code code = wire::Code::kOk;
  std::string message;
  bool ok() const { return code == wire::Code::kOk; }
};

class AdminClient {
 public:
  explicit AdminClient(const Context& context);
  ~AdminClient();

  Answer Stats(const v1::StatsRequest& request, v1::StatsResponse* response);
  Answer Scan(const v1::ScanRequest& request, v1::ScanResponse* response);
  Answer Explain(const v1::ExplainRequest& request, v1::ExplainResponse* response);
  Answer Requests(const v1::RequestsRequest& request, v1::RequestsResponse* response);

  // The namespaces that `name` means: an alias, a model's name, or the first hex digits (4 or more)
  // of a digest. `tenant` "": of all tenants. NOT_FOUND, with what there is, when none fits.
  Answer FindNamespaces(const std::string& name, const std::string& tenant,
                        std::vector<v1::NamespaceStats>* found);
  // The one that fits; when several do, FAILED_PRECONDITION with all and how they differ.
  Answer FindNamespace(const std::string& name, const std::string& tenant,
                       v1::NamespaceStats* found);
  // NOT_FOUND when --tenant names one that has neither a door here nor a namespace.
  Answer CheckTenant(const Context& context);

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace kvgate::cli
