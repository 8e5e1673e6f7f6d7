// SPDX-License-Identifier: Apache-2.0
//
// Features: what a client may require at Open, and what is in effect in this daemon.
//
// Numbers are those of kvgate.v1.Feature (a test keeps them equal). A set is a word in which bit i
// stands for feature i, as on the local door. Pure functions, thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "storage/store.h"

namespace kvgate::gateway {

enum class Feature : uint8_t {
  kDiskTier = 1,
  kDirectIo = 2,
  kDurabilityLogged = 3,
  kDurabilityDevice = 4,
  kStage = 5,
  kPin = 6,
  kTtl = 7,
  kProducerCrc = 8,
  kGroups = 9,
  kShards = 10,
  kLocalDoor = 11,
};
inline constexpr uint32_t kFeatureMax = 11;

using FeatureSet = uint64_t;
constexpr FeatureSet Bit(Feature feature) { return 1ull << static_cast<uint8_t>(feature); }
constexpr bool Has(FeatureSet set, Feature feature) { return (set & Bit(feature)) != 0; }

// "FEATURE_DISK_TIER" …; "FEATURE_<number>" for one that this version does not know.
std::string FeatureName(uint32_t number);

FeatureSet FeaturesInEffect(const storage::StoreFacts& facts, bool local_door);

// FAILED_PRECONDITION that names the first required feature that is not in effect, and why.
absl::Status RequireFeatures(FeatureSet required, FeatureSet in_effect,
                             const storage::StoreFacts& facts);

}  // namespace kvgate::gateway
