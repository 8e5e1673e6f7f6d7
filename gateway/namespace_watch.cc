// SPDX-License-Identifier: Apache-2.0
#include "gateway/namespace_watch.h"

#include <pthread.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gateway/logging.h"

namespace kvgate::gateway {

NamespaceWatch::NamespaceWatch(const storage::Store* store, absl::Duration interval, Warn warn)
    : store_(store), warn_(std::move(warn)), thread_([this, interval] {
        pthread_setname_np(pthread_self(), "kvgate-nshits");
        while (!stopped_.WaitForNotificationWithTimeout(interval)) Look(absl::Now());
      }) {}

NamespaceWatch::~NamespaceWatch() {
  stopped_.Notify();
  thread_.join();
}

void NamespaceWatch::Look(absl::Time now) {
  const std::vector<storage::NamespaceInfo> infos = store_->Namespaces();
  std::map<uint32_t, NamespaceFacts> facts;
  for (const storage::NamespaceInfo& info : infos) {
    // A lost identity is an empty one.
    facts[info.id] = {.ns = info.id,
                      .tenant = info.tenant,
                      .identity = info.identity.model.empty() ? nullptr : &info.identity};
  }
  for (const storage::NamespaceUse& use : store_->NamespaceUses()) {
    const auto found = facts.find(use.ns);
    if (found == facts.end()) continue;
    found->second.keys_asked = use.keys_asked;
    found->second.keys_held = use.keys_held;
    found->second.blocks_stored = use.blocks_stored;
  }
  std::vector<NamespaceFacts> all;
  all.reserve(facts.size());
  for (auto& [id, one] : facts) all.push_back(std::move(one));
  const std::vector<NoHits> found = FindNoHits(all);
  without_hits_.store(found.size(), std::memory_order_relaxed);

  absl::MutexLock lock(&mu_);
  std::erase_if(warned_, [now](const auto& one) { return now - one.second >= kRepeat; });
  for (const NoHits& no_hits : found) {
    if (warned_.emplace(no_hits.ns, now).second) warn_(no_hits);
  }
}

void LogNoHits(const NoHits& no_hits) {
  Log(LogLevel::kWarning,
      absl::StrCat("namespace ", no_hits.ns, " asked for ", no_hits.keys_asked,
                   " keys and found none, while namespace ", no_hits.neighbour,
                   " of the same tenant has blocks: they differ in ", no_hits.field,
                   "; start both engines with the same one to share"),
      {{"field", no_hits.field}, {"here", no_hits.here}, {"there", no_hits.there}});
}

}  // namespace kvgate::gateway
