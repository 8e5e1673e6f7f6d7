// SPDX-License-Identifier: Apache-2.0
#include "client/local/codec.h"

#include <algorithm>

#include "proto/wire/key.h"

namespace kvgate::client {
namespace {

template <size_t kSize>
std::string TextOf(const char (&text)[kSize]) {
  return {text, strnlen(text, kSize)};
}

bool ReadGroup(const local::GroupWire& wire_group, std::string_view* body, size_t total,
               GroupHeld* held) {
  held->group = wire_group.group;
  held->first = wire_group.first;
  held->held = wire_group.held;
  if (wire_group.runs > body->size() / sizeof(local::RunWire)) return false;
  held->runs.reserve(wire_group.runs);
  for (uint32_t i = 0; i < wire_group.runs; ++i) {
    local::RunWire run;
    if (!TakeStruct(body, &run)) return false;
    held->runs.push_back({run.count, static_cast<uint8_t>(run.tier), run.value_bytes});
  }
  if (wire_group.bitmap_bytes > body->size()) return false;
  held->bitmap = body->substr(0, wire_group.bitmap_bytes);
  body->remove_prefix(wire_group.bitmap_bytes);
  const size_t padding = (8 - (total - body->size()) % 8) % 8;
  if (padding > body->size()) return false;
  body->remove_prefix(padding);
  return true;
}

}  // namespace

Outcome InvalidArgument(std::string message) {
  return Outcome{wire::Code::kInvalidArgument, false, std::move(message)};
}

Outcome CheckKeyBytes(std::string_view key, const char* field) {
  if (key.size() <= wire::kKeyBytesMax) return {};
  return InvalidArgument(std::string(field) + ": " + std::to_string(key.size()) +
                         " bytes, at most " + std::to_string(wire::kKeyBytesMax) + " are allowed");
}

Outcome CheckKeyList(std::span<const std::string_view> keys, size_t keys_max) {
  if (keys.size() > keys_max) {
    return InvalidArgument("keys: " + std::to_string(keys.size()) + ", at most " +
                           std::to_string(keys_max) + " are allowed");
  }
  uint64_t bytes = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].size() > wire::kKeyBytesMax) {
      return CheckKeyBytes(keys[i], ("keys[" + std::to_string(i) + "]").c_str());
    }
    bytes += keys[i].size();
  }
  if (bytes <= wire::kKeyListBytesMax) return {};
  return InvalidArgument("keys: " + std::to_string(bytes) + " bytes of keys, at most " +
                         std::to_string(wire::kKeyListBytesMax) + " are allowed");
}

void AppendKeys(std::span<const std::string_view> keys, std::string* body) {
  size_t bytes = 0;
  for (std::string_view key : keys) bytes += sizeof(uint16_t) + key.size();
  body->reserve(body->size() + bytes);
  for (std::string_view key : keys) {
    const auto length = static_cast<uint16_t>(key.size());
    body->append(StructBytes(length)).append(key);
  }
}

uint64_t LookupAnswerBytesMax(const LookupRequest& request) {
  uint64_t bytes = 0;
  for (const GroupQuery& query : request.queries) {
    const uint64_t bitmap = (query.keys.size() + 7) / 8;
    bytes += sizeof(local::GroupWire) + query.keys.size() * sizeof(local::RunWire) + bitmap + 8;
  }
  return bytes;
}

bool ReadLookup(const local::LookupOk& ok, std::string_view body, LookupReply* reply) {
  const size_t total = body.size();
  if (ok.groups > local::kGroupsMax) return false;
  std::vector<local::GroupWire> groups(ok.groups);
  for (local::GroupWire& group : groups) {
    if (!TakeStruct(&body, &group)) return false;
  }
  reply->groups.resize(ok.groups);
  for (uint32_t i = 0; i < ok.groups; ++i) {
    if (!ReadGroup(groups[i], &body, total, &reply->groups[i])) return false;
  }
  reply->boundary_tokens = ok.boundary_tokens;
  reply->pin_ms = ok.pin_ms;
  reply->pin_token = ok.pin_token;
  reply->predicted_load_ms = ok.predicted_load_ms;
  reply->advice = static_cast<uint8_t>(ok.advice);
  return body.empty();
}

void ReadOpen(const local::OpenOk& ok, OpenReply* reply) {
  reply->ns_handle = ok.ns;
  reply->incarnation = ok.incarnation;
  reply->features = ok.features;
  reply->limits.key_bytes_max = ok.key_bytes_max;
  reply->limits.keys_max = ok.keys_max;
  reply->limits.lookup_keys_max = ok.lookup_keys_max;
  reply->limits.pin_ms_max = ok.pin_ms_max;
  reply->limits.value_bytes_max = ok.value_bytes_max;
  reply->limits.key_list_bytes_max = ok.key_list_bytes_max;
  reply->limits.payload_bytes_max = ok.payload_bytes_max;
  reply->limits.disk_value_bytes_max = ok.disk_value_bytes_max;
  const uint32_t groups = std::min(ok.groups, local::kGroupsMax);
  reply->root_group_keys.assign(ok.root_group_keys, ok.root_group_keys + groups);
  reply->identity_digest.assign(reinterpret_cast<const char*>(ok.identity_digest),
                                sizeof(ok.identity_digest));
  reply->local_socket = TextOf(ok.local_socket);
  reply->disk_mode = TextOf(ok.disk_mode);
  reply->server_version = TextOf(ok.server_version);
  reply->default_durability = ok.default_durability;
}

local::HintsWire WireHints(const Hints& hints) {
  return {hints.prompt_tokens, hints.output_tokens, hints.turn, hints.finished ? 1u : 0u};
}

// kvgate.v1.GetState.
Reason ReasonOfGetState(uint8_t state) {
  constexpr Reason kReasons[] = {Reason::kInternal,   Reason::kOk,      Reason::kNotHeld,
                                 Reason::kNotReady,   Reason::kNotSent, Reason::kUnpinned,
                                 Reason::kStaleToken, Reason::kCorrupt, Reason::kIoError};
  return state < std::size(kReasons) ? kReasons[state] : Reason::kInternal;
}

// kvgate.v1.SetState.
Reason ReasonOfSetState(uint8_t state) {
  constexpr Reason kReasons[] = {Reason::kInternal,    Reason::kOk,       Reason::kAlreadyHeld,
                                 Reason::kNotAdmitted, Reason::kDataLoss, Reason::kNoSpace,
                                 Reason::kTimedOut,    Reason::kTooLarge};
  return state < std::size(kReasons) ? kReasons[state] : Reason::kInternal;
}

}  // namespace kvgate::client
