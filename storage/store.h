// SPDX-License-Identifier: Apache-2.0
//
// Store: the only door into storage. A memory tier over a log tier.
//
// Promises
//  1. Bytes handed out are the bytes of some completed or running Set of that very namespace, key,
//     group and shard; everything read from disk was verified first. Else it is a miss.
//  2. A value is visible whole or not at all, and only after it was copied and checksummed here.
//  3. After an acknowledged Delete or OVERWRITE no call that starts later sees an older value;
//  after
//     a crash too when it was acknowledged as LOGGED or DEVICE.
//  4. Get never touches RocksDB and allocates no memory of 64 KiB or more; it answers by
//  `answer_by`.
//  5. Every table, queue and pool has a limit from StoreOptions; what does not fit is refused.
// Threads: all methods are thread-safe. Callbacks run once, on a thread of the store or inside the
// call; they must not block.
// Ownership: a BlockRef keeps its bytes in memory and in place; holders give it back soon.
// Errors: a call fails only as a whole (absl::Status); per-key outcomes are states.
// Knows nothing of grpc, protobuf, sockets and tenants' credentials.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/wire/identity.h"
#include "proto/wire/identity_digest.h"
#include "proto/wire/key.h"
#include "storage/base/clock.h"
#include "storage/options.h"
#include "storage/store_report.h"

namespace kvgate::storage {

// Of what the log writes (storage/log/format.h); a daemon refuses directories of a later one.
inline constexpr uint32_t kDiskFormatVersion = 1;

enum class Tier : uint8_t { kNone = 0, kMemory = 1, kDisk = 2 };
enum class Durability : uint8_t {
  kDefault = 0,
  kVolatile = 1,
  kBuffered = 2,
  kLogged = 3,
  kDevice = 4
};
enum class Match : uint8_t { kPrefix = 1, kMembership = 2, kWindow = 3 };
enum class SetMode : uint8_t { kIfAbsent = 1, kOverwrite = 2 };

// Same numbers as kvgate.v1.GetState, SetState and OfferState.
enum class GetState : uint8_t {
  kOk = 1,
  kMiss = 2,
  kNotReady = 3,
  kNotSent = 4,
  kUnpinned = 5,
  kStaleToken = 6,
  kCorrupt = 7,
  kIoError = 8
};
enum class SetState : uint8_t {
  kStored = 1,
  kHeld = 2,
  kNotAdmitted = 3,
  kDataLoss = 4,
  kNoSpace = 5,
  kTimedOut = 6,
  kTooLarge = 7
};
enum class OfferState : uint8_t { kWanted = 1, kHeld = 2, kPending = 3, kNotAdmitted = 4 };

struct NamespaceInfo {
  NamespaceId id = 0;
  std::string tenant;
  std::string alias;                 // the first one
  std::vector<std::string> aliases;  // all, as Namespaces() tells
  wire::Identity identity;           // empty when only its digest survived a lost checkpoint
  wire::IdentityDigest identity_digest{};
  wire::NsDigest ns_digest{};
};

// Where a block's bytes lie, as a same-node client may map them. See storage/memory/pool.h.
struct PoolPlace {
  uint32_t extent = 0;
  uint64_t offset = 0;  // in the extent
  uint32_t generation_index = 0;
  uint64_t generation = 0;  // value of the generation array at that index while the bytes are valid
};

// A counted reference to a block in memory. Copies share it. Thread-safe as shared_ptr is.
class BlockRef {
 public:
  class Holder {
   public:
    virtual ~Holder() = default;
    virtual std::span<const std::byte> bytes() const = 0;
    virtual PoolPlace place() const = 0;
    virtual uint32_t value_crc() const = 0;  // plain CRC32C of the bytes
  };
  BlockRef() = default;
  explicit BlockRef(std::shared_ptr<const Holder> holder) : holder_(std::move(holder)) {}
  explicit operator bool() const { return holder_ != nullptr; }
  std::span<const std::byte> bytes() const { return holder_->bytes(); }
  PoolPlace place() const { return holder_->place(); }
  uint32_t value_crc() const { return holder_->value_crc(); }

 private:
  std::shared_ptr<const Holder> holder_;
};

struct Hints {
  uint32_t prompt_tokens = 0, output_tokens = 0, turn = 0;
  bool finished = false;
};

struct LookupQuery {
  uint32_t group = 0;
  std::vector<std::string_view> keys;  // the whole chain from token 0
  Match match = Match::kPrefix;
  uint32_t window_blocks = 0;
  uint32_t block_tokens = 0;
};
struct LookupRequest {
  NamespaceId ns = 0;
  std::vector<LookupQuery> queries;
  uint32_t first_wanted_tokens = 0;
  double recompute_ms_per_token = 0;  // the client's estimate, for the time that hits save
  uint32_t pin_ms = 0;
  bool stage = false;
  absl::Time answer_by = absl::InfiniteFuture();  // staged only
};
struct HeldRun {
  uint32_t count = 0;
  Tier tier = Tier::kNone;
  uint64_t value_bytes = 0;  // all shards of one key
};
struct GroupHeld {
  uint32_t group = 0, first = 0, held = 0;
  std::vector<HeldRun> runs;
  std::string bitmap;
};
struct LookupResult {
  std::vector<GroupHeld> groups;
  uint32_t boundary_tokens = 0;
  uint64_t pin_token = 0;
  uint32_t pin_ms = 0;
  double predicted_load_ms = 0;
};
using LookupDone = std::function<void(absl::StatusOr<LookupResult>)>;

struct GetHandle {
  uint64_t pin_token = 0;
  uint32_t first = 0, count = 0;
};
struct GetRequest {
  NamespaceId ns = 0;
  std::vector<std::string_view> keys;  // need to live only during the call
  std::optional<GetHandle> handle;     // instead of keys
  uint8_t group = 0, shard = 0;
  absl::Time answer_by = absl::InfiniteFuture();
  bool prefix_only = false;
};
struct GetResult {
  GetState state = GetState::kMiss;
  Tier tier = Tier::kNone;  // where it was found
  BlockRef block;           // set exactly when state is kOk
};
using GetDone = std::function<void(absl::StatusOr<std::vector<GetResult>>)>;

struct SetItem {
  std::string_view key;
  std::vector<std::span<const std::byte>>
      value;                             // pieces, in order; read once, never trusted twice
  std::optional<uint32_t> producer_crc;  // CRC32C of the value
  uint32_t ttl_s = 0;
};
struct SetRequest {
  NamespaceId ns = 0;
  std::vector<SetItem> items;  // in chain order; the bytes are copied before Set returns
  SetMode mode = SetMode::kIfAbsent;
  std::string_view parent, root;
  uint32_t depth = 0;
  uint8_t group = 0, shard = 0;
  uint64_t producer = 0, ticket = 0;
  Durability durability = Durability::kDefault;
  Hints hints;
  absl::Time answer_by = absl::InfiniteFuture();
};
struct SetResult {
  SetState state = SetState::kNotAdmitted;
  Durability durability = Durability::kVolatile;  // granted
};
using SetDone = std::function<void(absl::StatusOr<std::vector<SetResult>>)>;

struct OfferRequest {
  NamespaceId ns = 0;
  std::vector<std::string_view> keys;
  std::vector<uint64_t> value_bytes;
  uint8_t group = 0, shard = 0;
  uint32_t depth = 0;
  uint64_t producer = 0;
  // Of all wanted keys together: what the caller has room to receive. Held ones need none.
  uint64_t bytes_max = std::numeric_limits<uint64_t>::max();
};
struct OfferResult {
  std::vector<OfferState> states;
  uint64_t ticket = 0;
  uint32_t keys_beyond = 0;  // not admitted for bytes_max: it, and what follows it in a chain
};

struct DeleteRequest {
  NamespaceId ns = 0;
  std::vector<std::string_view> keys;
  std::optional<uint8_t> group, shard;  // absent: all
  Durability durability = Durability::kLogged;
  absl::Time answer_by = absl::InfiniteFuture();
};
using DeleteDone = std::function<void(absl::StatusOr<std::vector<bool>>)>;

struct ScanEntry {
  NamespaceId ns = 0;
  wire::Hash128 hash;
  std::string key;  // empty when only the hash is known
  uint8_t group = 0, shard = 0;
  uint64_t value_bytes = 0, version = 0;
  uint32_t depth = 0;
  bool in_memory = false, on_disk = false;
};
struct ScanResult {
  std::vector<ScanEntry> entries;
  std::string next_cursor;  // empty: done
};

// What is in effect (Open's features and the start-up line).
struct StoreFacts {
  bool disk_tier = false;
  std::string disk_mode = "none";    // "direct", "buffered", "none"
  std::string disk_engine = "none";  // "io_uring", "posix"
  uint64_t disk_value_bytes_max = 0;
  uint64_t memory_bytes_max = 0, extent_bytes = 0, disk_bytes_max = 0;
  uint64_t disk_made_with_bytes = 0;  // of all directories: what is used of --disk
  bool loading = false;               // recovery still running: unknown keys answer kNotReady
  Durability default_durability = Durability::kVolatile;
};

// Counters are published to a visitor; only telemetry knows Prometheus. Names are those of
// docs/metrics.md without the prefix kvgate_; a gauge's name does not end in _total.
using CounterVisitor = std::function<void(std::string_view name, double value)>;

// Pool memory as same-node clients map it. Descriptors stay the store's own.
class PoolExport {
 public:
  virtual ~PoolExport() = default;
  virtual int GenerationsFd() const = 0;  // sealed memfd of u64 generations, read-only for others
  virtual uint64_t GenerationsBytes() const = 0;
  // Sealed memfd of an extent; -1 when there is no such extent.
  virtual int ExtentFd(uint32_t extent) const = 0;
  virtual uint64_t ExtentBytes(uint32_t extent) const = 0;
};

class Store {
 public:
  // Opens or formats the directories, recovers, starts the background threads. A foreign or future
  // data directory, one in use, or no space refuses with a text that says what to do.
  // `clock` outlives the store.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const StoreOptions& options, Clock* clock);
  // As above over disks that a test brings (memory_disk, faulty_disk), without RocksDB unless
  // options.log.directories names a place for it.
  static absl::StatusOr<std::unique_ptr<Store>> OpenOn(const StoreOptions& options, Clock* clock,
                                                       std::vector<std::unique_ptr<Disk>> disks);
  virtual ~Store() = default;  // as Close()

  // Once all that the log holds is found, or reading it failed; at once when that was so already.
  // On a thread of the store, or inside the call. Once.
  virtual void WhenLoaded(std::function<void(const absl::Status&)> done) { done(absl::OkStatus()); }

  // Writes out what is buffered, seals, syncs; callbacks of running calls come first. Idempotent.
  virtual absl::Status Close(absl::Duration limit) = 0;

  // Finds or creates the namespace. With a non-empty alias: FAILED_PRECONDITION naming the first
  // field that differs when (tenant, alias) belongs to another identity.
  virtual absl::StatusOr<NamespaceInfo> OpenNamespace(std::string_view tenant,
                                                      std::string_view alias,
                                                      const wire::Identity& identity) = 0;
  virtual std::vector<NamespaceInfo> Namespaces() const = 0;

  virtual void Lookup(const LookupRequest& request, LookupDone done) = 0;
  virtual void Get(const GetRequest& request, GetDone done) = 0;
  virtual void Set(const SetRequest& request, SetDone done) = 0;
  virtual absl::StatusOr<OfferResult> Offer(const OfferRequest& request) = 0;
  virtual void Delete(const DeleteRequest& request, DeleteDone done) = 0;
  virtual bool Touch(NamespaceId ns, std::string_view last_key, uint8_t group,
                     const Hints& hints) = 0;
  virtual uint32_t Pin(NamespaceId ns, uint64_t token, uint32_t pin_ms) = 0;  // granted, 0 = stale
  virtual bool Unpin(NamespaceId ns, uint64_t token) = 0;

  virtual absl::StatusOr<ScanResult> Scan(NamespaceId ns /* 0 = all */, std::string_view cursor,
                                          uint32_t limit) = 0;
  // What is known of a key, why it left, and which other namespaces of the tenant hold it.
  virtual absl::StatusOr<Explanation> Explain(NamespaceId ns, std::string_view key) = 0;
  virtual std::vector<RequestUse> RecentRequests(size_t max) const = 0;  // newest first
  virtual std::vector<NamespaceUse> NamespaceUses() const = 0;

  virtual StoreFacts facts() const = 0;
  virtual void VisitCounters(const CounterVisitor& visitor) const = 0;
  virtual const PoolExport* pool_export() const = 0;
};

}  // namespace kvgate::storage
