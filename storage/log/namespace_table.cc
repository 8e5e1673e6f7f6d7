// SPDX-License-Identifier: Apache-2.0
#include "storage/log/namespace_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace kvgate::storage {

absl::Status NamespaceTable::Check(uint32_t id, const std::string& tenant,
                                   const wire::IdentityDigest& digest) const {
  if (id == 0 || tenant.size() > kTenantBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("namespace id ", id, ", tenant of ",
                                                   tenant.size(), " bytes (limit ", kTenantBytesMax,
                                                   ")"));
  }
  const auto found = entries_.find(id);
  if (found == entries_.end()) return absl::OkStatus();
  const NamespaceRecord& record = found->second.record;
  if (record.tenant != tenant || record.identity_digest != digest) {
    return absl::FailedPreconditionError(absl::StrCat("namespace id ", id,
                                                      " is already another namespace of tenant ",
                                                      absl::string_view(record.tenant)));
  }
  return absl::OkStatus();
}

absl::Status NamespaceTable::Learn(const NamespaceRef& ref) {
  absl::MutexLock lock(&mutex_);
  if (absl::Status s = Check(ref.id, ref.tenant, ref.identity_digest); !s.ok()) return s;
  if (entries_.contains(ref.id)) return absl::OkStatus();
  id_max_ = std::max(id_max_, ref.id);
  entries_[ref.id] = {
      .record = {.id = ref.id, .tenant = ref.tenant, .identity_digest = ref.identity_digest},
      .known = {.ref = ref, .ns_digest = wire::DigestNamespace(ref.tenant, ref.identity_digest)}};
  return absl::OkStatus();
}

absl::Status NamespaceTable::Put(const NamespaceRecord& record) {
  absl::MutexLock lock(&mutex_);
  if (absl::Status s = Check(record.id, record.tenant, record.identity_digest); !s.ok()) return s;
  id_max_ = std::max(id_max_, record.id);
  entries_[record.id] = {
      .record = record,
      .known = {.ref = {.id = record.id,
                        .tenant = record.tenant,
                        .identity_digest = record.identity_digest},
                .ns_digest = wire::DigestNamespace(record.tenant, record.identity_digest)}};
  return absl::OkStatus();
}

std::optional<NamespaceTable::Known> NamespaceTable::Find(uint32_t id) const {
  absl::MutexLock lock(&mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return std::nullopt;
  return found->second.known;
}

std::vector<NamespaceRecord> NamespaceTable::All() const {
  absl::MutexLock lock(&mutex_);
  std::vector<NamespaceRecord> out;
  for (const auto& [id, entry] : entries_) out.push_back(entry.record);
  return out;
}

uint32_t NamespaceTable::TakeNextId() {
  absl::MutexLock lock(&mutex_);
  return ++id_max_;
}

void NamespaceTable::RaiseId(uint32_t id) {
  absl::MutexLock lock(&mutex_);
  id_max_ = std::max(id_max_, id);
}

uint32_t NamespaceTable::id_max() const {
  absl::MutexLock lock(&mutex_);
  return id_max_;
}

}  // namespace kvgate::storage
