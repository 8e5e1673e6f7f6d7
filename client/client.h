// SPDX-License-Identifier: Apache-2.0
//
// Client: what an inference worker or a tool calls. One interface over two transports, the local
// door (same node: shared memory) and gRPC (unix socket or TCP).
//
// Promises
//  1. Never in the way: every call returns by its deadline (plus scheduling), whatever the gateway
//     does. A gateway that is absent, hung or restarted makes misses with a reason, never errors
//     that a worker would have to handle. Connecting and re-attaching happen inside the calls'
//     deadlines, with jittered back-off; a breaker answers at once while the gateway is away. A
//     gateway that refuses the token is there: the breaker stays as it is, calls are answered
//     kUnauthenticated at once, and it is asked again when the token file changed or after 30 s.
//  2. Never wrong: bytes are reported as loaded only if they were complete, their lease was valid
//     (generation re-read after the copy) and, when sampled, their CRC32C was right.
//  3. After its deadline a call never writes another byte into the caller's buffers: copies are
//     made by the calling thread itself.
//  4. Retried is only what is idempotent, of which no byte of an answer was used, inside the
//     deadline and under a budget (10 % of calls).
// Threads: thread-safe; calls block the calling thread. Fork: the child must not use it (its calls
// answer kUnavailable).
// Memory: staging (Options::staging_bytes) plus 1 MiB; mapped besides, of the gateway's own, is its
// pool (read-only), which is unmapped as soon as the attachment is over. Threads of its own: none.
// Errors: Outcome tells how the call as a whole went; results tell each key's reason.
// Needs nothing but libc and libstdc++ (libkvgate.so is made of it); no exceptions leave it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/wire/identity.h"
#include "proto/wire/status.h"

namespace kvgate::client {

// How a call went as a whole. `message` is for people.
struct Outcome {
  wire::Code code = wire::Code::kOk;
  bool sent = false;  // a byte of the request may have reached the server
  std::string message;
  bool ok() const { return code == wire::Code::kOk; }
};

// Why a key was not loaded (or not stored). One list for every transport, metric and binding.
enum class Reason : uint8_t {
  kOk = 0,
  kNotHeld = 1,
  kNotReady = 2,  // the server could not have it in memory in time
  kNotSent = 3,
  kUnpinned = 4,
  kStaleToken = 5,
  kCorrupt = 6,  // the server found its bytes bad
  kIoError = 7,
  kDeadline = 8,
  kUnavailable = 9,  // no gateway, or breaker open
  kRefused = 10,     // bad argument, limit, unknown namespace: see Outcome
  kRevoked = 11,     // the lease ended before the copy was done
  kChecksum = 12,    // the copy did not verify here
  kOverloaded = 13,
  kWrongSize = 14,    // the value's length is not that of the target buffer
  kNotAdmitted = 15,  // Set: refused by admission
  kDataLoss = 16,     // Set: producer CRC mismatch
  kNoSpace = 17,
  kTimedOut = 18,  // Set: stored, durability not reached in time
  kTooLarge = 19,
  kAlreadyHeld = 20,  // Set: IF_ABSENT, already there (not a failure)
  kInternal = 21,
  kUnauthenticated = 22,  // the gateway refuses the token: a mistake of the set-up, no outage
};
std::string_view ReasonName(Reason reason);  // "not_held" …

// Whether calls try the gateway: yes, one of them (the probe), or none for now.
enum class BreakerState : uint8_t { kClosed = 0, kHalfOpen = 1, kOpen = 2 };
// Why the breaker opened.
enum class BreakerReason : uint8_t {
  kNone = 0,       // it never did
  kNoGateway = 1,  // nobody could be connected to
  kNoAnswer = 2,   // connected, or connecting, and no answer in time
  kFailures = 3,   // as many calls in a row without an answer as Options::breaker_failures
  kSilence = 4,    // a second without an answer
};
std::string_view BreakerReasonName(BreakerReason reason);  // "none", "no_gateway" …

enum class Verify : uint8_t { kDefault = 0, kAlways = 1, kSampled = 2, kNever = 3 };

struct Options {
  std::string transport = "auto";  // "auto" | "local" | "grpc"
  std::string local_socket;        // path of the local door
  std::string grpc_target;         // "unix:/path" or "host:port"
  std::string grpc_library;        // path of libkvgate_grpc.so; empty: beside libkvgate.so
  std::string client_name;         // <= 63 B
  // Of a gateway that asks for one: itself, or a file whose first line is it, which is read at each
  // connect. Neither: KVGATE_TOKEN_FILE, else KVGATE_TOKEN (Client::Create).
  std::string token, token_file;
  uint64_t producer = 0;                 // 0: drawn at random
  uint64_t staging_bytes = 32ull << 20;  // at most; the local door gives it as Sets need it
  Verify verify = Verify::kDefault;      // sampled (1/64) on shared memory, always over gRPC
  uint32_t connect_timeout_ms = 200;
  uint32_t breaker_failures = 5;   // or 1 s without an answer
  uint32_t breaker_open_ms = 200;  // first pause; doubles with jitter up to 800 ms
};

using Deadline = int64_t;  // CLOCK_MONOTONIC nanoseconds; see DeadlineIn
Deadline DeadlineIn(double ms);

struct Limits {
  uint32_t key_bytes_max = 0, keys_max = 0, lookup_keys_max = 0, pin_ms_max = 0;
  uint64_t value_bytes_max = 0, key_list_bytes_max = 0, payload_bytes_max = 0,
           disk_value_bytes_max = 0;
};
struct OpenRequest {
  std::string identity;            // canonical bytes (proto/wire/identity.h)
  uint64_t required_features = 0;  // bit i = kvgate.v1.Feature i
  std::string alias;
};
struct OpenReply {
  uint64_t ns_handle = 0;  // of the server's incarnation; callers use the client's own number
  uint64_t incarnation = 0, features = 0;
  Limits limits;
  std::vector<uint32_t> root_group_keys;
  std::string identity_digest, local_socket, disk_mode, server_version;
  uint8_t default_durability = 0;
};

struct GroupQuery {
  uint32_t group = 0;
  std::span<const std::string_view> keys;
  uint8_t match = 1;  // kvgate.v1.Match
  uint32_t window_blocks = 0, block_tokens = 0;
};
struct LookupRequest {
  uint64_t ns = 0;
  std::span<const GroupQuery> queries;
  uint32_t first_wanted_tokens = 0, shards = 0, pin_ms = 0;
  bool stage = false;
  uint32_t answer_by_ms = 0;
  double recompute_ms_per_token = 0;
};
struct HeldRun {
  uint32_t count = 0;
  uint8_t tier = 0;  // kvgate.v1.Tier
  uint64_t value_bytes = 0;
};
struct GroupHeld {
  uint32_t group = 0, first = 0, held = 0;
  std::vector<HeldRun> runs;
  std::string bitmap;
};
struct LookupReply {
  std::vector<GroupHeld> groups;
  uint32_t boundary_tokens = 0, pin_ms = 0;
  uint64_t pin_token = 0;
  double predicted_load_ms = 0;
  uint8_t advice = 0;
};

// Where a value goes: pieces filled in order; their sum must be the value's length.
using Pieces = std::span<const std::span<std::byte>>;
using ConstPieces = std::span<const std::span<const std::byte>>;

struct GetRequest {
  uint64_t ns = 0;
  std::span<const std::string_view> keys;  // or, when pin_token is not 0, by handle:
  uint64_t pin_token = 0;
  uint32_t first = 0, count = 0;
  uint8_t group = 0, shard = 0;
  std::string_view root;
  uint32_t depth = 0;
  bool prefix_only = false;
  uint64_t range_offset = 0, range_bytes = 0;
  std::span<const Pieces> targets;  // one a key
};
struct GetResult {
  Reason reason = Reason::kNotHeld;
  uint8_t tier = 0;
  uint64_t value_bytes = 0;
  uint32_t crc32c = 0;  // of the bytes, as the server stated it
};

struct SetEntry {
  std::string_view key;
  ConstPieces value;
  std::optional<uint32_t> producer_crc;
  uint32_t ttl_ms = 0;
};
struct Hints {
  uint32_t prompt_tokens = 0, output_tokens = 0, turn = 0;
  bool finished = false;
};
struct SetRequest {
  uint64_t ns = 0;
  std::span<const SetEntry> entries;
  uint8_t mode = 1;  // kvgate.v1.SetMode
  std::string_view parent, root;
  uint32_t depth = 0;
  uint8_t group = 0, shard = 0;
  uint64_t producer = 0, ticket = 0;
  uint8_t durability = 0;  // kvgate.v1.Durability
  Hints hints;
};
struct SetResult {
  Reason reason = Reason::kNotAdmitted;  // kOk = stored
  uint8_t durability = 0;
};

struct OfferRequest {
  uint64_t ns = 0;
  std::span<const std::string_view> keys;
  std::span<const uint64_t> value_bytes;
  uint8_t group = 0, shard = 0;
  std::string_view root;
  uint32_t depth = 0;
};
struct OfferReply {
  std::vector<uint8_t> states;  // kvgate.v1.OfferState
  uint64_t ticket = 0;
};
struct DeleteRequest {
  uint64_t ns = 0;
  std::span<const std::string_view> keys;
  std::optional<uint8_t> group, shard;
  uint8_t durability = 0;
};

// Monotone counters of one client.
struct Stats {
  uint64_t calls = 0, retries = 0, reconnects = 0, breaker_opens = 0;
  uint64_t loaded_blocks = 0, loaded_bytes = 0, stored_blocks = 0, stored_bytes = 0;
  uint64_t verified_blocks = 0, checksum_failures = 0, revoked = 0;
  uint64_t misses_by_reason[32] = {};
  uint64_t staging_in_use = 0;                          // gauge
  char transport[8] = {};                               // "local", "grpc", "none" at this moment
  BreakerState breaker_state = BreakerState::kClosed;   // at this moment
  BreakerReason breaker_reason = BreakerReason::kNone;  // of the last opening or failed probe
};

class Client {
 public:
  // Does not connect yet; only bad options are refused (nullptr, *error set).
  static std::unique_ptr<Client> Create(const Options& options, std::string* error);
  virtual ~Client() = default;

  // Connects if need be and opens the namespace. On success *ns is this client's own number for it,
  // good over restarts of the gateway: the client opens it again by itself after re-attaching.
  // When the gateway is away, kUnavailable, or refuses the token, kUnauthenticated: *ns is still
  // given, so that it works once that has passed.
  virtual Outcome Open(const OpenRequest& request, Deadline deadline, uint64_t* ns,
                       OpenReply* reply) = 0;
  virtual Outcome Lookup(const LookupRequest& request, Deadline deadline, LookupReply* reply) = 0;
  // targets.size() == results.size() == number of keys (or count). Every result is filled, whatever
  // the outcome. What did not fit one answer is asked for again.
  virtual Outcome Get(const GetRequest& request, Deadline deadline,
                      std::span<GetResult> results) = 0;
  // Values in one piece inside staging memory go without a copy here; after a Set that timed out,
  // free that memory rather than fill it again: it may still be read. Not retried once sent, unless
  // IF_ABSENT. More than one message may carry is split along the chain.
  virtual Outcome Set(const SetRequest& request, Deadline deadline,
                      std::span<SetResult> results) = 0;
  virtual Outcome Offer(const OfferRequest& request, Deadline deadline, OfferReply* reply) = 0;
  virtual Outcome Delete(const DeleteRequest& request, Deadline deadline,
                         std::span<bool> found) = 0;
  virtual Outcome Touch(uint64_t ns, std::string_view last_key, uint8_t group, const Hints& hints,
                        Deadline deadline) = 0;
  virtual Outcome Pin(uint64_t ns, uint64_t token, uint32_t pin_ms, Deadline deadline,
                      uint32_t* granted_ms) = 0;
  virtual Outcome Unpin(uint64_t ns, uint64_t token, Deadline deadline) = 0;
  virtual Outcome Ping(Deadline deadline) = 0;

  // Staging memory owned by the caller until FreeStaging: shared with the daemon on the local door
  // as far as that has room now (what it lacks, the next Set asks for), ordinary memory else. Null
  // when staging_bytes are in use (drop and count; never waits). 64 B aligned. Stays valid however
  // the gateway fares.
  virtual std::byte* AllocStaging(size_t bytes) = 0;
  virtual void FreeStaging(std::byte* memory) = 0;

  virtual Stats stats() const = 0;
};

}  // namespace kvgate::client
