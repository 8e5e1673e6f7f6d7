// SPDX-License-Identifier: Apache-2.0
#include "proto/wire/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace kvgate::wire {
namespace {

using testing::HasSubstr;

const std::string kMagic("KVGID\0\0\1", 8);

Identity Full() {
  Identity id;
  id.model = "model";
  id.weights_digest = std::string(32, '\xab');
  id.weights_id = "w";
  id.weights_epoch = 1ull << 40;
  id.lora_digests = {"a", "", "b"};
  id.rope = "{}";
  id.dtype = "bf16";
  id.kv_cache_dtype = "fp8";
  id.kv_scales = "s";
  id.attention_backend = "FA3";
  id.isa = "avx512";
  id.arch = "sm_90";
  id.layout = "NHD";
  id.groups = {{GroupKind::kFullAttention, 16, {"l0", "l1"}, "spec", 65536, 0},
               {GroupKind::kSlidingWindow, 32, {}, "", 1, 1024}};
  id.tp_size = 1, id.pp_size = 2, id.pcp_size = 3, id.dcp_size = 4, id.cp_interleave = 5;
  id.prefix_hash_algorithm = "sha256";
  id.prefix_hash_seed = "0";
  id.hash_block_tokens = 16;
  id.engine_version = "vllm 0.32";
  id.shards = 8;
  id.extra = {{"k", "v"}, {"k2", ""}};
  return id;
}

std::string Le(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
  return out;
}

std::string Element(uint16_t tag, const std::string& value) {
  return Le(tag, 2) + Le(value.size(), 4) + value;
}

std::string Refusal(const std::string& bytes) {
  Identity id;
  std::string error;
  if (DecodeIdentity(bytes, &id, &error)) return "";
  return error.empty() ? "refused without a text" : error;
}

TEST(IdentityForm, DecodesToWhatWasEncoded) {
  for (const Identity& id : {Identity(), Full()}) {
    Identity decoded;
    std::string error;
    ASSERT_TRUE(DecodeIdentity(EncodeIdentity(id), &decoded, &error)) << error;
    EXPECT_EQ(decoded, id);
    EXPECT_EQ(error, "");
  }
}

TEST(IdentityForm, OneShardIsAbsent) {
  Identity one = Full(), none = Full();
  one.shards = 1;
  none.shards = 0;
  EXPECT_EQ(EncodeIdentity(one), EncodeIdentity(none));
  EXPECT_EQ(FirstDifference(one, none, nullptr, nullptr), "");
}

TEST(IdentityForm, EveryTruncationIsRefused) {
  const std::string form = EncodeIdentity(Full());
  Identity id;
  std::string error;
  int whole_elements = 0;
  for (size_t n = 0; n < form.size(); ++n) {
    // Between two elements a shorter form is another identity's: it must encode to itself.
    if (DecodeIdentity(form.substr(0, n), &id, &error)) {
      ++whole_elements;
      EXPECT_EQ(EncodeIdentity(id), form.substr(0, n)) << n;
    }
  }
  EXPECT_GT(whole_elements, 20);
  EXPECT_LT(whole_elements, 30);
}

TEST(IdentityForm, AnyAcceptedChangeIsCanonical) {
  const std::string form = EncodeIdentity(Full());
  for (size_t i = 0; i < form.size() * 8; ++i) {
    std::string changed = form;
    changed[i / 8] = static_cast<char>(changed[i / 8] ^ (1 << (i % 8)));
    Identity id;
    std::string error;
    if (DecodeIdentity(changed, &id, &error)) {
      EXPECT_EQ(EncodeIdentity(id), changed);
    }
  }
}

TEST(IdentityForm, OtherFormsAreRefusedByName) {
  const std::string m = Element(1, "m"), d = Element(7, "fp16");
  EXPECT_THAT(Refusal(""), HasSubstr("magic"));
  EXPECT_THAT(Refusal("KVGID\0\0\2"), HasSubstr("magic"));
  EXPECT_THAT(Refusal(kMagic + d + m), HasSubstr("ascending"));
  EXPECT_THAT(Refusal(kMagic + m + m), HasSubstr("model: written twice"));
  EXPECT_THAT(Refusal(kMagic + Element(1, "")), HasSubstr("model: an empty value"));
  EXPECT_THAT(Refusal(kMagic + Element(0, "x")), HasSubstr("tag 0: unknown"));
  EXPECT_THAT(Refusal(kMagic + Element(26, "x")), HasSubstr("tag 26: unknown"));
  EXPECT_THAT(Refusal(kMagic + Element(15, Le(0, 8))), HasSubstr("tp_size: a zero"));
  EXPECT_THAT(Refusal(kMagic + Element(15, Le(1, 4))), HasSubstr("tp_size: an integer has 8"));
  EXPECT_THAT(Refusal(kMagic + Element(15, Le(1ull << 32, 8))), HasSubstr("over the limit"));
  EXPECT_THAT(Refusal(kMagic + Element(24, Le(1, 8))), HasSubstr("shards: 1 is not written"));
  EXPECT_THAT(Refusal(kMagic + m.substr(0, 5)), HasSubstr("truncated"));
  EXPECT_THAT(Refusal(kMagic + Le(1, 2) + Le(0xffffffff, 4) + "m"), HasSubstr("length"));
}

TEST(IdentityForm, OtherFormsOfGroupsAreRefusedByName) {
  const auto group = [](const std::string& fields) { return kMagic + Element(14, fields); };
  EXPECT_EQ(Refusal(group("")), "");  // a group of defaults
  EXPECT_THAT(Refusal(group(Element(1, Le(4, 8)))), HasSubstr("groups[0].kind: 4 is over"));
  EXPECT_THAT(Refusal(group(Element(2, Le(0, 8)))), HasSubstr("groups[0].block_tokens: a zero"));
  EXPECT_THAT(Refusal(group(Element(7, "x"))), HasSubstr("groups[0].tag 7: unknown"));
  EXPECT_THAT(Refusal(group(Element(4, "s") + Element(4, "s"))),
              HasSubstr("groups[0].spec: written twice"));
  std::string many = kMagic;
  for (size_t i = 0; i <= kGroupsMax; ++i) many += Element(14, Element(4, "s"));
  EXPECT_THAT(Refusal(many), HasSubstr("limit of 64"));
}

TEST(IdentityForm, OtherFormsOfExtraAreRefusedByName) {
  const auto pair = [](const std::string& key) { return Element(25, Le(key.size(), 2) + key); };
  EXPECT_EQ(Refusal(kMagic + pair("a") + pair("b")), "");
  EXPECT_THAT(Refusal(kMagic + pair("b") + pair("a")), HasSubstr("extra: keys are not"));
  EXPECT_THAT(Refusal(kMagic + pair("a") + pair("a")), HasSubstr("extra: keys are not"));
  EXPECT_THAT(Refusal(kMagic + Element(25, "x")), HasSubstr("extra: an element is shorter"));
  EXPECT_THAT(Refusal(kMagic + Element(25, Le(5, 2) + "abc")), HasSubstr("extra: a key is longer"));
}

TEST(IdentityForm, OverTheLimitIsRefused) {
  EXPECT_EQ(Refusal(kMagic + Element(6, std::string(kIdentityBytesMax - 14, 'r'))), "");
  EXPECT_THAT(Refusal(kMagic + Element(6, std::string(kIdentityBytesMax - 13, 'r'))),
              HasSubstr("the limit is 262144"));
  Identity id;
  id.extra[std::string(65536, 'k')] = "v";
  EXPECT_EQ(EncodeIdentity(id), "");
}

TEST(ValidateIdentity, NamesWhatIsMissing) {
  const auto refusal = [](const std::function<void(Identity&)>& change) {
    Identity id = Full();
    change(id);
    std::string error;
    return ValidateIdentity(id, &error) ? "" : error;
  };
  EXPECT_EQ(refusal([](Identity&) {}), "");
  EXPECT_EQ(refusal([](Identity& id) { id.weights_digest.clear(); }), "");
  EXPECT_THAT(refusal([](Identity& id) { id.weights_digest = id.weights_id = ""; }),
              HasSubstr("weights_digest"));
  EXPECT_THAT(refusal([](Identity& id) { id.layout.clear(); }), HasSubstr("layout"));
  EXPECT_THAT(refusal([](Identity& id) { id.kv_scales = "dynamic"; }), HasSubstr("kv_scales"));
  EXPECT_THAT(refusal([](Identity& id) { id.groups.clear(); }), HasSubstr("groups"));
  EXPECT_THAT(refusal([](Identity& id) { id.groups.resize(65, id.groups[0]); }),
              HasSubstr("limit is 64"));
  EXPECT_THAT(refusal([](Identity& id) { id.groups[1].kind = GroupKind::kUnspecified; }),
              HasSubstr("groups[1].kind"));
  EXPECT_THAT(refusal([](Identity& id) { id.groups[0].block_tokens = 0; }),
              HasSubstr("groups[0].block_tokens"));
  EXPECT_THAT(refusal([](Identity& id) { id.groups[0].window_tokens = 1; }),
              HasSubstr("groups[0].window_tokens"));
  EXPECT_THAT(refusal([](Identity& id) { id.shards = 256; }), HasSubstr("shards: 256"));
  EXPECT_THAT(refusal([](Identity& id) { id.rope = std::string(300000, 'r'); }),
              HasSubstr("the limit is 262144"));
  EXPECT_THAT(refusal([](Identity& id) {
                id = Identity();
                id.model = "opaque";
              }),
              HasSubstr("opaque"));
}

using Change = std::pair<const char*, std::function<void(Identity&)>>;

// One change of every field, by the name under which it must be reported.
std::vector<Change> OneChangeAField() {
  return {
      {"model", [](Identity& i) { i.model = "x"; }},
      {"weights_digest", [](Identity& i) { i.weights_digest = "x"; }},
      {"weights_id", [](Identity& i) { i.weights_id = "x"; }},
      {"weights_epoch", [](Identity& i) { i.weights_epoch = 9; }},
      {"lora_digests", [](Identity& i) { i.lora_digests.pop_back(); }},
      {"lora_digests[1]", [](Identity& i) { i.lora_digests[1] = "x"; }},
      {"rope", [](Identity& i) { i.rope = "x"; }},
      {"dtype", [](Identity& i) { i.dtype = "x"; }},
      {"kv_cache_dtype", [](Identity& i) { i.kv_cache_dtype = "x"; }},
      {"kv_scales", [](Identity& i) { i.kv_scales = "x"; }},
      {"attention_backend", [](Identity& i) { i.attention_backend = "x"; }},
      {"isa", [](Identity& i) { i.isa = "x"; }},
      {"arch", [](Identity& i) { i.arch = "x"; }},
      {"layout", [](Identity& i) { i.layout = "x"; }},
      {"groups", [](Identity& i) { i.groups.pop_back(); }},
      {"groups[0].kind", [](Identity& i) { i.groups[0].kind = GroupKind::kState; }},
      {"groups[1].block_tokens", [](Identity& i) { i.groups[1].block_tokens = 9; }},
      {"groups[0].layer_names[1]", [](Identity& i) { i.groups[0].layer_names[1] = "x"; }},
      {"groups[0].spec", [](Identity& i) { i.groups[0].spec = "x"; }},
      {"groups[1].page_bytes", [](Identity& i) { i.groups[1].page_bytes = 9; }},
      {"groups[1].window_tokens", [](Identity& i) { i.groups[1].window_tokens = 9; }},
      {"tp_size", [](Identity& i) { i.tp_size = 9; }},
      {"pp_size", [](Identity& i) { i.pp_size = 9; }},
      {"pcp_size", [](Identity& i) { i.pcp_size = 9; }},
      {"dcp_size", [](Identity& i) { i.dcp_size = 9; }},
      {"cp_interleave", [](Identity& i) { i.cp_interleave = 9; }},
      {"prefix_hash_algorithm", [](Identity& i) { i.prefix_hash_algorithm = "x"; }},
      {"prefix_hash_seed", [](Identity& i) { i.prefix_hash_seed = "x"; }},
      {"hash_block_tokens", [](Identity& i) { i.hash_block_tokens = 9; }},
      {"engine_version", [](Identity& i) { i.engine_version = "x"; }},
      {"shards", [](Identity& i) { i.shards = 9; }},
      {"extra[k]", [](Identity& i) { i.extra["k"] = "x"; }},
      {"extra[k2]", [](Identity& i) { i.extra.erase("k2"); }},
      {"extra[new]", [](Identity& i) { i.extra["new"] = "x"; }},
  };
}

TEST(FirstDifference, NamesEachFieldAndItsFormDiffers) {
  for (const auto& [name, change] : OneChangeAField()) {
    Identity changed = Full();
    change(changed);
    EXPECT_EQ(FirstDifference(Full(), changed, nullptr, nullptr), name);
    EXPECT_NE(EncodeIdentity(Full()), EncodeIdentity(changed)) << name;
  }
}

TEST(FirstDifference, OfEqualIdentitiesIsEmpty) {
  std::string a, b;
  EXPECT_EQ(FirstDifference(Full(), Full(), &a, &b), "");
  EXPECT_EQ(a, "");
}

TEST(FirstDifference, PrintsValuesForPeople) {
  Identity other = Full();
  other.tp_size = 4;
  std::string a, b;
  EXPECT_EQ(FirstDifference(Full(), other, &a, &b), "tp_size");
  EXPECT_EQ(a, "1");
  EXPECT_EQ(b, "4");

  other = Full();
  other.weights_digest = std::string(100, '\1');
  EXPECT_EQ(FirstDifference(Full(), other, &a, &b), "weights_digest");
  EXPECT_EQ(a.substr(0, 6), "0xabab");
  EXPECT_EQ(b.size(), 80u);
  EXPECT_EQ(b.substr(77), "...");
}

}  // namespace
}  // namespace kvgate::wire
