// SPDX-License-Identifier: Apache-2.0
//
// DecodeIdentity takes any bytes; what it accepts is canonical, and what it refuses has a reason.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "proto/wire/identity.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  kvgate::wire::Identity identity;
  std::string error;
  if (!kvgate::wire::DecodeIdentity(bytes, &identity, &error)) {
    if (error.empty()) std::abort();
    return 0;
  }
  if (kvgate::wire::EncodeIdentity(identity) != bytes) std::abort();
  return 0;
}
