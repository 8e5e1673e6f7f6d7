// SPDX-License-Identifier: Apache-2.0
#include "client/core/namespaces.h"

namespace kvgate::client {
namespace {

bool SameRequest(const OpenRequest& a, const OpenRequest& b) {
  return a.identity == b.identity && a.required_features == b.required_features &&
         a.alias == b.alias;
}

}  // namespace

const Namespaces::Entry* Namespaces::Find(uint64_t number) const {
  if (number == 0 || number > entries_.size() || !entries_[number - 1].used) return nullptr;
  return &entries_[number - 1];
}

Namespaces::Entry* Namespaces::Find(uint64_t number) {
  return const_cast<Entry*>(static_cast<const Namespaces*>(this)->Find(number));
}

uint64_t Namespaces::Number(const OpenRequest& request, bool* fresh) {
  MutexLock lock(mutex_);
  *fresh = false;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].used && SameRequest(entries_[i].request, request)) return i + 1;
  }
  *fresh = true;
  for (size_t i = 0; i < kNamespacesMax; ++i) {
    if (i == entries_.size()) entries_.emplace_back();
    if (entries_[i].used) continue;
    entries_[i].used = true;
    entries_[i].request = request;
    return i + 1;
  }
  return 0;
}

void Namespaces::Forget(uint64_t number) {
  MutexLock lock(mutex_);
  Entry* entry = Find(number);
  // One that another caller opened in the meantime stays.
  if (entry == nullptr || entry->attachment != 0) return;
  *entry = Entry{};
}

std::optional<uint64_t> Namespaces::Handle(uint64_t number, uint64_t attachment) const {
  MutexLock lock(mutex_);
  const Entry* entry = Find(number);
  if (entry == nullptr) return std::nullopt;
  return entry->attachment == attachment ? entry->handle : 0;
}

OpenRequest Namespaces::Request(uint64_t number) const {
  MutexLock lock(mutex_);
  const Entry* entry = Find(number);
  return entry == nullptr ? OpenRequest{} : entry->request;
}

void Namespaces::Opened(uint64_t number, uint64_t attachment, const OpenReply& reply) {
  MutexLock lock(mutex_);
  Entry* entry = Find(number);
  // A slow answer of an older attachment must not replace that of the newer one.
  if (entry == nullptr || entry->attachment > attachment) return;
  entry->attachment = attachment;
  entry->handle = reply.ns_handle;
  entry->root_group_keys = reply.root_group_keys;
  entry->payload_bytes_max = reply.limits.payload_bytes_max;
}

void Namespaces::Lost(uint64_t number, uint64_t handle) {
  MutexLock lock(mutex_);
  Entry* entry = Find(number);
  if (entry != nullptr && entry->handle == handle) entry->handle = 0;
}

uint32_t Namespaces::RootGroupKeys(uint64_t number, uint32_t group) const {
  MutexLock lock(mutex_);
  const Entry* entry = Find(number);
  if (entry == nullptr || group >= entry->root_group_keys.size()) return 0;
  return entry->root_group_keys[group];
}

uint64_t Namespaces::PayloadBytesMax(uint64_t number) const {
  MutexLock lock(mutex_);
  const Entry* entry = Find(number);
  return entry == nullptr ? 0 : entry->payload_bytes_max;
}

}  // namespace kvgate::client
