// SPDX-License-Identifier: Apache-2.0
#include "proto/wire/key.h"

#include <gtest/gtest.h>

#include <string>

namespace kvgate::wire {
namespace {

constexpr HashSecret kSecret = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

TEST(HashKey, IsSipHashOfDigestLengthAndKey) {
  const NsDigest ns = {9, 8, 7};
  for (const size_t n : {0u, 1u, 5u, 6u, 7u, 255u, 256u, 1024u}) {
    const std::string key(n, 'k');
    std::string joined(reinterpret_cast<const char*>(ns.data()), ns.size());
    joined.push_back(static_cast<char>(n));
    joined.push_back(static_cast<char>(n >> 8));
    joined += key;
    EXPECT_EQ(HashKey(kSecret, ns, key), SipHash128(kSecret, joined)) << n;
  }
}

TEST(HashKey, DiffersByNamespaceSecretAndKey) {
  const Hash128 right = HashKey(kSecret, NsDigest{1}, "key");
  EXPECT_NE(HashKey(kSecret, NsDigest{2}, "key"), right);
  EXPECT_NE(HashKey(kSecret, NsDigest{1}, "kez"), right);
  EXPECT_NE(HashKey(HashSecret{1}, NsDigest{1}, "key"), right);
  EXPECT_FALSE(right.zero());
}

TEST(RootGroupKeys, IsFourThousandTokensAndAtLeastOneKey) {
  EXPECT_EQ(RootGroupKeys(1), 4096u);
  EXPECT_EQ(RootGroupKeys(16), 256u);
  EXPECT_EQ(RootGroupKeys(48), 85u);
  EXPECT_EQ(RootGroupKeys(4096), 1u);
  EXPECT_EQ(RootGroupKeys(100000), 1u);
}

}  // namespace
}  // namespace kvgate::wire
