// SPDX-License-Identifier: Apache-2.0
//
// Life of the store: opening, recovery, calls that wait, closing.
#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "storage/base/check.h"
#include "storage/base/thread_name.h"
#include "storage/store_impl.h"
#include "storage/store_random.h"
#include "storage/store_recovery.h"

namespace kvgate::storage {
namespace {

constexpr int kWorkerThreads = 2;
constexpr absl::Duration kCloseLimit = absl::Seconds(5);
// Blocks read from disk that are remembered: 512 KiB, and 64 GiB of blocks of 1 MiB.
constexpr size_t kRecentReads = 1 << 16;
// Of the disk's bytes that tokens may hold.
constexpr double kPinnedDiskShareMax = 0.05;

PinLimits PinLimitsOf(const StoreOptions& options) {
  PinLimits limits;
  limits.tokens_max = options.pin_tokens_max;
  limits.memory_bytes_max = static_cast<uint64_t>(options.pinned_share_max *
                                                  static_cast<double>(options.memory.bytes_max));
  limits.disk_bytes_max =
      static_cast<uint64_t>(kPinnedDiskShareMax * static_cast<double>(options.log.bytes_max));
  return limits;
}

}  // namespace

StoreImpl::StoreImpl(const StoreOptions& options, Clock* clock)
    : options_(options),
      clock_(clock),
      history_(clock->Now()),
      table_(NewLruPolicy()),
      recent_reads_(kRecentReads),
      pins_(PinLimitsOf(options)),
      tickets_(options.memory.bytes_max / 2),
      timers_(clock),
      workers_(kWorkerThreads) {}

StoreImpl::~StoreImpl() {
  // The owner's last word on what could not be written out was Close; here nobody can be told.
  if (absl::Status status = Close(kCloseLimit); !status.ok())
    Count(counters_.disk_append_failures_total);
  if (pool_ != nullptr) pool_->Stop();
  if (log_ != nullptr) log_->StopLoading();
  if (loader_.joinable()) loader_.join();
  log_gate_.Close();
  log_.reset();
  timers_.Stop();
  workers_.Stop();
}

absl::Status StoreImpl::OpenLog(const LogOpener& open_log) {
  auto log = open_log(this);
  if (!log.ok()) return log.status();
  log_ = std::move(*log);
  const LogFacts facts = log_->facts();
  secret_ = facts.hash_secret;
  disk_value_bytes_max_ = facts.value_bytes_max;
  // What waits for the disk cannot leave memory, so it may not fill it.
  append_bytes_max_ = std::min(options_.log.write_queue_bytes_max, options_.memory.bytes_max / 2);
  return absl::OkStatus();
}

absl::Status StoreImpl::Start(const LogOpener& open_log, std::vector<LockFile> lock_files) {
  lock_files_ = std::move(lock_files);
  index_ = NewSlabIndex(options_.index_blocks_max);
  FillRandom(secret_.data(), secret_.size());
  if (open_log) {
    // Without a boot id the wall clock says at the next start how much time went by.
    auto* real = dynamic_cast<RealClock*>(clock_);
    const auto boot_id = ReadBootId();
    if (real != nullptr && boot_id.ok()) real->SetBootId(*boot_id);
    if (absl::Status status = OpenLog(open_log); !status.ok()) return status;
  }
  PoolOptions pool_options;
  pool_options.bytes_max = options_.memory.bytes_max;
  pool_options.extent_bytes = options_.memory.extent_bytes;
  if (log_ != nullptr) {
    pool_options.on_extent = [this](std::span<std::byte> memory) { log_->RegisterBuffer(memory); };
  }
  auto pool = Pool::Create(pool_options);
  if (!pool.ok()) return pool.status();
  pool_ = std::move(*pool);
  namespaces_ = std::make_unique<NamespaceDirectory>(
      NamespaceDirectory::Limits{.namespaces_max = options_.namespaces_max,
                                 .namespaces_a_tenant_max = options_.namespaces_a_tenant_max,
                                 .idle_s = options_.namespace_idle_s},
      log_.get(), index_.get(), clock_);
  if (log_ != nullptr) return Recover();
  Loaded(absl::OkStatus());
  return absl::OkStatus();
}

absl::Status StoreImpl::Recover() {
  const absl::Time began = clock_->Now();
  if (absl::Status status = log_->Prepare(); !status.ok()) return status;
  const LogFacts facts = log_->facts();
  // Expiry goes on where the last run was. Other clocks are a test's own.
  auto* real = dynamic_cast<RealClock*>(clock_);
  if (real != nullptr && facts.cache_seconds > 0) real->SetCacheBase(facts.cache_seconds);
  // Deleted and superseded ones among them, and no two starts alike: a little less.
  index_->Reserve(facts.records_expected / 10 * 9);
  {
    absl::MutexLock lock(&mu_);
    log_version_max_ = facts.version_max;
    next_version_ = facts.version_max + 1;
    merge_ = std::make_unique<RecoveryMerge>(index_.get());
  }
  if (options_.serve_while_loading && facts.namespaces_known) {
    if (absl::Status status = namespaces_->Load(); !status.ok()) return status;
    loader_ = std::thread([this, began] {
      SetThreadName("kv-load");
      Loaded(LoadIndex(began));
    });
    return absl::OkStatus();
  }
  absl::Status status = LoadIndex(began);
  if (status.ok()) status = namespaces_->Load();
  if (status.ok()) Loaded(status);
  return status;
}

absl::Status StoreImpl::LoadIndex(absl::Time began) {
  // So many at a time under the lock that calls need.
  static constexpr size_t kMergeAtOnce = 256;
  const absl::Status status = log_->Load([this](std::span<const RecoveredRecord> records) {
    while (!records.empty()) {
      const size_t count = std::min(records.size(), kMergeAtOnce);
      absl::MutexLock lock(&mu_);
      merge_->Add(records.first(count));
      records = records.subspan(count);
    }
  });
  if (!status.ok()) return status;
  uint64_t dropped = 0;
  {
    absl::MutexLock lock(&mu_);
    // No more than Prepare said; and if it were, no version is given twice from here on.
    next_version_ = std::max(next_version_, merge_->version_max() + 1);
    dropped = merge_->dropped();
    merge_.reset();
  }
  Count(counters_.recovery_dropped_total, dropped);
  StoreEvent found{.kind = EventKind::kRecovered,
                   .text = absl::StrFormat("%d blocks found in %.3f s", index_->size(),
                                           absl::ToDoubleSeconds(clock_->Now() - began))};
  if (dropped > 0) {
    found.level = EventLevel::kWarning;
    found.details = {{"dropped_by_a_full_index", absl::StrCat(dropped)}};
  }
  Tell(options_.log.events, found);
  return absl::OkStatus();
}

void StoreImpl::RememberEnd(const BlockId& id, uint64_t version) {
  if (merge_ == nullptr) return;
  RecordMeta tombstone;
  tombstone.type = RecordType::kTombstone;
  tombstone.ns = id.ns;
  tombstone.hash = id.hash;
  tombstone.group = id.group;
  tombstone.shard = id.shard;
  tombstone.version = version;
  merge_->AddTombstone(tombstone);
}

void StoreImpl::Loaded(const absl::Status& status) {
  std::function<void(const absl::Status&)> done;
  {
    absl::MutexLock lock(&mu_);
    loaded_ = true;
    load_status_ = status;
    done = std::exchange(when_loaded_, nullptr);
  }
  if (done) done(status);
}

void StoreImpl::WhenLoaded(std::function<void(const absl::Status&)> done) {
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    if (!loaded_) {
      when_loaded_ = std::move(done);
      return;
    }
    status = load_status_;
  }
  done(status);
}

absl::StatusOr<NamespaceInfo> StoreImpl::OpenNamespace(std::string_view tenant,
                                                       std::string_view alias,
                                                       const wire::Identity& identity) {
  return namespaces_->Open(tenant, alias, identity);
}

absl::StatusOr<std::shared_ptr<const Namespace>> StoreImpl::FindNamespace(NamespaceId id) const {
  std::shared_ptr<const Namespace> ns = namespaces_->Find(id);
  if (ns == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("namespace ", id, " is unknown here: Open again"));
  }
  return ns;
}

absl::Status StoreImpl::EnterCall() {
  absl::MutexLock lock(&mu_);
  if (closing_) return absl::UnavailableError("the store is closing");
  ++calls_;
  return absl::OkStatus();
}

void StoreImpl::LeaveCall() {
  absl::MutexLock lock(&mu_);
  KVGATE_CHECK(calls_ > 0);
  --calls_;
}

void StoreImpl::Await(const std::shared_ptr<WaitingCall>& call, Deferred* deferred) {
  if (call->pending == 0 || call->answer_by <= clock_->Now()) {
    FinishCall(call.get(), deferred);
    return;
  }
  waiting_.insert(call);
  if (call->answer_by == absl::InfiniteFuture()) return;
  call->timer = timers_.Schedule(call->answer_by, [this, weak = std::weak_ptr(call)] {
    Deferred late;
    absl::MutexLock lock(&mu_);
    if (auto waiting = weak.lock()) FinishCall(waiting.get(), &late);
  });
}

void StoreImpl::Settle(WaitingCall* call, Deferred* deferred) {
  KVGATE_CHECK(call->pending > 0);
  // A call that is not yet in Await counts down too; Await then sees zero.
  if (--call->pending == 0 && waiting_.contains(call->shared_from_this())) {
    FinishCall(call, deferred);
  }
}

void StoreImpl::FinishCall(WaitingCall* call, Deferred* deferred) {
  if (call->finished) return;
  call->finished = true;
  const auto self = call->shared_from_this();
  waiting_.erase(self);
  deferred->Add([this, answer = call->Finish(), timer = call->timer] {
    timers_.Cancel(timer);
    answer();
    LeaveCall();
  });
}

absl::Status StoreImpl::Close(absl::Duration limit) {
  const absl::Time by = absl::Now() + limit;
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
    if (closed_) return absl::OkStatus();
    // What is buffered can only be written behind what the log already holds. A refused start
    // loads nothing.
    if (loader_.joinable()) mu_.AwaitWithDeadline(absl::Condition(&loaded_), by);
    // Calls that wait for the disk may still get what they wait for.
    mu_.AwaitWithDeadline(absl::Condition(
                              +[](uint32_t* calls) { return *calls == 0; }, &calls_),
                          by);
  }
  {
    // What is left is answered with what there is.
    Deferred deferred;
    absl::MutexLock lock(&mu_);
    const auto waiting = waiting_;
    for (const auto& call : waiting) FinishCall(call.get(), &deferred);
    QueueWaiting(&deferred);
  }
  absl::Status status;
  if (log_ != nullptr) {
    status = log_->Flush(/*seal=*/true, std::max(by - absl::Now(), absl::Milliseconds(100)));
  }
  absl::MutexLock lock(&mu_);
  closed_ = status.ok();
  return status;
}

StoreFacts StoreImpl::facts() const {
  StoreFacts facts;
  facts.memory_bytes_max = options_.memory.bytes_max;
  facts.extent_bytes = pool_->extent_bytes();
  if (log_ == nullptr) return facts;
  const LogFacts log = log_->facts();
  facts.disk_tier = true;
  facts.disk_mode = log.mode;
  facts.disk_engine = log.engine;
  facts.disk_value_bytes_max = disk_value_bytes_max_;
  facts.disk_bytes_max = log.capacity_bytes;
  facts.disk_made_with_bytes = log.made_with_bytes;
  facts.default_durability = Durability::kBuffered;
  absl::MutexLock lock(&mu_);
  facts.loading = !loaded_;
  return facts;
}

}  // namespace kvgate::storage
