// SPDX-License-Identifier: Apache-2.0
//
// The client's side of the local door's bodies: how requests are written and answers read.
// Pure functions. Errors: INVALID_ARGUMENT with field, value and limit for what cannot be written;
// false from readers when the daemon's answer makes no sense.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "client/client.h"
#include "gateway/local/protocol.h"

namespace kvgate::client {

template <typename T>
std::string_view StructBytes(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// Takes a struct from the front.
template <typename T>
bool TakeStruct(std::string_view* bytes, T* value) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (bytes->size() < sizeof(T)) return false;
  std::memcpy(value, bytes->data(), sizeof(T));
  bytes->remove_prefix(sizeof(T));
  return true;
}

Outcome InvalidArgument(std::string message);

// Shapes that a message cannot hold. The daemon checks the rest.
Outcome CheckKeyBytes(std::string_view key, const char* field);
Outcome CheckKeyList(std::span<const std::string_view> keys, size_t keys_max);

// u16 length ‖ bytes each. REQUIRES: CheckKeyList.
void AppendKeys(std::span<const std::string_view> keys, std::string* body);

// Bytes that the longest answer to a Lookup has.
uint64_t LookupAnswerBytesMax(const LookupRequest& request);
bool ReadLookup(const local::LookupOk& ok, std::string_view body, LookupReply* reply);
void ReadOpen(const local::OpenOk& ok, OpenReply* reply);

local::HintsWire WireHints(const Hints& hints);

Reason ReasonOfGetState(uint8_t state);
Reason ReasonOfSetState(uint8_t state);

}  // namespace kvgate::client
