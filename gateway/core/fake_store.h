// SPDX-License-Identifier: Apache-2.0
//
// NamespaceStore: as much of a Store as namespaces need, for tests of the doors' checks. Everything
// else answers UNIMPLEMENTED. Thread-compatible. Namespaces are never forgotten, as on disk.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "storage/store.h"

namespace kvgate::gateway {

class NamespaceStore : public storage::Store {
 public:
  storage::StoreFacts facts_now;
  std::set<storage::NamespaceId> collected;  // gone from Namespaces()

  absl::Status Close(absl::Duration) override { return absl::OkStatus(); }
  absl::StatusOr<storage::NamespaceInfo> OpenNamespace(std::string_view tenant,
                                                       std::string_view alias,
                                                       const wire::Identity& identity) override {
    const auto key = std::make_pair(std::string(tenant), wire::EncodeIdentity(identity));
    auto [at, is_new] = ids_.try_emplace(key, static_cast<uint32_t>(ids_.size() + 1));
    storage::NamespaceInfo info;
    info.id = at->second;
    info.tenant = tenant;
    info.alias = alias;
    info.identity = identity;
    return info;
  }
  std::vector<storage::NamespaceInfo> Namespaces() const override {
    std::vector<storage::NamespaceInfo> all;
    for (const auto& [key, id] : ids_) {
      if (collected.contains(id)) continue;
      all.emplace_back().id = id;
    }
    return all;
  }
  void Lookup(const storage::LookupRequest&, storage::LookupDone done) override { done(No()); }
  void Get(const storage::GetRequest&, storage::GetDone done) override { done(No()); }
  void Set(const storage::SetRequest&, storage::SetDone done) override { done(No()); }
  absl::StatusOr<storage::OfferResult> Offer(const storage::OfferRequest&) override { return No(); }
  void Delete(const storage::DeleteRequest&, storage::DeleteDone done) override { done(No()); }
  bool Touch(storage::NamespaceId, std::string_view, uint8_t, const storage::Hints&) override {
    return false;
  }
  uint32_t Pin(storage::NamespaceId, uint64_t, uint32_t) override { return 0; }
  bool Unpin(storage::NamespaceId, uint64_t) override { return false; }
  absl::StatusOr<storage::ScanResult> Scan(storage::NamespaceId, std::string_view,
                                           uint32_t) override {
    return No();
  }
  absl::StatusOr<storage::Explanation> Explain(storage::NamespaceId, std::string_view) override {
    return No();
  }
  std::vector<storage::RequestUse> RecentRequests(size_t) const override { return {}; }
  std::vector<storage::NamespaceUse> NamespaceUses() const override { return {}; }
  storage::StoreFacts facts() const override { return facts_now; }
  void VisitCounters(const storage::CounterVisitor&) const override {}
  const storage::PoolExport* pool_export() const override { return nullptr; }

 private:
  static absl::Status No() { return absl::UnimplementedError("NamespaceStore"); }
  std::map<std::pair<std::string, std::string>, uint32_t> ids_;
};

// An identity that every daemon serves: one full-attention group of 32 tokens a block.
inline wire::Identity TestIdentity() {
  wire::Identity identity;
  identity.model = "demo";
  identity.weights_digest = std::string(32, '\1');
  identity.layout = "opaque";
  identity.prefix_hash_algorithm = "sha256";
  wire::KvGroup group;
  group.kind = wire::GroupKind::kFullAttention;
  group.block_tokens = 32;
  group.layer_names = {"layer.0"};
  group.page_bytes = 4096;
  identity.groups = {group};
  return identity;
}

}  // namespace kvgate::gateway
