// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/unsent.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"

namespace kvgate::gateway {
namespace {

// Entries of connections that are gone are dropped when there are more.
constexpr size_t kPeersKept = 64;

uint64_t Left(uint64_t limit, int64_t used) {
  const uint64_t taken = static_cast<uint64_t>(std::max<int64_t>(used, 0));
  return limit > taken ? limit - taken : 0;
}

bool IsConnection(const std::string& peer) {
  return absl::StartsWith(peer, "ipv4:") || absl::StartsWith(peer, "ipv6:");
}

}  // namespace

UnsentDoor::UnsentDoor(UnsentGauge process, uint64_t bytes_max)
    : door_(std::make_shared<UnsentCount>(std::move(process))), bytes_max_(bytes_max) {}

UnsentGauge UnsentDoor::GaugeOf(const std::string& peer) {
  if (!IsConnection(peer)) return door_;
  std::weak_ptr<UnsentCount>& slot = peers_[peer];
  UnsentGauge gauge = slot.lock();
  if (gauge != nullptr) return gauge;
  gauge = std::make_shared<UnsentCount>(door_);
  slot = gauge;
  if (peers_.size() > kPeersKept) {
    absl::erase_if(peers_, [](const auto& entry) { return entry.second.expired(); });
  }
  return gauge;
}

std::unique_ptr<UnsentDoor::Grant> UnsentDoor::Ask(const std::string& peer, uint64_t wanted) {
  absl::MutexLock lock(&mu_);
  UnsentGauge gauge = GaugeOf(peer);
  uint64_t share = wanted;
  if (door_->bytes() > 0) {
    share = Left(bytes_max_, door_->bytes()) / 2;
    if (gauge != door_) share = std::min(share, Left(bytes_max_ / 2, gauge->bytes()));
  }
  return std::make_unique<Grant>(std::move(gauge), std::min(wanted, share));
}

}  // namespace kvgate::gateway
