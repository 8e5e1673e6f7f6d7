// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/validate.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "gateway/core/text.h"
#include "proto/wire/error_id.h"

namespace kvgate::gateway {
namespace {

using storage::Durability;
using wire::ErrorId;

template <typename... Args>
absl::Status Invalid(ErrorId id, const Args&... args) {
  return absl::InvalidArgumentError(wire::Tagged(id, absl::StrCat(args...)));
}

absl::Status CheckCount(size_t count, size_t keys_max, std::string_view field) {
  if (count == 0)
    return Invalid(ErrorId::kBadBatch, Sv(field), ": the batch is empty, 1 to ", keys_max,
                   " are allowed");
  if (count > keys_max) {
    return Invalid(ErrorId::kBadBatch, Sv(field), ": ", count, " in one batch, at most ", keys_max,
                   " are allowed");
  }
  return absl::OkStatus();
}

absl::Status CheckKeyListBytes(uint64_t bytes, std::string_view field) {
  if (bytes <= wire::kKeyListBytesMax) return absl::OkStatus();
  return Invalid(ErrorId::kBadKey, Sv(field), ": ", bytes, " bytes of keys, at most ",
                 wire::kKeyListBytesMax, " are allowed");
}

absl::Status CheckChain(const OpenedNamespace& ns, uint32_t group, uint32_t shard,
                        std::string_view root, uint32_t depth) {
  if (absl::Status s = CheckGroup(ns, group); !s.ok()) return s;
  if (absl::Status s = CheckShard(ns, shard); !s.ok()) return s;
  return CheckRoot(ns, group, root, depth);
}

absl::Status CheckHandle(const GetArgs& args) {
  const storage::GetHandle& handle = *args.handle;
  if (!args.keys.empty()) {
    return Invalid(ErrorId::kBadHandle, "handle: stands beside ", args.keys.size(),
                   " keys, only one of the two is allowed");
  }
  if (!args.root.empty()) {
    return Invalid(ErrorId::kBadHandle, "root: ", args.root.size(),
                   " bytes beside a handle, none are allowed");
  }
  if (args.depth != 0)
    return Invalid(ErrorId::kBadHandle, "depth: ", args.depth,
                   " beside a handle, only 0 is allowed");
  if (handle.pin_token == 0) return Invalid(ErrorId::kBadHandle, "handle.pin_token: 0 is no token");
  if (absl::Status s = CheckCount(handle.count, wire::kKeysMax, "handle.count"); !s.ok()) return s;
  if (uint64_t{handle.first} + handle.count > wire::kLookupKeysMax) {
    return Invalid(ErrorId::kBadHandle, "handle.first: ", handle.first, " + count ", handle.count,
                   " is beyond the longest chain, ", wire::kLookupKeysMax);
  }
  return absl::OkStatus();
}

absl::Status CheckRange(uint64_t offset, uint64_t bytes) {
  if (offset == 0 && bytes == 0) return absl::OkStatus();
  if (bytes == 0) {
    return Invalid(ErrorId::kTooLarge, "range_bytes: 0 with range_offset ", offset, ", 1 to ",
                   wire::kValueBytesMax, " are allowed");
  }
  if (offset >= wire::kValueBytesMax || bytes > wire::kValueBytesMax - offset) {
    return Invalid(ErrorId::kTooLarge, "range_bytes: ", bytes, " from range_offset ", offset,
                   " ends beyond the largest value, ", wire::kValueBytesMax);
  }
  return absl::OkStatus();
}

absl::Status CheckQuery(const OpenedNamespace& ns, const storage::LookupQuery& query, size_t index,
                        bool several) {
  const std::string field = absl::StrCat("queries[", index, "]");
  if (query.group >= ns.group_count()) {
    return Invalid(ErrorId::kBadQuery, field, ".group: ", query.group, ", the identity has ",
                   ns.group_count());
  }
  if (absl::Status s = CheckKeys(query.keys, wire::kLookupKeysMax, field + ".keys"); !s.ok()) {
    return s;
  }
  const bool window = query.match == storage::Match::kWindow;
  if (window && query.window_blocks == 0) {
    return Invalid(ErrorId::kBadQuery, field,
                   ".window_blocks: 0 with MATCH_WINDOW, at least 1 is needed");
  }
  if (!window && query.window_blocks != 0) {
    return Invalid(ErrorId::kBadQuery, field, ".window_blocks: ", query.window_blocks,
                   ", only MATCH_WINDOW has one");
  }
  const uint32_t block_tokens = ns.info.identity.groups[query.group].block_tokens;
  if (query.block_tokens == 0 && several) {
    return Invalid(ErrorId::kBadQuery, field, ".block_tokens: 0, required with several queries");
  }
  if (query.block_tokens != 0 && query.block_tokens != block_tokens) {
    return Invalid(ErrorId::kBadQuery, field, ".block_tokens: ", query.block_tokens,
                   ", the identity's is ", block_tokens);
  }
  return absl::OkStatus();
}

absl::Status CheckQueries(const OpenedNamespace& ns,
                          std::span<const storage::LookupQuery> queries) {
  if (queries.empty() || queries.size() > ns.group_count()) {
    return Invalid(ErrorId::kBadQuery, "queries: ", queries.size(), ", one for each of at most ",
                   ns.group_count(), " KV groups is allowed");
  }
  uint64_t keys = 0, key_bytes = 0, groups_seen = 0;
  for (size_t i = 0; i < queries.size(); ++i) {
    if (absl::Status s = CheckQuery(ns, queries[i], i, queries.size() > 1); !s.ok()) return s;
    if (groups_seen & (1ull << queries[i].group)) {
      return Invalid(ErrorId::kBadQuery, "queries[", i, "].group: ", queries[i].group,
                     " was asked before");
    }
    groups_seen |= 1ull << queries[i].group;
    keys += queries[i].keys.size();
    for (std::string_view key : queries[i].keys) key_bytes += key.size();
  }
  if (absl::Status s = CheckCount(keys, wire::kLookupKeysMax, "queries.keys"); !s.ok()) return s;
  return CheckKeyListBytes(key_bytes, "queries.keys");
}

}  // namespace

absl::Status CheckKey(std::string_view key, std::string_view field) {
  if (!key.empty() && key.size() <= wire::kKeyBytesMax) return absl::OkStatus();
  return Invalid(ErrorId::kBadKey, Sv(field), ": ", key.size(), " bytes, 1 to ", wire::kKeyBytesMax,
                 " are allowed");
}

absl::Status CheckKeys(std::span<const std::string_view> keys, size_t keys_max,
                       std::string_view field) {
  if (absl::Status s = CheckCount(keys.size(), keys_max, field); !s.ok()) return s;
  uint64_t bytes = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    bytes += keys[i].size();
    if (!keys[i].empty() && keys[i].size() <= wire::kKeyBytesMax) continue;
    return CheckKey(keys[i], absl::StrCat(Sv(field), "[", i, "]"));
  }
  return CheckKeyListBytes(bytes, field);
}

absl::Status CheckValueBytes(uint64_t value_bytes, size_t index) {
  if (value_bytes >= 1 && value_bytes <= wire::kValueBytesMax) return absl::OkStatus();
  return Invalid(ErrorId::kTooLarge, "value_bytes[", index, "]: ", value_bytes, ", 1 to ",
                 wire::kValueBytesMax, " are allowed");
}

absl::Status CheckGroup(const OpenedNamespace& ns, uint32_t group) {
  if (group < ns.group_count()) return absl::OkStatus();
  return Invalid(ErrorId::kBadChain, "group: ", group, ", the identity has ", ns.group_count());
}

absl::Status CheckShard(const OpenedNamespace& ns, uint32_t shard) {
  if (shard < ns.shard_count) return absl::OkStatus();
  return Invalid(ErrorId::kBadChain, "shard: ", shard, ", the identity has ", ns.shard_count);
}

absl::Status CheckRoot(const OpenedNamespace& ns, uint32_t group, std::string_view root,
                       uint32_t depth) {
  const uint32_t g = ns.root_group_keys[group];
  if (depth % g == 0) {
    if (root.empty()) return absl::OkStatus();
    return Invalid(ErrorId::kBadChain, "root: ", root.size(), " bytes at depth ", depth,
                   ", must be empty there (a root group has ", g, " keys)");
  }
  if (root.empty()) {
    return Invalid(ErrorId::kBadChain, "root: empty at depth ", depth,
                   ", must name the first key of the root group (of ", g, " keys)");
  }
  return CheckKey(root, "root");
}

absl::Status CheckPinMs(uint32_t pin_ms) {
  if (pin_ms <= wire::kPinMsMax) return absl::OkStatus();
  return Invalid(ErrorId::kBadHandle, "pin_ms: ", pin_ms, ", at most ", wire::kPinMsMax,
                 " are allowed");
}

absl::Status CheckRenewMs(uint32_t pin_ms) {
  if (pin_ms != 0) return CheckPinMs(pin_ms);
  return Invalid(ErrorId::kBadHandle, "pin_ms: 0, 1 to ", wire::kPinMsMax,
                 " are allowed; Unpin ends a pin");
}

absl::Status CheckAnswerBy(uint32_t answer_by_ms, absl::Duration until_deadline) {
  if (absl::Milliseconds(answer_by_ms) < until_deadline || answer_by_ms == 0) {
    return absl::OkStatus();
  }
  return Invalid(ErrorId::kBadDeadline, "answer_by_ms: ", answer_by_ms,
                 ", must lie before the deadline, in ", absl::ToInt64Milliseconds(until_deadline),
                 " ms");
}

absl::StatusOr<storage::SetMode> SetModeFromWire(uint32_t mode) {
  if (mode > 2)
    return Invalid(ErrorId::kBadField, "mode: ", mode,
                   ", IF_ABSENT (1) and OVERWRITE (2) are known");
  return mode == 2 ? storage::SetMode::kOverwrite : storage::SetMode::kIfAbsent;
}

absl::StatusOr<storage::Match> MatchFromWire(uint32_t match) {
  if (match > 3) {
    return Invalid(ErrorId::kBadField, "match: ", match,
                   ", PREFIX (1), MEMBERSHIP (2) and WINDOW (3) are known");
  }
  return match == 0 ? storage::Match::kPrefix : static_cast<storage::Match>(match);
}

absl::StatusOr<Durability> SetDurabilityFromWire(uint32_t durability, const OpenedNamespace& ns) {
  if (durability > 4) {
    return Invalid(ErrorId::kBadField, "durability: ", durability,
                   ", at most DURABILITY_DEVICE (4) is known");
  }
  const auto asked = static_cast<Durability>(durability);
  const bool logged = asked == Durability::kLogged || asked == Durability::kDevice;
  if (logged && !Has(ns.features, Feature::kDurabilityLogged)) {
    return absl::FailedPreconditionError(wire::Tagged(
        ErrorId::kFeatureNotInEffect,
        absl::StrCat("durability: ", durability, " (",
                     asked == Durability::kLogged ? "DURABILITY_LOGGED" : "DURABILITY_DEVICE",
                     ") is above what is in effect, DURABILITY_VOLATILE (1): no disk tier")));
  }
  return asked;
}

absl::StatusOr<Durability> DeleteDurabilityFromWire(uint32_t durability) {
  if (durability == 0) return Durability::kLogged;
  const auto asked = static_cast<Durability>(durability);
  if (durability > 4 || (asked != Durability::kLogged && asked != Durability::kDevice)) {
    return Invalid(ErrorId::kBadField, "durability: ", durability,
                   ", a Delete is DURABILITY_LOGGED (3) or DURABILITY_DEVICE (4)");
  }
  return asked;
}

absl::Status ValidateGet(const OpenedNamespace& ns, const GetArgs& args) {
  if (absl::Status s = CheckGroup(ns, args.group); !s.ok()) return s;
  if (absl::Status s = CheckShard(ns, args.shard); !s.ok()) return s;
  if (absl::Status s = CheckRange(args.range_offset, args.range_bytes); !s.ok()) return s;
  if (args.handle.has_value()) return CheckHandle(args);
  if (absl::Status s = CheckKeys(args.keys, wire::kKeysMax, "keys"); !s.ok()) return s;
  return CheckRoot(ns, args.group, args.root, args.depth);
}

absl::Status ValidateSet(const OpenedNamespace& ns, const SetArgs& args) {
  if (absl::Status s = CheckCount(args.items.size(), wire::kKeysMax, "entries"); !s.ok()) return s;
  uint64_t key_bytes = 0, payload_bytes = 0;
  for (size_t i = 0; i < args.items.size(); ++i) {
    const storage::SetItem& item = args.items[i];
    if (item.key.empty() || item.key.size() > wire::kKeyBytesMax) {
      return CheckKey(item.key, absl::StrCat("entries[", i, "].key"));
    }
    uint64_t value_bytes = 0;
    for (const auto& piece : item.value) value_bytes += piece.size();
    if (absl::Status s = CheckValueBytes(value_bytes, i); !s.ok()) return s;
    key_bytes += item.key.size();
    payload_bytes += value_bytes;
  }
  if (absl::Status s = CheckKeyListBytes(key_bytes, "entries.key"); !s.ok()) return s;
  if (payload_bytes > args.payload_bytes_max) {
    return Invalid(ErrorId::kTooLarge, "values: ", payload_bytes, " bytes in one batch, at most ",
                   args.payload_bytes_max, " are allowed");
  }
  if (absl::Status s = CheckChain(ns, args.group, args.shard, args.root, args.depth); !s.ok()) {
    return s;
  }
  if (args.depth == 0) {
    if (args.parent.empty()) return absl::OkStatus();
    return Invalid(ErrorId::kBadChain, "parent: ", args.parent.size(),
                   " bytes at depth 0, must be empty there");
  }
  if (args.parent.empty()) {
    return Invalid(ErrorId::kBadChain, "parent: empty at depth ", args.depth,
                   ", must name the key before the first");
  }
  return CheckKey(args.parent, "parent");
}

absl::Status ValidateOffer(const OpenedNamespace& ns, const OfferArgs& args) {
  if (absl::Status s = CheckKeys(args.keys, wire::kKeysMax, "keys"); !s.ok()) return s;
  if (args.value_bytes.size() != args.keys.size()) {
    return Invalid(ErrorId::kBadField, "value_bytes: ", args.value_bytes.size(), " for ",
                   args.keys.size(), " keys, must be as many");
  }
  for (size_t i = 0; i < args.value_bytes.size(); ++i) {
    if (absl::Status s = CheckValueBytes(args.value_bytes[i], i); !s.ok()) return s;
  }
  return CheckChain(ns, args.group, args.shard, args.root, args.depth);
}

absl::Status ValidateDelete(const OpenedNamespace& ns, std::span<const std::string_view> keys,
                            std::optional<uint32_t> group, std::optional<uint32_t> shard) {
  if (absl::Status s = CheckKeys(keys, wire::kKeysMax, "keys"); !s.ok()) return s;
  if (group.has_value()) {
    if (absl::Status s = CheckGroup(ns, *group); !s.ok()) return s;
  }
  return shard.has_value() ? CheckShard(ns, *shard) : absl::OkStatus();
}

absl::Status ValidateLookup(const OpenedNamespace& ns, const LookupArgs& args) {
  if (absl::Status s = CheckQueries(ns, args.queries); !s.ok()) return s;
  if (args.shards != 0 && args.shards != ns.shard_count) {
    return Invalid(ErrorId::kBadChain, "shards: ", args.shards, ", the identity has ",
                   ns.shard_count);
  }
  if (absl::Status s = CheckPinMs(args.pin_ms); !s.ok()) return s;
  if (args.stage && args.answer_by_ms == 0) {
    return Invalid(ErrorId::kBadDeadline, "answer_by_ms: 0, required with stage");
  }
  if (!args.stage && args.answer_by_ms != 0) {
    return Invalid(ErrorId::kBadDeadline, "answer_by_ms: ", args.answer_by_ms,
                   " without stage: a Lookup never waits");
  }
  if (!std::isfinite(args.recompute_ms_per_token) || args.recompute_ms_per_token < 0) {
    return Invalid(ErrorId::kBadField, "recompute_ms_per_token: ", args.recompute_ms_per_token,
                   ", must be 0 (unknown) or more");
  }
  return CheckAnswerBy(args.answer_by_ms, args.until_deadline);
}

uint32_t AdviceFor(const storage::LookupResult& result, uint32_t first_wanted_tokens,
                   double recompute_ms_per_token) {
  if (recompute_ms_per_token <= 0) return 0;
  if (result.boundary_tokens <= first_wanted_tokens) return 2;
  const double tokens = result.boundary_tokens - first_wanted_tokens;
  return result.predicted_load_ms <= tokens * recompute_ms_per_token ? 1 : 2;
}

}  // namespace kvgate::gateway
