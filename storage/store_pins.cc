// SPDX-License-Identifier: Apache-2.0
#include "storage/store_pins.h"

#include <algorithm>

#include "storage/base/check.h"
#include "storage/store_random.h"

namespace kvgate::storage {

void PinTable::AddBytes(const Block& block, bool add) {
  uint64_t& sum = block.in_memory ? memory_bytes_ : disk_bytes_;
  const uint64_t granted = block.granted ? block.bytes : 0;
  if (add) {
    sum += block.bytes;
    granted_bytes_ += granted;
  } else {
    KVGATE_CHECK(sum >= block.bytes && granted_bytes_ >= granted);
    sum -= block.bytes;
    granted_bytes_ -= granted;
  }
}

// Room for one more token of the tenant.
bool PinTable::MakeRoom(const std::string& tenant) {
  while (true) {
    // Looked up each time: the end of a tenant's last token removes the tenant.
    const auto it = tenants_.find(tenant);
    if (it == tenants_.end() || it->second.tokens < limits_.tokens_max) return true;
    Tenant& owner = it->second;
    if (owner.replaceable.empty()) return false;
    const size_t victim = absl::Uniform<size_t>(random_, 0, owner.replaceable.size());
    const uint64_t token = owner.replaceable[victim];
    owner.replaceable[victim] = owner.replaceable.back();
    owner.replaceable.pop_back();
    if (tokens_.find(token) == tokens_.end()) continue;
    End(token);
    ++replaced_;
  }
}

bool PinTable::HasRoom(const PinGrant& grant) const {
  uint64_t memory = 0, disk = 0;
  for (const PinnedBlock& wanted : grant.blocks) {
    const auto held = blocks_.find(wanted.id);
    if (held == blocks_.end()) {
      (wanted.in_memory ? memory : disk) += wanted.bytes;
    } else if (grant.staged && !held->second.granted) {
      memory += held->second.bytes;
    }
  }
  return (memory == 0 || granted_bytes_ + memory <= limits_.memory_bytes_max) &&
         (disk == 0 || disk_bytes_ + disk <= limits_.disk_bytes_max);
}

uint64_t PinTable::Add(PinGrant grant, absl::Time now) {
  Expire(now);
  if (!HasRoom(grant) || !MakeRoom(grant.tenant)) return 0;
  uint64_t token = RandomNonZero64();
  while (tokens_.find(token) != tokens_.end()) token = RandomNonZero64();
  for (const PinnedBlock& pinned : grant.blocks) {
    Block& block = blocks_[pinned.id];
    if (block.tokens++ > 0) {
      if (!grant.staged || block.granted || !block.in_memory) continue;
      AddBytes(block, false);
      block.granted = true;
    } else {
      block.bytes = pinned.bytes;
      block.in_memory = block.granted = pinned.in_memory;
    }
    AddBytes(block, true);
  }
  Tenant& owner = tenants_[grant.tenant];
  ++owner.tokens;
  if (!grant.staged) {
    // Ended tokens are dropped here when they outnumber the live ones.
    if (owner.replaceable.size() > 2 * size_t{limits_.tokens_max}) {
      std::erase_if(owner.replaceable,
                    [this](uint64_t old) { return tokens_.find(old) == tokens_.end(); });
    }
    owner.replaceable.push_back(token);
  }
  expiries_.emplace(grant.expires, token);
  tokens_.emplace(token, std::move(grant));
  return token;
}

void PinTable::End(uint64_t token) {
  const auto it = tokens_.find(token);
  KVGATE_CHECK(it != tokens_.end());
  const PinGrant& grant = it->second;
  for (const PinnedBlock& pinned : grant.blocks) {
    const auto block = blocks_.find(pinned.id);
    KVGATE_CHECK(block != blocks_.end());
    if (--block->second.tokens > 0) continue;
    AddBytes(block->second, false);
    blocks_.erase(block);
  }
  expiries_.erase({grant.expires, token});
  const auto owner = tenants_.find(grant.tenant);
  if (--owner->second.tokens == 0) tenants_.erase(owner);
  tokens_.erase(it);
}

void PinTable::Expire(absl::Time now) {
  while (!expiries_.empty() && expiries_.begin()->first <= now) End(expiries_.begin()->second);
}

const std::vector<PinnedGroup>* PinTable::Find(NamespaceId ns, uint64_t token, absl::Time now) {
  Expire(now);
  const auto it = tokens_.find(token);
  return it == tokens_.end() || it->second.ns != ns ? nullptr : &it->second.groups;
}

bool PinTable::Renew(NamespaceId ns, uint64_t token, absl::Time expires, absl::Time now) {
  if (Find(ns, token, now) == nullptr) return false;
  PinGrant& grant = tokens_.at(token);
  expiries_.erase({grant.expires, token});
  grant.expires = expires;
  expiries_.emplace(expires, token);
  return true;
}

bool PinTable::Remove(NamespaceId ns, uint64_t token, absl::Time now) {
  if (Find(ns, token, now) == nullptr) return false;
  End(token);
  return true;
}

bool PinTable::Keeps(const BlockId& id) const {
  if (blocks_.empty()) return false;
  const auto it = blocks_.find(id);
  return it != blocks_.end() && (it->second.granted || memory_bytes_ <= limits_.memory_bytes_max);
}

void PinTable::Moved(const BlockId& id, bool in_memory) {
  if (blocks_.empty()) return;
  const auto it = blocks_.find(id);
  if (it == blocks_.end() || it->second.in_memory == in_memory) return;
  AddBytes(it->second, false);
  it->second.in_memory = in_memory;
  it->second.granted = false;
  AddBytes(it->second, true);
}

}  // namespace kvgate::storage
