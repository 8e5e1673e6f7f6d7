// SPDX-License-Identifier: Apache-2.0
//
// NamespaceTable: the namespaces that clients of this daemon run opened, by their wire handles.
//
// Promises: a handle is a random 64-bit number of this incarnation, never 0; the same tenant and
// identity get the same handle; a handle works only for the tenant that opened it; at most
// `namespaces_max` stand at a time; those that the store has collected make room for others.
// Threads: thread-safe; Open may block on the disk (a namespace is made durable), Find never does.
// Ownership: `store` outlives the table. Entries are immutable and shared.
// Errors: INVALID_ARGUMENT (identity, alias), FAILED_PRECONDITION (features, alias of another
// identity, unknown handle), RESOURCE_EXHAUSTED; texts name field, value and limit.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "gateway/core/features.h"
#include "proto/wire/identity.h"
#include "storage/store.h"

namespace kvgate::gateway {

inline constexpr size_t kAliasBytesMax = 128;
inline constexpr size_t kClientNameBytesMax = 128;

struct OpenedNamespace {
  uint64_t handle = 0;
  storage::NamespaceInfo info;
  FeatureSet features = 0;                // in effect
  std::vector<uint32_t> root_group_keys;  // g of each KV group
  uint32_t shard_count = 1;

  storage::NamespaceId id() const { return info.id; }
  const std::string& tenant() const { return info.tenant; }
  uint32_t group_count() const { return static_cast<uint32_t>(root_group_keys.size()); }
};
using NamespaceRef = std::shared_ptr<const OpenedNamespace>;

class NamespaceTable {
 public:
  struct Options {
    uint32_t namespaces_max = 1024;
    bool local_door = false;  // whether FEATURE_LOCAL_DOOR is in effect
  };

  NamespaceTable(storage::Store* store, const Options& options);
  NamespaceTable(const NamespaceTable&) = delete;
  NamespaceTable& operator=(const NamespaceTable&) = delete;

  // Checks alias, identity and required features, and opens the namespace in the store. Blocking.
  absl::StatusOr<NamespaceRef> Open(std::string_view tenant, std::string_view alias,
                                    const wire::Identity& identity, FeatureSet required);

  // FAILED_PRECONDITION when this incarnation does not know the handle for this tenant.
  absl::StatusOr<NamespaceRef> Find(std::string_view tenant, uint64_t handle) const;

  uint64_t incarnation() const { return incarnation_; }
  const storage::StoreFacts& facts() const { return facts_; }
  FeatureSet features() const { return features_; }

 private:
  void ForgetCollected() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after the constructor.
  storage::Store* const store_;
  const Options options_;
  const storage::StoreFacts facts_;
  const FeatureSet features_;
  const uint64_t incarnation_;

  mutable absl::Mutex mu_;
  absl::flat_hash_map<uint64_t, NamespaceRef> by_handle_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<storage::NamespaceId, NamespaceRef> by_id_ ABSL_GUARDED_BY(mu_);
};

// A random number that is not 0, from the kernel.
uint64_t RandomHandle();

}  // namespace kvgate::gateway
