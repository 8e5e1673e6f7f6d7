// SPDX-License-Identifier: Apache-2.0
//
// SHA-256 digests of identities and namespaces (forms: identity.h). Pure, thread-safe; libcrypto.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "proto/wire/checksum.h"

namespace kvgate::wire {

using IdentityDigest = std::array<uint8_t, 32>;

IdentityDigest DigestIdentity(std::string_view canonical_bytes);

// REQUIRES: tenant.size() <= 64.
NsDigest DigestNamespace(std::string_view tenant, const IdentityDigest& digest);

}  // namespace kvgate::wire
