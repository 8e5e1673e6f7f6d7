// SPDX-License-Identifier: Apache-2.0
//
// StoreImpl: the state that the store's verbs share, and the steps that several of them need.
// The verbs: store_get.cc, store_set.cc, store_delete.cc, store_lookup.cc, store_tools.cc,
// store_explain.cc; the way
// to and from the log: store_load.cc, store_append.cc, store_reclaim.cc; life: store_open.cc.
//
// How it is kept right
//  1. One lock, mu_, is held for every step that changes what is held. Bytes are copied,
//  checksummed,
//     read and written outside of it. The index has locks of its own below mu_.
//  2. Versions are given out under mu_ at the moment a Set or Delete takes effect, so the order of
//     versions is the order in which calls see each other. A completion (load, append, reinsertion)
//     changes an entry only if it still has the version and place that the work began with.
//  3. Nothing foreign is called with mu_ held: callbacks, disk reads and appends are collected in a
//     Deferred and run after the lock was given back.
//  4. Records go to the log in the order of their versions: a tombstone never overtakes the value
//     that it kills (its birth_seq must cover that value's segment).
//  5. A block leaves memory only when nobody else holds its bytes, no pin keeps it there, and it is
//     not on its way into the log; all resident siblings of its key leave with it.
// Threads: thread-safe. Stop: Close; the destructor closes with a limit of 5 s.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/gate.h"
#include "storage/index/index.h"
#include "storage/io/file_util.h"
#include "storage/log/log.h"
#include "storage/memory/memory_table.h"
#include "storage/memory/pool.h"
#include "storage/memory/recent_reads.h"
#include "storage/store.h"
#include "storage/store_counters.h"
#include "storage/store_history.h"
#include "storage/store_namespaces.h"
#include "storage/store_pins.h"
#include "storage/store_recovery.h"
#include "storage/store_threads.h"
#include "storage/store_tickets.h"

namespace kvgate::storage {

// What is to be done once the lock was given back. Declare it before the MutexLock.
class Deferred {
 public:
  Deferred() = default;
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;
  ~Deferred() {
    for (std::function<void()>& run : work_) run();
  }
  void Add(std::function<void()> run) { work_.push_back(std::move(run)); }

 private:
  std::vector<std::function<void()>> work_;
};

// A call that waits for loads or appends. All of it is under the store's lock.
class WaitingCall : public std::enable_shared_from_this<WaitingCall> {
 public:
  virtual ~WaitingCall() = default;
  virtual void OnLoaded(uint32_t index, GetState state, const BlockRef& block) = 0;
  virtual void OnAppended(uint32_t index, const absl::Status& status) = 0;
  // The answer, to be run without the lock. Once, when nothing is pending or answer_by came.
  virtual std::function<void()> Finish() = 0;

  uint32_t pending = 0;
  bool finished = false;
  absl::Time answer_by = absl::InfiniteFuture();
  Timers::Id timer{absl::InfinitePast(), 0};
};

// A key as the data path knows it.
struct KeyRef {
  wire::Hash128 hash;
  uint32_t crc_of_key = 0;
  bool pinned = true;     // by handle: false for positions outside the token
  std::string_view text;  // empty by handle
};

// One read from the log on its way into memory, shared by all who wait for it (single flight).
struct Load {
  BlockId id;
  uint64_t version = 0;
  Place place;
  uint32_t length = 0, crc = 0;  // as the index has them
  uint32_t crc_of_key = 0;       // of the requested key
  uint32_t prefix_crc = 0;
  std::string key;  // empty by handle
  PoolBuffer buffer;
  absl::Time deadline;        // of the waiter that waits longest
  bool read_again = false;    // after a checksum that did not match
  bool looked_again = false;  // after its segment was reclaimed
  struct Waiter {
    std::shared_ptr<WaitingCall> call;
    uint32_t index = 0;
  };
  std::vector<Waiter> waiters;
};

class StoreImpl final : public Store, private LogOwner {
 public:
  StoreImpl(const StoreOptions& options, Clock* clock);
  ~StoreImpl() override;

  // Brings it up; once. Without an opener: memory only. `lock_files` are held until the end.
  using LogOpener = std::function<absl::StatusOr<std::unique_ptr<Log>>(LogOwner* owner)>;
  absl::Status Start(const LogOpener& open_log, std::vector<LockFile> lock_files);

  void WhenLoaded(std::function<void(const absl::Status&)> done) override;
  absl::Status Close(absl::Duration limit) override;
  absl::StatusOr<NamespaceInfo> OpenNamespace(std::string_view tenant, std::string_view alias,
                                              const wire::Identity& identity) override;
  std::vector<NamespaceInfo> Namespaces() const override { return namespaces_->All(); }
  void Lookup(const LookupRequest& request, LookupDone done) override;
  void Get(const GetRequest& request, GetDone done) override;
  void Set(const SetRequest& request, SetDone done) override;
  absl::StatusOr<OfferResult> Offer(const OfferRequest& request) override;
  void Delete(const DeleteRequest& request, DeleteDone done) override;
  bool Touch(NamespaceId ns, std::string_view last_key, uint8_t group, const Hints& hints) override;
  uint32_t Pin(NamespaceId ns, uint64_t token, uint32_t pin_ms) override;
  bool Unpin(NamespaceId ns, uint64_t token) override;
  absl::StatusOr<ScanResult> Scan(NamespaceId ns, std::string_view cursor, uint32_t limit) override;
  absl::StatusOr<Explanation> Explain(NamespaceId ns, std::string_view key) override;
  std::vector<RequestUse> RecentRequests(size_t max) const override;
  std::vector<NamespaceUse> NamespaceUses() const override;
  StoreFacts facts() const override;
  void VisitCounters(const CounterVisitor& visitor) const override;
  const PoolExport* pool_export() const override { return pool_.get(); }

 private:
  struct SetCall;
  struct LookupPlan;
  struct StageCall;
  struct CopiedValue;
  struct Append;

  // LogOwner: the log's background thread.
  Verdict JudgeReclaim(uint32_t segment, std::span<const RecordMeta> records,
                       std::span<const Place> places) override;
  void Moved(const RecordMeta& record, Place from, Place to) override;
  void Forget(uint32_t segment, std::span<const RecordMeta> records,
              std::span<const Place> places) override;

  // --- store_open.cc
  absl::Status OpenLog(const LogOpener& open_log);
  // Versions, clock and namespaces; then the index, here or on a thread of its own.
  absl::Status Recover();
  absl::Status LoadIndex(absl::Time began);
  void Loaded(const absl::Status& status);
  // Versions of the block up to this one have ended: while loading, the log may still hand them
  // over.
  void RememberEnd(const BlockId& id, uint64_t version) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes the entry out of the index if it still has this version; what of it is in memory stays.
  bool EraseEntry(const BlockId& id, uint64_t version) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!index_->Erase(id, version)) return false;
    RememberEnd(id, version);
    return true;
  }
  // While loading, what ends a record of the log may be handed over after it: until all was read it
  // is known no better than a key that was not found. Only such blocks are on disk alone with a
  // version of an earlier run; they are not brought into memory before.
  bool Settled(const IndexEntry& entry) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return merge_ == nullptr || entry.version > log_version_max_;
  }
  GetState StateOfUnknown() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return merge_ != nullptr ? GetState::kNotReady : GetState::kMiss;
  }
  absl::StatusOr<std::shared_ptr<const Namespace>> FindNamespace(NamespaceId id) const;
  absl::Status EnterCall();
  void LeaveCall();
  // Answers a call that has nothing to wait for, else arms its deadline.
  void Await(const std::shared_ptr<WaitingCall>& call, Deferred* deferred)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FinishCall(WaitingCall* call, Deferred* deferred) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // One thing that the call waited for came.
  void Settle(WaitingCall* call, Deferred* deferred) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // --- store_memory.cc
  bool Live(const IndexEntry& entry) const {
    return entry.expiry_s == 0 || entry.expiry_s > clock_->CacheSeconds();
  }
  // The entry if it is held, settled and has not expired; an expired one ends here.
  std::optional<IndexEntry> FindLive(const BlockId& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RemoveEntry(const IndexEntry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  PoolBuffer AllocateEvicting(uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool EvictSome(uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // All resident shards of the key; `freed` grows by their bytes.
  void EvictFamily(const BlockId& id, uint64_t* freed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Of those on probation, oldest first, what may leave by now; with `early`, all.
  void EvictProbation(uint64_t wanted, bool early, uint64_t* freed)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool FamilyIsOnProbationSince(const BlockId& id, absl::Time since) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  uint64_t ProbationBytesMax() const;
  // Gives up one cold block that is in memory only: its entry goes too. False: none was found.
  bool EvictUnwritten() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Before a new block: keeps some of the index free. False when it is full for now.
  bool MakeIndexRoom(Deferred* deferred) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool MayLeave(const MemorySlot& slot) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool FamilyMayLeave(const BlockId& id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Evict(uint32_t slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  BlockRef RefOf(uint32_t slot) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return BlockRef(table_.at(slot).block);
  }
  // Marks the block as used in memory and for reclaim; its ancestors for reclaim only.
  void MarkUsed(const IndexEntry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Makes the chain up to the root younger, tail first, all shards of each key; marks it for
  // reclaim. False when `last` is not held; `use` gets what was found.
  bool TouchChain(const Namespace& ns, const wire::Hash128& last, uint8_t group,
                  RequestUse* use = nullptr) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The key's shards alone.
  void TouchOne(const Namespace& ns, const wire::Hash128& hash, uint8_t group)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Departed(const BlockId& id, Departure departure) {
    history_.RecordDeparture(id, departure, clock_->Now());
  }
  // Whether the slot holds this very key, as far as can be told.
  bool SameKey(const MemorySlot& slot, const KeyRef& key) const;

  // --- store_get.cc
  absl::StatusOr<std::vector<KeyRef>> KeysOfGet(const Namespace& ns, const GetRequest& request,
                                                bool* stale);
  // --- store_load.cc
  // Joins or starts the read of a block that is on disk only. False: no memory for it now.
  bool LoadInto(const IndexEntry& entry, const KeyRef& key,
                const std::shared_ptr<WaitingCall>& call, uint32_t index, Deferred* deferred)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SubmitRead(std::shared_ptr<Load> load);
  void ReadDone(const std::shared_ptr<Load>& load, const absl::Status& status);
  void LookAgain(const std::shared_ptr<Load>& load);
  void RetryQueued(const std::shared_ptr<Load>& load);
  void TellCorrupt(const Load& load) const;
  void EndLoad(const std::shared_ptr<Load>& load, GetState state);
  BlockRef PublishLoad(Load* load) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // --- store_set.cc
  absl::Status ValidateSet(const Namespace& ns, const SetRequest& request) const;
  bool CopyValue(const Namespace& ns, const SetRequest& request, const SetItem& item,
                 CopiedValue* value);
  SetResult SetOne(const Namespace& ns, const SetRequest& request, uint32_t i,
                   const wire::Hash128& hash, const wire::Hash128& parent,
                   const std::shared_ptr<SetCall>& call);
  SetResult HeldResult(const IndexEntry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  SetResult PublishSet(const Namespace& ns, const SetRequest& request, uint32_t i,
                       CopiedValue value, const wire::Hash128& parent,
                       const std::shared_ptr<SetCall>& call, Deferred* deferred)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  SetResult WriteThrough(const IndexEntry& entry, std::string key, bool overwrite, uint32_t i,
                         const std::shared_ptr<SetCall>& call, Deferred* deferred)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  OfferResult OfferLocked(const Namespace& ns, const OfferRequest& request,
                          const std::vector<BlockId>& ids) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // --- store_delete.cc
  bool DeleteOne(const Namespace& ns, const DeleteRequest& request, std::string_view key,
                 const wire::Hash128& hash, const std::shared_ptr<WaitingCall>& call,
                 Deferred* deferred) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // --- store_append.cc
  // Queues the resident block for the log. False: the queue is full.
  bool QueueValue(const IndexEntry& entry, bool device, std::shared_ptr<WaitingCall> call,
                  uint32_t index, Deferred* deferred) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void QueueTombstone(RecordMeta meta, std::string key, bool device,
                      std::shared_ptr<WaitingCall> call, uint32_t index, Deferred* deferred)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void DrainAppends() ABSL_LOCKS_EXCLUDED(mu_);
  void Appended(const std::shared_ptr<Append>& append, const absl::StatusOr<Place>& place);
  void ValueAppended(const Append& append, const absl::StatusOr<Place>& place, Deferred* deferred)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void KeepForLater(const BlockId& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void QueueWaiting(Deferred* deferred) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // --- store_lookup.cc
  absl::StatusOr<LookupPlan> PlanLookup(const LookupRequest& request) const;
  LookupResult EvaluateLookup(LookupPlan* plan, bool memory_only)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TouchLookup(const LookupPlan& plan) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  LookupResult AnswerLookup(LookupPlan* plan) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void StageReads(const std::shared_ptr<StageCall>& call, Deferred* deferred)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  uint64_t PinLookup(const LookupPlan& plan, uint32_t boundary) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const StoreOptions options_;
  Clock* const clock_;

  // Constant once started. Order of the end: log, then workers, then pool.
  std::vector<LockFile> lock_files_;
  wire::HashSecret secret_{};
  uint64_t append_bytes_max_ = 0;
  uint64_t disk_value_bytes_max_ = 0;
  std::shared_ptr<Pool> pool_;
  std::unique_ptr<Index> index_;
  std::unique_ptr<NamespaceDirectory> namespaces_;
  mutable StoreCounters counters_;
  History history_;

  mutable absl::Mutex mu_;
  MemoryTable table_ ABSL_GUARDED_BY(mu_);
  RecentReads recent_reads_ ABSL_GUARDED_BY(mu_);
  PinTable pins_ ABSL_GUARDED_BY(mu_);
  TicketTable tickets_ ABSL_GUARDED_BY(mu_);
  uint64_t next_version_ ABSL_GUARDED_BY(mu_) = 1;
  uint32_t calls_ ABSL_GUARDED_BY(mu_) = 0;                    // inside, waiting ones included
  std::unique_ptr<RecoveryMerge> merge_ ABSL_GUARDED_BY(mu_);  // while loading
  uint64_t log_version_max_ ABSL_GUARDED_BY(mu_) = 0;          // of earlier runs
  bool loaded_ ABSL_GUARDED_BY(mu_) = false;                   // or failed
  absl::Status load_status_ ABSL_GUARDED_BY(mu_);
  std::function<void(const absl::Status&)> when_loaded_ ABSL_GUARDED_BY(mu_);
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  absl::flat_hash_set<std::shared_ptr<WaitingCall>> waiting_ ABSL_GUARDED_BY(mu_);
  // A tree: a hash table of a thousand loads would be one large allocation on the path of a Get.
  absl::btree_map<BlockId, std::shared_ptr<Load>> loads_ ABSL_GUARDED_BY(mu_);
  std::deque<std::shared_ptr<Append>> append_queue_ ABSL_GUARDED_BY(mu_);
  uint64_t append_bytes_ ABSL_GUARDED_BY(mu_) = 0;      // queued and in the log's hands
  std::deque<BlockId> unwritten_ ABSL_GUARDED_BY(mu_);  // WriteState::kWaiting, oldest first
  std::deque<std::pair<RecordMeta, std::string>> owed_tombstones_ ABSL_GUARDED_BY(mu_);

  absl::Mutex append_order_mu_ ABSL_ACQUIRED_BEFORE(mu_);  // one thread feeds the log at a time

  mutable Gate log_gate_;  // around calls of log_ by threads that the log does not join

  Timers timers_;
  Workers workers_;
  std::unique_ptr<Log> log_;  // null: memory only; constant between Start and Close
  std::thread loader_;        // started by Start, joined before log_ ends
};

}  // namespace kvgate::storage
