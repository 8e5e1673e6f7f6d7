// SPDX-License-Identifier: Apache-2.0
#include "proto/wire/identity_digest.h"

#include <openssl/sha.h>

#include <string>

namespace kvgate::wire {

IdentityDigest DigestIdentity(std::string_view canonical_bytes) {
  IdentityDigest digest;
  SHA256(reinterpret_cast<const unsigned char*>(canonical_bytes.data()), canonical_bytes.size(),
         digest.data());
  return digest;
}

NsDigest DigestNamespace(std::string_view tenant, const IdentityDigest& digest) {
  std::string form = "kvgate-ns-1";
  form.push_back(static_cast<char>(tenant.size()));
  form.push_back(static_cast<char>(tenant.size() >> 8));
  form.append(tenant);
  form.append(reinterpret_cast<const char*>(digest.data()), digest.size());
  return DigestIdentity(form);
}

}  // namespace kvgate::wire
