// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/namespace_table.h"

#include <sys/random.h>

#include <cstdlib>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gateway/core/text.h"
#include "proto/wire/error_id.h"
#include "proto/wire/key.h"

namespace kvgate::gateway {
namespace {

using wire::ErrorId;
using wire::Tagged;

absl::Status CheckIdentity(const wire::Identity& identity) {
  std::string error;
  if (!wire::ValidateIdentity(identity, &error)) {
    return absl::InvalidArgumentError(
        Tagged(ErrorId::kBadIdentity, absl::StrCat("identity: ", error)));
  }
  // A client that can choose its prompts could make two of them meet under one key.
  if (absl::StartsWith(identity.prefix_hash_algorithm, "xxhash")) {
    return absl::FailedPreconditionError(Tagged(
        ErrorId::kWeakPrefixHash,
        absl::StrCat("identity.prefix_hash_algorithm: \"", identity.prefix_hash_algorithm,
                     "\" is not collision-resistant and is refused; use sha256 or sha256_cbor")));
  }
  return absl::OkStatus();
}

}  // namespace

uint64_t RandomHandle() {
  uint64_t value = 0;
  while (value == 0) {
    // 8 bytes are never cut short; EINTR only comes before the pool is ready.
    if (getrandom(&value, sizeof(value), 0) != sizeof(value)) value = 0;
  }
  return value;
}

NamespaceTable::NamespaceTable(storage::Store* store, const Options& options)
    : store_(store),
      options_(options),
      facts_(store->facts()),
      features_(FeaturesInEffect(facts_, options.local_door)),
      incarnation_(RandomHandle()) {}

absl::StatusOr<NamespaceRef> NamespaceTable::Open(std::string_view tenant, std::string_view alias,
                                                  const wire::Identity& identity,
                                                  FeatureSet required) {
  if (alias.size() > kAliasBytesMax) {
    return absl::InvalidArgumentError(Tagged(
        ErrorId::kBadField,
        absl::StrCat("alias: ", alias.size(), " bytes, at most ", kAliasBytesMax, " are allowed")));
  }
  if (absl::Status s = CheckIdentity(identity); !s.ok()) return s;
  if (absl::Status s = RequireFeatures(required, features_, facts_); !s.ok()) return s;

  // Not under the lock: the store may write to disk here.
  absl::StatusOr<storage::NamespaceInfo> info = store_->OpenNamespace(tenant, alias, identity);
  if (!info.ok()) return info.status();

  absl::MutexLock lock(&mu_);
  if (auto found = by_id_.find(info->id); found != by_id_.end()) return found->second;
  if (by_id_.size() >= options_.namespaces_max) ForgetCollected();
  if (by_id_.size() >= options_.namespaces_max) {
    return absl::ResourceExhaustedError(
        Tagged(ErrorId::kNamespacesFull,
               absl::StrCat("identity: namespace number ", by_id_.size() + 1,
                            " would be open, namespaces_max is ", options_.namespaces_max)));
  }
  auto opened = std::make_shared<OpenedNamespace>();
  do {
    opened->handle = RandomHandle();
  } while (by_handle_.contains(opened->handle));
  opened->info = *std::move(info);
  opened->info.identity = identity;
  opened->features = features_;
  for (const wire::KvGroup& group : identity.groups) {
    opened->root_group_keys.push_back(wire::RootGroupKeys(group.block_tokens));
  }
  opened->shard_count = identity.shard_count();
  by_id_[opened->info.id] = opened;
  by_handle_[opened->handle] = opened;
  return NamespaceRef(opened);
}

void NamespaceTable::ForgetCollected() {
  absl::flat_hash_set<storage::NamespaceId> held;
  for (const storage::NamespaceInfo& info : store_->Namespaces()) held.insert(info.id);
  absl::erase_if(by_handle_, [&](const auto& entry) { return !held.contains(entry.second->id()); });
  absl::erase_if(by_id_, [&](const auto& entry) { return !held.contains(entry.first); });
}

absl::StatusOr<NamespaceRef> NamespaceTable::Find(std::string_view tenant, uint64_t handle) const {
  {
    absl::MutexLock lock(&mu_);
    auto found = by_handle_.find(handle);
    if (found != by_handle_.end() && found->second->info.tenant == tenant) return found->second;
  }
  return absl::FailedPreconditionError(
      Tagged(ErrorId::kUnknownNamespace,
             absl::StrFormat("namespace: %#x is unknown to this incarnation (%#x): open again",
                             handle, incarnation_)));
}

}  // namespace kvgate::gateway
