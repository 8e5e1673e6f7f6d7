// SPDX-License-Identifier: Apache-2.0
//
// Messages of kvgate.v1 to the store's words and back. Pure; what they build from a message points
// into that message. Errors name field and value.
#pragma once

#include <span>

#include "absl/status/statusor.h"
#include "gateway/core/features.h"
#include "gateway/core/namespace_table.h"
#include "storage/store.h"

namespace kvgate::v1 {
class Hints;
class LookupRequest;
class LookupResponse;
class OpenRequest;
class OpenResponse;
class SetResponse;
}  // namespace kvgate::v1

namespace kvgate::gateway {

absl::StatusOr<FeatureSet> FeaturesFromProto(const v1::OpenRequest& request);
// All but local_socket and server_version.
void OpenToProto(const OpenedNamespace& ns, const NamespaceTable& table,
                 v1::OpenResponse* response);

// Without the namespace and times.
absl::StatusOr<storage::LookupRequest> LookupFromProto(const v1::LookupRequest& request);
// Without the advice.
void LookupToProto(const storage::LookupResult& result, v1::LookupResponse* response);

storage::Hints HintsFromProto(const v1::Hints& hints);
void SetToProto(std::span<const storage::SetResult> results, v1::SetResponse* response);

}  // namespace kvgate::gateway
