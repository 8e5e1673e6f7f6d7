// SPDX-License-Identifier: Apache-2.0
//
// Protocol of the local door: control messages over a unix SEQPACKET socket, payload through
// memfds. Shared by the daemon (gateway/local) and libkvgate.so (client/local): needs nothing but
// libc.
//
// A message is one packet of at most kMessageBytesMax: MsgHeader, the fixed struct of its op, then
// an inline body. Numbers are little endian, structs have no padding, reserved bytes are 0. A body
// (keys, entries, identity) stands inline, or in the client's staging memfd at a place that the
// message names; the daemon checks the bounds, copies it once and parses its own copy. Long answers
// go into a region of the staging memfd that the request named; the daemon never reads it back.
//
// Replies carry the request's id, op | kReplyBit, and a google.rpc.Code in `timeout_us`; when it is
// not 0 the rest is text for people. RELEASE and BYE have no reply.
// A message that breaks the framing (length, magic, op, reserved, places outside staging, fds) is
// answered with an error and the connection ends; an argument outside its limits is an ordinary
// error of that call.
//
// Versions: HELLO is of version 1 and offers a range, its answer chooses. 2 adds GROW_STAGING; a
// client of version 1 gets all its staging at HELLO. A token over 64 bytes follows HELLO; a daemon
// that knows none that long refuses such a HELLO, which is no loss.
//
// Memory
//  * staging: memfds of one client, made by the daemon, sealed SHRINK|GROW|SEAL, mapped writable on
//    both sides, one behind the other: together they are one space, in which every offset counts
//    and values may lie over a border. HELLO gives the first, GROW_STAGING the others; they end
//    with the connection. What lies where in it is the client's business alone.
//  * extents: the tenant's pool, asked for by number (EXTENT), mapped read-only by clients.
//  * generations: u64 array. A leased value is valid while generations[generation_index] still has
//    the value of the answer: the client copies, fences, reads it again, and drops what changed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvgate::local {

inline constexpr uint32_t kMagic = 0x4c47564b;  // "KVGL"
inline constexpr uint16_t kVersionMin = 1;      // spoken by this build
inline constexpr uint16_t kVersionMax = 2;
inline constexpr uint16_t kVersionWithGrow = 2;
inline constexpr size_t kMessageBytesMax = 64 * 1024;
inline constexpr uint16_t kReplyBit = 0x8000;
inline constexpr size_t kErrorTextMax = 480;
inline constexpr uint32_t kTokenBytesMax = 256;
inline constexpr uint64_t kLeaseValueBytesMin = 64 * 1024;  // shorter values are copied out
inline constexpr uint32_t kInFlightMax = 64;                // requests a client
inline constexpr uint32_t kReleaseMax = 256;                // leases in one RELEASE
inline constexpr uint32_t kGroupsMax = 64;
inline constexpr uint64_t kBodyBytesMax = 5ull << 20;  // 4 MiB of keys and their lengths
inline constexpr uint64_t kControlBytes = 1ull << 20;  // of staging, besides what was wanted
inline constexpr uint64_t kStagingBytesMax = 4ull << 30;
inline constexpr uint64_t kStagingGranule = 64 * 1024;  // each part of staging is a multiple
inline constexpr uint32_t kStagingPartsMax = 16;        // a client, the first one included

enum class Op : uint16_t {
  kHello = 1,
  kOpen = 2,
  kLookup = 3,
  kReserve = 4,  // Offer
  kCommit = 5,   // Set
  kGet = 6,      // answers places and one lease
  kRelease = 7,  // one way
  kDelete = 8,
  kTouch = 9,
  kPin = 10,
  kUnpin = 11,
  kExtent = 12,  // the memfd of a pool extent
  kPing = 13,
  kBye = 14,          // one way
  kGrowStaging = 15,  // version 2: another part of staging
};

struct MsgHeader {
  uint32_t magic;
  uint16_t version;  // 1 in HELLO, the chosen one after it
  uint16_t op;
  uint32_t bytes;  // of the whole message
  uint32_t reserved;
  uint64_t request_id;  // the client's own, > 0
  uint64_t timeout_us;  // requests: what remains of the deadline, > 0. Replies: code
};
static_assert(sizeof(MsgHeader) == 32 && offsetof(MsgHeader, request_id) == 16);

// A body outside the message. in_staging = 0: inline, then offset = 0.
struct BodyRef {
  uint64_t offset;  // in staging
  uint32_t bytes;
  uint32_t in_staging;
};
static_assert(sizeof(BodyRef) == 16);

// Where a long answer may be written. bytes = 0: nowhere.
struct AnswerRef {
  uint64_t offset;  // in staging
  uint64_t bytes;
};
static_assert(sizeof(AnswerRef) == 16);

struct HintsWire {
  uint32_t prompt_tokens, output_tokens, turn, finished;
};
static_assert(sizeof(HintsWire) == 16);

struct Hello {
  uint16_t version_min, version_max;
  uint32_t token_bytes;    // of a token over 64 bytes, which follows then; else 0
  uint64_t features;       // of the client; none are defined yet: 0
  uint64_t producer;       // 0 = unknown; stands in for a COMMIT's 0
  uint64_t staging_bytes;  // wanted in all, besides kControlBytes
  char client_name[64];    // NUL-ended
  char token[64];          // NUL-padded; all 0: none, or one that follows
};
static_assert(sizeof(Hello) == 160);

// Comes with two fds: staging, generations.
struct HelloOk {
  uint16_t version;
  uint16_t reserved0;
  uint32_t in_flight_max;
  uint64_t incarnation;
  uint64_t session;
  uint8_t capability[16];  // shown again to get extents; ends with the connection
  uint64_t features;
  uint64_t staging_bytes;  // of the memfd, kControlBytes included
  uint64_t generations;    // elements
  uint64_t lease_bytes_max;
  uint32_t lease_ms;
  uint32_t leases_max;
};
static_assert(sizeof(HelloOk) == 80 && offsetof(HelloOk, capability) == 24);

// Body: identity ‖ alias.
struct Open {
  uint64_t required_features;  // bit i = kvgate.v1.Feature i
  uint32_t identity_bytes, alias_bytes;
  BodyRef body;
};
static_assert(sizeof(Open) == 32);

struct OpenOk {
  uint64_t ns, incarnation, features;
  uint64_t value_bytes_max, key_list_bytes_max, payload_bytes_max, disk_value_bytes_max;
  uint32_t key_bytes_max, keys_max, lookup_keys_max, pin_ms_max;
  uint32_t groups;
  uint8_t default_durability;
  uint8_t reserved[3];
  uint32_t root_group_keys[kGroupsMax];
  uint8_t identity_digest[32];
  char disk_mode[16];
  char server_version[32];
  char local_socket[112];
};
static_assert(sizeof(OpenOk) == 528 && offsetof(OpenOk, root_group_keys) == 80);

// Keys of every body: u16 length ‖ bytes, one after the other.

// Body: queries × QueryWire ‖ keys of the queries in order.
struct Lookup {
  uint64_t ns;
  double recompute_ms_per_token;
  uint32_t first_wanted_tokens, shards, pin_ms, stage, answer_by_ms;
  uint32_t queries;
  BodyRef body;
  AnswerRef answer;
};
static_assert(sizeof(Lookup) == 72);

struct QueryWire {
  uint32_t group, match, window_blocks, block_tokens, keys, reserved;
};
static_assert(sizeof(QueryWire) == 24);

// Answer body, inline or in the answer region: groups × GroupWire, then for each group its
// runs × RunWire ‖ bitmap, padded with zeros to 8.
struct LookupOk {
  uint64_t pin_token;
  double predicted_load_ms;
  uint32_t boundary_tokens, pin_ms, advice, groups;
  uint32_t body_bytes, body_in_region;
};
static_assert(sizeof(LookupOk) == 40);

struct GroupWire {
  uint32_t group, first, held, runs, bitmap_bytes, reserved;
};
static_assert(sizeof(GroupWire) == 24);

struct RunWire {
  uint32_t count, tier;
  uint64_t value_bytes;
};
static_assert(sizeof(RunWire) == 16);

// Body: count × u64 value lengths ‖ root ‖ keys.
struct Reserve {
  uint64_t ns, producer;
  uint32_t count, depth;
  uint8_t group, shard;
  uint16_t root_bytes;
  uint32_t reserved;
  BodyRef body;
};
static_assert(sizeof(Reserve) == 48);

// Followed by count × u8 states.
struct ReserveOk {
  uint64_t ticket;
  uint32_t count, reserved;
};
static_assert(sizeof(ReserveOk) == 16);

// Body: count × EntryWire ‖ parent ‖ root ‖ keys (their lengths stand in the entries).
struct Commit {
  uint64_t ns, producer, ticket;
  uint32_t count, depth;
  uint8_t group, shard, mode, durability;
  uint16_t parent_bytes, root_bytes;
  HintsWire hints;
  BodyRef body;
};
static_assert(sizeof(Commit) == 72);

struct EntryWire {
  uint64_t offset;  // of the value in staging
  uint64_t value_bytes;
  uint32_t ttl_ms;
  uint32_t producer_crc;
  uint8_t has_producer_crc;
  uint8_t reserved0;
  uint16_t key_bytes;
  uint32_t reserved1;
};
static_assert(sizeof(EntryWire) == 32);

// Followed by count × CommitResult.
struct CommitOk {
  uint32_t count, reserved;
};
static_assert(sizeof(CommitOk) == 8);

struct CommitResult {
  uint8_t state, durability;  // kvgate.v1.SetState, Durability
};
static_assert(sizeof(CommitResult) == 2);

// By keys (pin_token = 0): body = root ‖ keys. By handle: no body, no root, depth 0.
struct Get {
  uint64_t ns, pin_token;
  uint32_t first, count, depth;
  uint8_t group, shard, prefix_only, reserved0;
  uint64_t range_offset, range_bytes;
  uint16_t root_bytes, reserved1;
  uint32_t reserved2;
  BodyRef body;
  AnswerRef copy_out;  // where values below kLeaseValueBytesMin go
};
static_assert(sizeof(Get) == 88 && offsetof(Get, body) == 56);

// Followed by count × PlaceWire.
struct GetOk {
  uint64_t lease;  // 0 = nothing leased
  uint32_t count, lease_ms;
};
static_assert(sizeof(GetOk) == 16);

inline constexpr uint8_t kPlaceCopiedOut = 1;  // offset is in staging; no lease, no generation
inline constexpr uint8_t kPlaceNoRoom = 2;     // NOT_SENT for want of leases or room: ask again

struct PlaceWire {
  uint8_t state, tier;  // kvgate.v1.GetState, Tier
  uint8_t flags, reserved;
  uint32_t extent;
  uint64_t offset;
  uint64_t bytes;   // of the value or range; stated with kPlaceNoRoom too
  uint32_t crc32c;  // of exactly these bytes
  uint32_t generation_index;
  uint64_t generation;
};
static_assert(sizeof(PlaceWire) == 40);
static_assert(sizeof(MsgHeader) + sizeof(GetOk) + 1024 * sizeof(PlaceWire) <= kMessageBytesMax);

// Followed by count × u64 leases.
struct Release {
  uint32_t count, reserved;
};
static_assert(sizeof(Release) == 8);

// Body: keys.
struct Delete {
  uint64_t ns;
  uint32_t count;
  int16_t group, shard;  // -1 = all
  uint8_t durability;
  uint8_t reserved[7];
  BodyRef body;
};
static_assert(sizeof(Delete) == 40);

// Followed by count × u8 found.
struct DeleteOk {
  uint32_t count, reserved;
};
static_assert(sizeof(DeleteOk) == 8);

// Followed by the key.
struct Touch {
  uint64_t ns;
  HintsWire hints;
  uint8_t group, reserved0;
  uint16_t key_bytes;
  uint32_t reserved1;
};
static_assert(sizeof(Touch) == 32);

struct TouchOk {
  uint32_t found, reserved;
};
static_assert(sizeof(TouchOk) == 8);

struct Pin {
  uint64_t ns, pin_token;
  uint32_t pin_ms, reserved;
};
static_assert(sizeof(Pin) == 24);

struct PinOk {
  uint32_t pin_ms, reserved;  // 0 = stale
};
static_assert(sizeof(PinOk) == 8);

struct Unpin {
  uint64_t ns, pin_token;
};
static_assert(sizeof(Unpin) == 16);

struct UnpinOk {
  uint32_t found, reserved;
};
static_assert(sizeof(UnpinOk) == 8);

struct Extent {
  uint8_t capability[16];
  uint32_t extent, reserved;
};
static_assert(sizeof(Extent) == 24);

// Comes with one fd.
struct ExtentOk {
  uint64_t bytes;
  uint32_t extent, reserved;
};
static_assert(sizeof(ExtentOk) == 16);

// There was no room for a value of `value_bytes`; `bytes_min` more would make it, `bytes_wanted`
// more what comes behind it too. What was granted but not heard of is answered again, by
// `have_bytes`. RESOURCE_EXHAUSTED: nothing more now, by the client's wish of HELLO or the door's
// total.
struct GrowStaging {
  uint64_t have_bytes;  // of staging that the client has, kControlBytes included
  uint64_t value_bytes;
  uint64_t bytes_min, bytes_wanted;  // 1 <= min <= wanted
};
static_assert(sizeof(GrowStaging) == 32);

// Comes with one fd.
struct GrowStagingOk {
  uint64_t offset;  // in staging, = have_bytes
  uint64_t bytes;
};
static_assert(sizeof(GrowStagingOk) == 16);

// PING and BYE are a header alone; so is PING's reply.

}  // namespace kvgate::local
