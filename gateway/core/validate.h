// SPDX-License-Identifier: Apache-2.0
//
// What every door checks before a call reaches the store, once for all doors.
//
// Pure functions, thread-safe; they look at no bytes of keys or values, only at their shapes.
// Errors: INVALID_ARGUMENT, or FAILED_PRECONDITION for what this daemon has not in effect; the text
// names field, value and limit. Nothing was done when a check fails.
// Arguments keep the width of the wire, so that narrowing happens after the check.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/core/namespace_table.h"
#include "proto/wire/key.h"
#include "storage/store.h"

namespace kvgate::gateway {

inline constexpr uint64_t kNoPayloadLimit = UINT64_MAX;  // the local door: bounded by leases

// Single fields.
absl::Status CheckKey(std::string_view key, std::string_view field);
absl::Status CheckKeys(std::span<const std::string_view> keys, size_t keys_max,
                       std::string_view field);
absl::Status CheckValueBytes(uint64_t value_bytes, size_t index);
absl::Status CheckGroup(const OpenedNamespace& ns, uint32_t group);
absl::Status CheckShard(const OpenedNamespace& ns, uint32_t shard);
// `root` is empty exactly when depth mod g = 0. REQUIRES: CheckGroup.
absl::Status CheckRoot(const OpenedNamespace& ns, uint32_t group, std::string_view root,
                       uint32_t depth);
absl::Status CheckPinMs(uint32_t pin_ms);    // of a Lookup: 0 pins nothing
absl::Status CheckRenewMs(uint32_t pin_ms);  // of a Pin
// answer_by_ms must lie before the deadline, both counted from the arrival.
absl::Status CheckAnswerBy(uint32_t answer_by_ms, absl::Duration until_deadline);

// Numbers of the wire to the store's words; unknown ones are refused by field and value.
absl::StatusOr<storage::SetMode> SetModeFromWire(uint32_t mode);
absl::StatusOr<storage::Match> MatchFromWire(uint32_t match);
// Of Set: refused when it is above what is in effect. 0 = the server's default.
absl::StatusOr<storage::Durability> SetDurabilityFromWire(uint32_t durability,
                                                          const OpenedNamespace& ns);
// Of Delete: 0 = LOGGED; only LOGGED and DEVICE exist. Without a disk tier nothing outlives the
// daemon anyway, so both hold there.
absl::StatusOr<storage::Durability> DeleteDurabilityFromWire(uint32_t durability);

// Milliseconds to the store's seconds, rounded up; 0 stays 0.
inline uint32_t TtlSeconds(uint32_t ttl_ms) { return ttl_ms / 1000 + (ttl_ms % 1000 != 0); }

// Whole calls.
struct GetArgs {
  std::span<const std::string_view> keys;
  std::optional<storage::GetHandle> handle;
  uint32_t group = 0, shard = 0;
  std::string_view root;
  uint32_t depth = 0;
  uint64_t range_offset = 0, range_bytes = 0;  // both 0: whole
};
absl::Status ValidateGet(const OpenedNamespace& ns, const GetArgs& args);

struct SetArgs {
  std::span<const storage::SetItem> items;
  std::string_view parent, root;
  uint32_t depth = 0;
  uint32_t group = 0, shard = 0;
  uint64_t payload_bytes_max = wire::kPayloadBytesMax;
};
absl::Status ValidateSet(const OpenedNamespace& ns, const SetArgs& args);

struct OfferArgs {
  std::span<const std::string_view> keys;
  std::span<const uint64_t> value_bytes;
  uint32_t group = 0, shard = 0;
  std::string_view root;
  uint32_t depth = 0;
};
absl::Status ValidateOffer(const OpenedNamespace& ns, const OfferArgs& args);

// group and shard: absent = all.
absl::Status ValidateDelete(const OpenedNamespace& ns, std::span<const std::string_view> keys,
                            std::optional<uint32_t> group, std::optional<uint32_t> shard);

// `until_deadline` counts from the arrival; answer_by_ms is required with stage.
struct LookupArgs {
  std::span<const storage::LookupQuery> queries;
  uint32_t shards = 0;
  uint32_t pin_ms = 0;
  bool stage = false;
  uint32_t answer_by_ms = 0;
  double recompute_ms_per_token = 0;
  absl::Duration until_deadline = absl::InfiniteDuration();
};
absl::Status ValidateLookup(const OpenedNamespace& ns, const LookupArgs& args);

// The advice of a Lookup from its prediction: kvgate.v1.Advice (0 unknown, 1 load, 2 recompute).
uint32_t AdviceFor(const storage::LookupResult& result, uint32_t first_wanted_tokens,
                   double recompute_ms_per_token);

}  // namespace kvgate::gateway
