// SPDX-License-Identifier: Apache-2.0
//
// Identity: everything that changes the meaning of a block's bytes, in one canonical encoding.
//
// Canonical form ("TLV"): for each field that is set, in ascending tag order:
//   u16le tag ‖ u32le length ‖ value
// Strings are raw bytes; integers are u64le; an integer of 0 and an empty string or list are not
// written (absent = default). Lists repeat their tag in list order; `extra` is one element a pair,
// sorted by key bytes: u16le key_len ‖ key ‖ value. A group is a nested TLV. The form starts with
// the 8 bytes "KVGID\0\0\1". Equal identities have equal bytes; Decode refuses any other form of
// the same content (wrong order, written zeros, unknown tags), so digests cannot be made to differ.
//   digest    = SHA-256(canonical form)
//   ns_digest = SHA-256("kvgate-ns-1" ‖ u16le tenant_len ‖ tenant ‖ digest), the same on all nodes
//
// Everything here is pure and thread-safe. Encode/Decode/Diff need only libc (libkvgate.so links
// them); digests need libcrypto and live in identity_digest.h.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace kvgate::wire {

enum class GroupKind : uint8_t {
  kUnspecified = 0,
  kFullAttention = 1,
  kSlidingWindow = 2,
  kState = 3
};

struct KvGroup {
  GroupKind kind = GroupKind::kUnspecified;  // tag 1
  uint32_t block_tokens = 0;                 // tag 2
  std::vector<std::string> layer_names;      // tag 3, repeated
  std::string spec;                          // tag 4
  uint64_t page_bytes = 0;                   // tag 5
  uint32_t window_tokens = 0;                // tag 6
  friend bool operator==(const KvGroup&, const KvGroup&) = default;
};

// Fields and tags are those of the message kvgate.v1.Identity.
struct Identity {
  std::string model;                         // 1
  std::string weights_digest;                // 2
  std::string weights_id;                    // 3
  uint64_t weights_epoch = 0;                // 4
  std::vector<std::string> lora_digests;     // 5
  std::string rope;                          // 6
  std::string dtype;                         // 7
  std::string kv_cache_dtype;                // 8
  std::string kv_scales;                     // 9
  std::string attention_backend;             // 10
  std::string isa;                           // 11
  std::string arch;                          // 12
  std::string layout;                        // 13
  std::vector<KvGroup> groups;               // 14
  uint32_t tp_size = 0;                      // 15
  uint32_t pp_size = 0;                      // 16
  uint32_t pcp_size = 0;                     // 17
  uint32_t dcp_size = 0;                     // 18
  uint32_t cp_interleave = 0;                // 19
  std::string prefix_hash_algorithm;         // 20
  std::string prefix_hash_seed;              // 21
  uint32_t hash_block_tokens = 0;            // 22
  std::string engine_version;                // 23
  uint32_t shards = 0;                       // 24; 0 and 1 are the same and encode as absent
  std::map<std::string, std::string> extra;  // 25
  friend bool operator==(const Identity&, const Identity&) = default;
  uint32_t shard_count() const { return shards == 0 ? 1 : shards; }
};

inline constexpr size_t kIdentityBytesMax = 256 * 1024;
inline constexpr size_t kGroupsMax = 64;
inline constexpr uint32_t kShardsMax = 255;

// Canonical bytes. Elements of lists may be empty and are written. Empty result: a key of `extra`
// is over 65,535 bytes, which no form can hold (ValidateIdentity names it).
std::string EncodeIdentity(const Identity& identity);

// Parses hostile bytes. On failure returns false and sets *error to a text that names the field
// and the limit.
bool DecodeIdentity(std::string_view bytes, Identity* identity, std::string* error);

// Checks what a daemon needs to serve it: at least one group, block_tokens > 0, a kind for each,
// weights_digest or weights_id, layout, at most kGroupsMax groups and kShardsMax shards, kv_scales
// not "dynamic". Same error convention. An identity whose model is "opaque" and all else empty is
// that of doors without identity and is refused here.
bool ValidateIdentity(const Identity& identity, std::string* error);

// The name of the first field in which a and b differ ("weights_digest", "groups[0].page_bytes"),
// empty when equal. `a_value` and `b_value` (may be null) get printable forms, at most 80 B.
std::string FirstDifference(const Identity& a, const Identity& b, std::string* a_value,
                            std::string* b_value);

}  // namespace kvgate::wire
