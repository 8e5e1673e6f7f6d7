// SPDX-License-Identifier: Apache-2.0
//
// vectors.json was written by make_vectors.py, which shares nothing with this code.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "proto/wire/checksum.h"
#include "proto/wire/identity.h"
#include "proto/wire/identity_digest.h"
#include "proto/wire/key.h"

namespace kvgate::wire {
namespace {

using nlohmann::json;

std::string Unhex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return out;
}

template <typename Bytes>
std::string Hex(const Bytes& bytes) {
  std::string out;
  for (const auto b : bytes) {
    char two[3];
    std::snprintf(two, sizeof(two), "%02x", static_cast<unsigned char>(b));
    out += two;
  }
  return out;
}

std::string Hex32(uint32_t number) {
  char eight[9];
  std::snprintf(eight, sizeof(eight), "%08x", number);
  return eight;
}

std::string HexHash(const Hash128& hash) {
  std::string bytes;
  for (const uint64_t word : {hash.lo, hash.hi}) {
    for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(word >> (8 * i)));
  }
  return Hex(bytes);
}

template <size_t n>
std::array<uint8_t, n> UnhexArray(const std::string& hex) {
  const std::string bytes = Unhex(hex);
  std::array<uint8_t, n> array{};
  EXPECT_EQ(bytes.size(), n);
  std::copy_n(bytes.begin(), std::min(n, bytes.size()), array.begin());
  return array;
}

class Vectors : public testing::Test {
 protected:
  Vectors() { std::ifstream("proto/wire/vectors.json") >> all_; }
  json all_;
};

TEST_F(Vectors, OfCrc32c) {
  ASSERT_GE(all_["crc32c"].size(), 8u);
  for (const json& v : all_["crc32c"]) {
    const std::string data = Unhex(v["data_hex"]);
    EXPECT_EQ(Hex32(Crc32c(0, data.data(), data.size())), v["crc32c"]);
  }
}

TEST_F(Vectors, OfSipHash) {
  ASSERT_GE(all_["siphash128"].size(), 8u);
  // The first two stand in the authors' reference implementation.
  EXPECT_EQ(all_["siphash128"][0]["hash_hex"], "a3817f04ba25a8e66df67214c7550293");
  EXPECT_EQ(all_["siphash128"][1]["hash_hex"], "da87c1d86b99af44347659119b22fc45");
  for (const json& v : all_["siphash128"]) {
    EXPECT_EQ(HexHash(SipHash128(UnhexArray<16>(v["secret_hex"]), Unhex(v["data_hex"]))),
              v["hash_hex"]);
  }
}

TEST_F(Vectors, OfIdentities) {
  ASSERT_GE(all_["identities"].size(), 3u);
  for (const json& v : all_["identities"]) {
    const std::string form = Unhex(v["canonical_hex"]);
    Identity identity;
    std::string error;
    ASSERT_TRUE(DecodeIdentity(form, &identity, &error)) << error;
    EXPECT_EQ(EncodeIdentity(identity), form);
    EXPECT_EQ(identity.model, v["fields"]["model"]);
    EXPECT_EQ(identity.groups.size(), v["fields"].value("groups", json::array()).size());
    EXPECT_EQ(identity.weights_epoch, v["fields"].value("weights_epoch", 0ull));
    EXPECT_EQ(identity.engine_version, v["fields"].value("engine_version", ""));
    const IdentityDigest digest = DigestIdentity(form);
    EXPECT_EQ(Hex(digest), v["digest_hex"]);
    for (const json& ns : v["ns_digests"]) {
      EXPECT_EQ(Hex(DigestNamespace(ns["tenant"].get<std::string>(), digest)), ns["ns_digest_hex"]);
    }
  }
}

TEST_F(Vectors, OfBlocks) {
  ASSERT_GE(all_["blocks"].size(), 3u);
  for (const json& v : all_["blocks"]) {
    const auto ns = UnhexArray<32>(v["ns_digest_hex"]);
    const std::string key = Unhex(v["key_hex"]), value = Unhex(v["value_hex"]);
    const uint32_t prefix =
        BlockCrcPrefix(BlockCrcOfKey(ns, key), v["group"], v["shard"], value.size());
    const uint32_t block = Crc32c(prefix, value.data(), value.size());
    EXPECT_EQ(Hex32(block), v["block_crc"]);
    EXPECT_EQ(Hex32(ValueCrcFromBlockCrc(block, prefix, value.size())), v["value_crc"]);
    EXPECT_EQ(HexHash(HashKey(UnhexArray<16>(v["secret_hex"]), ns, key)), v["key_hash_hex"]);
  }
}

}  // namespace
}  // namespace kvgate::wire
