// SPDX-License-Identifier: Apache-2.0
//
// NamespaceTable: the namespaces that the log knows, from the checkpoint and from batches.
// Thread-safe. Nothing is ever removed: an id on disk must stay explained.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "proto/wire/identity_digest.h"
#include "storage/log/format.h"

namespace kvgate::storage {

class NamespaceTable {
 public:
  struct Known {
    NamespaceRef ref;
    wire::NsDigest ns_digest{};
  };

  // From a batch or footer: adds what is not known yet. FAILED_PRECONDITION when the id is known
  // with another tenant or digest.
  absl::Status Learn(const NamespaceRef& ref);
  // With aliases and canonical identity. Errors as above.
  absl::Status Put(const NamespaceRecord& record);

  std::optional<Known> Find(uint32_t id) const;
  std::vector<NamespaceRecord> All() const;
  uint32_t TakeNextId();
  void RaiseId(uint32_t id);
  uint32_t id_max() const;

 private:
  struct Entry {
    NamespaceRecord record;
    Known known;
  };
  absl::Status Check(uint32_t id, const std::string& tenant,
                     const wire::IdentityDigest& digest) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::map<uint32_t, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  uint32_t id_max_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace kvgate::storage
