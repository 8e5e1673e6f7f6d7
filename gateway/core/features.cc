// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/features.h"

#include "absl/strings/str_cat.h"
#include "proto/wire/error_id.h"

namespace kvgate::gateway {
namespace {

std::string Reason(uint32_t number, const storage::StoreFacts& facts) {
  if (number == 0 || number > kFeatureMax) return "this server does not know it";
  switch (static_cast<Feature>(number)) {
    case Feature::kDiskTier:
    case Feature::kDurabilityLogged:
    case Feature::kDurabilityDevice:
      return "no disk tier is in effect";
    case Feature::kDirectIo:
      return absl::StrCat("the disk mode is \"", facts.disk_mode, "\"");
    case Feature::kLocalDoor:
      return "the local door is closed";
    default:
      return "it is off";
  }
}

}  // namespace

std::string FeatureName(uint32_t number) {
  static constexpr const char* kNames[] = {
      "UNSPECIFIED",       "DISK_TIER", "DIRECT_IO", "DURABILITY_LOGGED",
      "DURABILITY_DEVICE", "STAGE",     "PIN",       "TTL",
      "PRODUCER_CRC",      "GROUPS",    "SHARDS",    "LOCAL_DOOR"};
  static_assert(sizeof(kNames) / sizeof(kNames[0]) == kFeatureMax + 1);
  if (number > kFeatureMax) return absl::StrCat("FEATURE_", number);
  return absl::StrCat("FEATURE_", kNames[number]);
}

FeatureSet FeaturesInEffect(const storage::StoreFacts& facts, bool local_door) {
  FeatureSet set = Bit(Feature::kStage) | Bit(Feature::kPin) | Bit(Feature::kTtl) |
                   Bit(Feature::kProducerCrc) | Bit(Feature::kGroups) | Bit(Feature::kShards);
  if (facts.disk_tier) {
    set |=
        Bit(Feature::kDiskTier) | Bit(Feature::kDurabilityLogged) | Bit(Feature::kDurabilityDevice);
    if (facts.disk_mode == "direct") set |= Bit(Feature::kDirectIo);
  }
  if (local_door) set |= Bit(Feature::kLocalDoor);
  return set;
}

absl::Status RequireFeatures(FeatureSet required, FeatureSet in_effect,
                             const storage::StoreFacts& facts) {
  const FeatureSet missing = required & ~in_effect;
  if (missing == 0) return absl::OkStatus();
  const uint32_t number = static_cast<uint32_t>(__builtin_ctzll(missing));
  return absl::FailedPreconditionError(
      wire::Tagged(wire::ErrorId::kFeatureNotInEffect,
                   absl::StrCat("required_features: ", FeatureName(number),
                                " is not in effect: ", Reason(number, facts))));
}

}  // namespace kvgate::gateway
