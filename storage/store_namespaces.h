// SPDX-License-Identifier: Apache-2.0
//
// NamespaceDirectory: (tenant, identity) <-> NamespaceId, and which alias belongs to which.
//
// Promises: an id never changes its meaning and is never given twice; a namespace is durable in the
// log's checkpoint before it is answered, when there is a log, and so is each of its aliases. When
// a limit is reached, namespaces that hold no entry, have no alias and were not used for
// namespace_idle_s (nor, if they came from the log, since the start) are forgotten here. The log
// goes on knowing them, since its segments may name them: the same identity gets the same id again.
// Threads: thread-safe. Ownership: Find shares an immutable Namespace. Errors: canonical; texts
// name field, value and limit. Limits: namespaces_max in all and
// namespaces_a_tenant_max (what a log brings along counts, and is never refused), kInLogFactor
// times as many in the log, kAliasesMax a namespace.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/clock.h"
#include "storage/index/index.h"
#include "storage/log/log.h"
#include "storage/store.h"

namespace kvgate::storage {

// Counted since start, through every version of a Namespace.
struct NamespaceCounters {
  std::atomic<uint32_t> used_s{0};  // cache clock of the last call; 0: none yet
  std::atomic<uint64_t> lookups{0}, keys_asked{0}, keys_held{0}, blocks_stored{0};
  std::atomic<uint64_t> hit_tokens_memory{0}, hit_tokens_disk{0};
  std::atomic<double> recompute_ms_per_token{0};  // as the last Lookup that knew it said
};

struct Namespace {
  NamespaceInfo info;
  std::shared_ptr<NamespaceCounters> use = std::make_shared<NamespaceCounters>();
  std::vector<std::string> aliases;  // first given first; info.alias is the first
  uint32_t shards = 1;
  // Of a group's blocks; 0 when the identity has no such group.
  uint32_t BlockTokens(uint32_t group) const {
    return group < info.identity.groups.size() ? info.identity.groups[group].block_tokens : 0;
  }
  uint32_t groups() const { return static_cast<uint32_t>(info.identity.groups.size()); }
  bool FullAttention(uint32_t group) const {
    return group < groups() && info.identity.groups[group].kind == wire::GroupKind::kFullAttention;
  }
};

inline constexpr size_t kTenantBytesMax = 64;
inline constexpr size_t kAliasBytesMax = 128;
inline constexpr size_t kAliasesMax = 64;

class NamespaceDirectory {
 public:
  static constexpr uint64_t kInLogFactor = 4;
  struct Limits {
    uint32_t namespaces_max, namespaces_a_tenant_max, idle_s;
  };
  // `log` may be null; all outlive the directory.
  NamespaceDirectory(const Limits& limits, Log* log, const Index* index, const Clock* clock)
      : limits_(limits), log_(log), index_(index), clock_(clock) {}

  // Takes over what the log knows. Once, before anything else.
  absl::Status Load();

  absl::StatusOr<NamespaceInfo> Open(std::string_view tenant, std::string_view alias,
                                     const wire::Identity& identity);
  std::shared_ptr<const Namespace> Find(NamespaceId id) const;
  std::vector<NamespaceInfo> All() const;
  std::vector<std::shared_ptr<const Namespace>> AllNamespaces() const;
  uint64_t collected() const { return collected_.load(std::memory_order_relaxed); }

 private:
  using TenantDigest = std::pair<std::string, wire::IdentityDigest>;
  using TenantAlias = std::pair<std::string, std::string>;

  // A namespace as it is to be, and whether it differs from what is held.
  struct Draft {
    NamespaceInfo info;
    std::vector<std::string> aliases;
    bool changed = true;
  };

  absl::Status CheckAlias(std::string_view tenant, std::string_view alias,
                          const wire::Identity& identity, const wire::IdentityDigest& digest) const
      ABSL_SHARED_LOCKS_REQUIRED(mu_);
  absl::Status CheckRoom(std::string_view tenant) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  bool IsUnused(const Namespace& ns) const;
  bool IsIdle(const Namespace& ns) const;
  bool CollectIdle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(open_mu_) ABSL_LOCKS_EXCLUDED(mu_);
  // A new id, or the one that the log knows for this identity.
  absl::StatusOr<NamespaceId> TakeId(std::string_view tenant, const wire::IdentityDigest& digest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(open_mu_);
  absl::StatusOr<Draft> Plan(std::string_view tenant, std::string_view alias,
                             const wire::Identity& identity, const wire::IdentityDigest& digest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(open_mu_) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Persist(const Draft& draft, const std::string& canonical);
  void Publish(NamespaceInfo info, std::vector<std::string> aliases)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Limits limits_;
  Log* const log_;
  const Index* const index_;
  const Clock* const clock_;

  std::atomic<uint64_t> collected_{0};  // self-synchronised

  // One Open at a time; held while the checkpoint is written, which may take as long as a disk
  // does.
  absl::Mutex open_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  NamespaceId next_id_ ABSL_GUARDED_BY(open_mu_) = 1;  // without a log

  mutable absl::Mutex mu_;  // never held while anything waits
  absl::flat_hash_map<NamespaceId, std::shared_ptr<const Namespace>> by_id_ ABSL_GUARDED_BY(mu_);
  std::map<TenantDigest, NamespaceId> by_digest_ ABSL_GUARDED_BY(mu_);
  std::map<TenantAlias, NamespaceId> by_alias_ ABSL_GUARDED_BY(mu_);
};

}  // namespace kvgate::storage
