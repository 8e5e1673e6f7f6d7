// SPDX-License-Identifier: Apache-2.0
#include "storage/store_namespaces.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/wire/error_id.h"

namespace kvgate::storage {
namespace {

void MarkUsed(const Namespace& ns, uint32_t now_s) {
  // Calls of one second write once.
  std::atomic<uint32_t>& used = ns.use->used_s;
  if (used.load(std::memory_order_relaxed) != now_s) used.store(now_s, std::memory_order_relaxed);
}

}  // namespace

absl::Status NamespaceDirectory::Load() {
  if (log_ == nullptr) return absl::OkStatus();
  absl::MutexLock lock(&mu_);
  for (const NamespaceRecord& record : log_->Namespaces()) {
    NamespaceInfo info;
    info.id = record.id;
    info.tenant = record.tenant;
    if (!record.aliases.empty()) info.alias = record.aliases.front();
    info.identity_digest = record.identity_digest;
    info.ns_digest = wire::DigestNamespace(record.tenant, record.identity_digest);
    std::string error;
    // An identity that cannot be read is as good as lost: the digest still names it exactly.
    if (!record.identity.empty() &&
        (wire::DigestIdentity(record.identity) != record.identity_digest ||
         !wire::DecodeIdentity(record.identity, &info.identity, &error))) {
      info.identity = wire::Identity{};
    }
    Publish(std::move(info), record.aliases);
  }
  return absl::OkStatus();
}

absl::Status NamespaceDirectory::CheckAlias(std::string_view tenant, std::string_view alias,
                                            const wire::Identity& identity,
                                            const wire::IdentityDigest& digest) const {
  if (alias.empty()) return absl::OkStatus();
  const auto it = by_alias_.find(TenantAlias(tenant, alias));
  if (it == by_alias_.end()) return absl::OkStatus();
  const NamespaceInfo& held = by_id_.at(it->second)->info;
  if (held.identity_digest == digest) return absl::OkStatus();
  std::string held_value, new_value;
  std::string field = wire::FirstDifference(held.identity, identity, &held_value, &new_value);
  if (held.identity == wire::Identity{}) {
    field = "identity digest";
    held_value = "(its fields were lost with the checkpoint)";
    new_value = "(another)";
  }
  return absl::FailedPreconditionError(wire::Tagged(
      wire::ErrorId::kAliasTaken,
      absl::StrCat("alias \"", std::string(alias), "\" belongs to another identity: ", field,
                   " is ", held_value, " there and ", new_value,
                   " here; use another alias for another model")));
}

absl::Status NamespaceDirectory::CheckRoom(std::string_view tenant) const {
  if (by_id_.size() >= limits_.namespaces_max) {
    return absl::ResourceExhaustedError(
        wire::Tagged(wire::ErrorId::kNamespacesFull,
                     absl::StrCat("namespaces: ", by_id_.size(),
                                  ", limit namespaces_max = ", limits_.namespaces_max)));
  }
  const auto held = std::count_if(by_id_.begin(), by_id_.end(), [&](const auto& entry) {
    return entry.second->info.tenant == tenant;
  });
  if (held < limits_.namespaces_a_tenant_max) return absl::OkStatus();
  return absl::ResourceExhaustedError(wire::Tagged(
      wire::ErrorId::kNamespacesFull,
      absl::StrCat("namespaces of tenant \"", std::string(tenant), "\": ", held,
                   ", limit namespaces_a_tenant_max = ", limits_.namespaces_a_tenant_max)));
}

bool NamespaceDirectory::IsUnused(const Namespace& ns) const {
  const uint32_t used = ns.use->used_s.load(std::memory_order_relaxed);
  const uint32_t now = clock_->CacheSeconds();
  return used == 0 || (now >= used && now - used >= limits_.idle_s);
}

bool NamespaceDirectory::IsIdle(const Namespace& ns) const {
  // A name is a promise: no other identity gets it.
  return ns.aliases.empty() && IsUnused(ns) && index_->EntriesOf(ns.info.id) == 0;
}

// A call that has found one of them and still runs may store into it: what it stores is found again
// under the same id, or, without a log, by nobody, until it is evicted.
bool NamespaceDirectory::CollectIdle() {
  std::vector<std::shared_ptr<const Namespace>> idle;
  {
    const absl::ReaderMutexLock lock(&mu_);
    for (const auto& [id, ns] : by_id_) {
      if (IsIdle(*ns)) idle.push_back(ns);
    }
  }
  const absl::MutexLock lock(&mu_);
  uint64_t collected = 0;
  for (const auto& ns : idle) {
    if (!IsUnused(*ns)) continue;  // found again meanwhile
    by_digest_.erase({ns->info.tenant, ns->info.identity_digest});
    collected += by_id_.erase(ns->info.id);
  }
  collected_.fetch_add(collected, std::memory_order_relaxed);
  return collected > 0;
}

absl::StatusOr<NamespaceId> NamespaceDirectory::TakeId(std::string_view tenant,
                                                       const wire::IdentityDigest& digest) {
  if (log_ == nullptr) return next_id_++;
  const std::vector<NamespaceRecord> known = log_->Namespaces();
  for (const NamespaceRecord& record : known) {
    if (record.tenant == tenant && record.identity_digest == digest) return record.id;
  }
  const uint64_t max = kInLogFactor * limits_.namespaces_max;
  if (known.size() < max) return log_->NextNamespaceId();
  return absl::ResourceExhaustedError(
      wire::Tagged(wire::ErrorId::kNamespacesFull,
                   absl::StrCat("namespaces that the log knows: ", known.size(),
                                ", limit 4 * namespaces_max = ", max, "; raise namespaces_max")));
}

absl::Status NamespaceDirectory::Persist(const Draft& draft, const std::string& canonical) {
  if (log_ == nullptr) return absl::OkStatus();
  NamespaceRecord record;
  record.id = draft.info.id;
  record.tenant = draft.info.tenant;
  record.aliases = draft.aliases;
  record.identity = canonical;
  record.identity_digest = draft.info.identity_digest;
  return log_->PutNamespace(record);
}

void NamespaceDirectory::Publish(NamespaceInfo info, std::vector<std::string> aliases) {
  by_digest_[{info.tenant, info.identity_digest}] = info.id;
  for (const std::string& alias : aliases) by_alias_[{info.tenant, alias}] = info.id;
  auto ns = std::make_shared<Namespace>();
  ns->shards = info.identity.shard_count();
  const NamespaceId id = info.id;
  ns->info = std::move(info);
  ns->aliases = std::move(aliases);
  if (const auto before = by_id_.find(id); before != by_id_.end()) ns->use = before->second->use;
  by_id_[id] = std::move(ns);
}

absl::StatusOr<NamespaceInfo> NamespaceDirectory::Open(std::string_view tenant,
                                                       std::string_view alias,
                                                       const wire::Identity& identity) {
  if (tenant.size() > kTenantBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("tenant: ", tenant.size(), " bytes, limit ", kTenantBytesMax));
  }
  if (alias.size() > kAliasBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("alias: ", alias.size(), " bytes, limit ", kAliasBytesMax));
  }
  std::string error;
  if (!wire::ValidateIdentity(identity, &error)) {
    return absl::InvalidArgumentError(absl::StrCat("identity: ", error));
  }
  const std::string canonical = wire::EncodeIdentity(identity);
  const wire::IdentityDigest digest = wire::DigestIdentity(canonical);

  const absl::MutexLock order(&open_mu_);
  absl::StatusOr<Draft> draft = Plan(tenant, alias, identity, digest);
  if (absl::IsResourceExhausted(draft.status()) && CollectIdle()) {
    draft = Plan(tenant, alias, identity, digest);
  }
  if (!draft.ok()) return draft.status();
  if (!draft->changed) return draft->info;
  if (absl::Status status = Persist(*draft, canonical); !status.ok()) return status;
  const absl::MutexLock lock(&mu_);
  Publish(draft->info, std::move(draft->aliases));
  MarkUsed(*by_id_.at(draft->info.id), clock_->CacheSeconds());
  return draft->info;
}

absl::StatusOr<NamespaceDirectory::Draft> NamespaceDirectory::Plan(
    std::string_view tenant, std::string_view alias, const wire::Identity& identity,
    const wire::IdentityDigest& digest) {
  const absl::ReaderMutexLock lock(&mu_);
  if (absl::Status status = CheckAlias(tenant, alias, identity, digest); !status.ok()) {
    return status;
  }
  Draft draft;
  NamespaceInfo& info = draft.info;
  const bool named = !alias.empty() && !by_alias_.contains(TenantAlias(tenant, alias));
  const auto it = by_digest_.find(TenantDigest(tenant, digest));
  if (it != by_digest_.end()) {
    info = by_id_.at(it->second)->info;
    draft.aliases = by_id_.at(it->second)->aliases;
    const bool recovered = info.identity == wire::Identity{};
    draft.changed = recovered || named;
    MarkUsed(*by_id_.at(it->second), clock_->CacheSeconds());
    if (!draft.changed) return draft;
    if (named && draft.aliases.size() >= kAliasesMax) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "alias \"", std::string(alias), "\": the identity has ", kAliasesMax, ", the limit"));
    }
    info.identity = identity;
  } else {
    if (absl::Status status = CheckRoom(tenant); !status.ok()) return status;
    absl::StatusOr<NamespaceId> id = TakeId(tenant, digest);
    if (!id.ok()) return id.status();
    info.id = *id;
    info.tenant = tenant;
    info.identity = identity;
    info.identity_digest = digest;
    info.ns_digest = wire::DigestNamespace(tenant, digest);
  }
  if (named) draft.aliases.emplace_back(alias);
  if (!draft.aliases.empty()) info.alias = draft.aliases.front();
  return draft;
}

std::shared_ptr<const Namespace> NamespaceDirectory::Find(NamespaceId id) const {
  absl::ReaderMutexLock lock(&mu_);
  const auto it = by_id_.find(id);
  if (it == by_id_.end()) return nullptr;
  MarkUsed(*it->second, clock_->CacheSeconds());
  return it->second;
}

std::vector<std::shared_ptr<const Namespace>> NamespaceDirectory::AllNamespaces() const {
  absl::ReaderMutexLock lock(&mu_);
  std::vector<std::shared_ptr<const Namespace>> all;
  all.reserve(by_id_.size());
  for (const auto& [id, ns] : by_id_) all.push_back(ns);
  return all;
}

std::vector<NamespaceInfo> NamespaceDirectory::All() const {
  absl::ReaderMutexLock lock(&mu_);
  std::vector<NamespaceInfo> all;
  all.reserve(by_id_.size());
  for (const auto& [id, ns] : by_id_) {
    all.push_back(ns->info);
    all.back().aliases = ns->aliases;
  }
  return all;
}

}  // namespace kvgate::storage
