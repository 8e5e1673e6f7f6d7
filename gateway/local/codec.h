// SPDX-License-Identifier: Apache-2.0
//
// Decoders of the local door's messages, for hostile bytes.
//
// Each takes a whole message (its header was checked by DecodeHeader) and the client's staging
// memory, and fills a decoded call whose views lie in the message or in the call's own copy of a
// body in staging. Shared memory is read once; nothing here reads values or writes anything.
// Errors: INVALID_ARGUMENT with field, value and limit: the framing is broken, and the caller ends
// the connection. What is only outside the contract's limits passes and is refused by validate.h.
// Pure and thread-safe. Allocations are bounded by the bytes of the message or body.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "gateway/local/protocol.h"

namespace kvgate::gateway {

// The client's staging memory: it may change at any time.
using Staging = std::span<std::byte>;

// Checks length, magic, version, op, reserved, id and timeout. `version` is the one agreed on.
absl::Status DecodeHeader(std::string_view message, uint16_t version, local::MsgHeader* header);

struct HelloCall {
  local::Hello fixed;
  std::string_view client_name, token;
};
struct OpenCall {
  local::Open fixed;
  std::string body_copy;
  std::string_view identity, alias;
};
struct LookupCall {
  local::Lookup fixed;
  std::string body_copy;
  std::vector<local::QueryWire> queries;
  std::vector<std::vector<std::string_view>> keys;  // one list a query
};
struct ReserveCall {
  local::Reserve fixed;
  std::string body_copy;
  std::vector<uint64_t> value_bytes;
  std::string_view root;
  std::vector<std::string_view> keys;
};
struct CommitCall {
  local::Commit fixed;
  std::string body_copy;
  std::vector<local::EntryWire> entries;  // their places lie in staging
  std::string_view parent, root;
  std::vector<std::string_view> keys;
};
struct GetCall {
  local::Get fixed;
  std::string body_copy;
  std::string_view root;
  std::vector<std::string_view> keys;  // empty by handle
};
struct ReleaseCall {
  std::vector<uint64_t> leases;
};
struct DeleteCall {
  local::Delete fixed;
  std::string body_copy;
  std::vector<std::string_view> keys;
};
struct TouchCall {
  local::Touch fixed;
  std::string_view key;
};
struct PinCall {
  local::Pin fixed;
};
struct UnpinCall {
  local::Unpin fixed;
};
struct ExtentCall {
  local::Extent fixed;
};
struct GrowStagingCall {
  local::GrowStaging fixed;
};

absl::Status Decode(std::string_view message, Staging staging, HelloCall* call);
absl::Status Decode(std::string_view message, Staging staging, OpenCall* call);
absl::Status Decode(std::string_view message, Staging staging, LookupCall* call);
absl::Status Decode(std::string_view message, Staging staging, ReserveCall* call);
absl::Status Decode(std::string_view message, Staging staging, CommitCall* call);
absl::Status Decode(std::string_view message, Staging staging, GetCall* call);
absl::Status Decode(std::string_view message, Staging staging, ReleaseCall* call);
absl::Status Decode(std::string_view message, Staging staging, DeleteCall* call);
absl::Status Decode(std::string_view message, Staging staging, TouchCall* call);
absl::Status Decode(std::string_view message, Staging staging, PinCall* call);
absl::Status Decode(std::string_view message, Staging staging, UnpinCall* call);
absl::Status Decode(std::string_view message, Staging staging, ExtentCall* call);
absl::Status Decode(std::string_view message, Staging staging, GrowStagingCall* call);
// PING and BYE.
absl::Status DecodeEmpty(std::string_view message);

}  // namespace kvgate::gateway
