// SPDX-License-Identifier: Apache-2.0
//
// The queue and the writer's thread; where batches go is in log_placement.cc.
#include "storage/log/log_writer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "storage/base/thread_name.h"

namespace kvgate::storage {

namespace {

constexpr uint64_t kOwnBatchBytes = 1 << 20;  // such values are not copied
// Re-emitted tombstones have no key: so many fill one page, as densely as they ever lay before.
constexpr size_t kTombstonesAPage = 50;
constexpr absl::Duration kSpaceWait = absl::Seconds(1);

}  // namespace

LogWriter::LogWriter(LogContext* context, SealFn seal)
    : context_(context),
      seal_(std::move(seal)),
      own_batch_bytes_(std::min(kOwnBatchBytes, context->set.segment_bytes / 8)),
      batch_bytes_max_(std::min(context->options.batch_bytes_max, context->set.segment_bytes / 4)),
      open_(context->set.devices.size()),
      sync_failures_seen_(context->set.devices.size()) {
  for (const auto& device : context->set.devices) {
    syncs_.push_back(std::make_unique<SyncGroup>(device.get(), &context->counters));
  }
}

LogWriter::~LogWriter() { Stop(); }

void LogWriter::Start() { thread_ = std::thread(&LogWriter::Run, this); }

void LogWriter::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  if (thread_.joinable()) {
    thread_.join();
    return;
  }
  std::deque<WriteItem> never_placed;
  {
    absl::MutexLock lock(&mutex_);
    never_placed.swap(queue_);
  }
  for (WriteItem& item : never_placed) Fail(item, absl::CancelledError("the log is closing"));
}

absl::Status LogWriter::Check(const AppendRequest& request) const {
  const RecordMeta& meta = request.meta;
  if (meta.version == 0 || meta.version > kVersionMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("version ", meta.version, " is not 1 to 2^48-1"));
  }
  if (request.key.size() > wire::kKeyBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("key of ", request.key.size(), " bytes, limit ", wire::kKeyBytesMax));
  }
  if (!context_->namespaces.Find(meta.ns)) {
    return absl::InvalidArgumentError(absl::StrCat("namespace ", meta.ns, " is not known"));
  }
  if (meta.type == RecordType::kTombstone) return absl::OkStatus();
  if (meta.length == 0 || meta.length > context_->value_bytes_max() || request.payload == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("value of ", meta.length, " bytes, limit ",
                                                   context_->value_bytes_max(), " on this disk"));
  }
  return absl::OkStatus();
}

void LogWriter::Fail(WriteItem& item, const absl::Status& status) {
  if (item.request.done) item.request.done(status);
}

void LogWriter::Append(AppendRequest request) {
  absl::Status status = Check(request);
  WriteItem item{.request = std::move(request)};
  const RecordMeta& meta = item.request.meta;
  const bool tombstone = meta.type == RecordType::kTombstone;
  item.charge = tombstone ? 512 : AlignToPage(meta.length) + kPageBytes;
  if (status.ok()) {
    context_->RaiseVersion(meta.version);
    const uint64_t limit = context_->options.write_queue_bytes_max;
    absl::MutexLock lock(&mutex_);
    if (stop_) {
      status = absl::CancelledError("the log is closing");
    } else if (queued_bytes_ > 0 &&
               queued_bytes_ + item.charge > (tombstone ? limit + limit / 8 : limit)) {
      // Deletes get a little more room than values: refusing them costs more.
      status = absl::ResourceExhaustedError(
          absl::StrCat("the log's write queue holds ", queued_bytes_, " bytes, limit ", limit));
    } else {
      // Within the lock: a killer is in the ring before anything queued after it can be placed.
      context_->ring.Add(meta);
      queued_bytes_ += item.charge;
      queue_.push_back(std::move(item));
      return;
    }
  }
  context_->counters.append_failures++;
  Fail(item, status);
}

void LogWriter::AppendAgain(WriteItem item) {
  item.reclaim = true;
  {
    absl::MutexLock lock(&mutex_);
    if (!stop_) {
      queued_bytes_ += item.charge;
      reclaim_queue_.push_back(std::move(item));
      return;
    }
  }
  Fail(item, absl::CancelledError("the log is closing"));
}

void LogWriter::Poke(bool give_up) {
  absl::MutexLock lock(&mutex_);
  poked_ = true;
  give_up_ = give_up_ || give_up;
}

uint64_t LogWriter::queued_bytes() const {
  absl::MutexLock lock(&mutex_);
  return queued_bytes_;
}

void LogWriter::SealSoon() {
  auto request = std::make_shared<FlushRequest>();
  request->seal = true;
  absl::MutexLock lock(&mutex_);
  if (!stop_) flushes_.push_back(std::move(request));
}

absl::Status LogWriter::Flush(bool seal, absl::Time deadline) {
  auto request = std::make_shared<FlushRequest>();
  request->seal = seal;
  {
    absl::MutexLock lock(&mutex_);
    if (stop_) return absl::CancelledError("the log is closing");
    flushes_.push_back(request);
    const auto ended = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return stop_ || (request->passed &&
                       (outstanding_.empty() || *outstanding_.begin() > request->barrier));
    };
    if (!mutex_.AwaitWithDeadline(absl::Condition(&ended), deadline)) {
      return absl::DeadlineExceededError("log flush: writes did not end in time");
    }
    if (!request->passed) return absl::CancelledError("the log is closing");
  }
  struct Shared {
    absl::Mutex mutex;
    size_t left ABSL_GUARDED_BY(mutex) = 0;
    absl::Status status ABSL_GUARDED_BY(mutex);
  };
  auto shared = std::make_shared<Shared>();
  {
    absl::MutexLock lock(&shared->mutex);
    shared->left = syncs_.size();
  }
  for (const auto& sync : syncs_) {
    sync->Join([shared](const absl::Status& status) {
      absl::MutexLock guard(&shared->mutex);
      shared->status.Update(status);
      --shared->left;
    });
  }
  absl::MutexLock lock(&shared->mutex);
  const auto synced = [&]() ABSL_SHARED_LOCKS_REQUIRED(shared->mutex) { return shared->left == 0; };
  if (!shared->mutex.AwaitWithDeadline(absl::Condition(&synced), deadline)) {
    return absl::DeadlineExceededError("log flush: sync did not end in time");
  }
  return shared->status;
}

absl::Time LogWriter::WakeAt() const {
  absl::Time at = absl::InfiniteFuture();
  for (const auto& [key, packer] : packers_) at = std::min(at, packer.due);
  for (const Job& job : jobs_) at = std::min(at, job.give_up);
  return at;
}

LogWriter::Work LogWriter::WaitForWork() {
  const absl::Time wake_at = WakeAt();
  const bool take_user = jobs_.empty();
  Work work;
  absl::MutexLock lock(&mutex_);
  const auto ready = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return stop_ || poked_ || !flushes_.empty() || !reclaim_queue_.empty() ||
           (take_user && !queue_.empty());
  };
  mutex_.AwaitWithDeadline(absl::Condition(&ready), wake_at);
  poked_ = false;
  work.stop = stop_;
  work.give_up = std::exchange(give_up_, false);
  work.flushes.swap(flushes_);
  const auto take = [&work](std::deque<WriteItem>& from) {
    work.items.insert(work.items.end(), std::make_move_iterator(from.begin()),
                      std::make_move_iterator(from.end()));
    from.clear();
  };
  take(reclaim_queue_);
  // A flush covers what was appended before it, so it takes the queue along.
  if (take_user || work.stop || !work.flushes.empty()) take(queue_);
  return work;
}

void LogWriter::Run() {
  SetThreadName("kv-log-write");
  while (true) {
    Work work = WaitForWork();
    if (work.stop) {
      const absl::Status closing = absl::CancelledError("the log is closing");
      for (WriteItem& item : work.items) Fail(item, closing);
      for (auto& [key, packer] : packers_) {
        for (WriteItem& item : packer.items) Fail(item, closing);
      }
      for (Job& job : jobs_) {
        for (WriteItem& item : job.items) Fail(item, closing);
      }
      packers_.clear();
      jobs_.clear();
      return;
    }
    if (work.give_up) {
      for (Job& job : jobs_) job.give_up = absl::InfinitePast();
    }
    Sort(std::move(work.items));
    waiting_flushes_.insert(waiting_flushes_.end(), work.flushes.begin(), work.flushes.end());
    ClosePackers(!waiting_flushes_.empty());
    TryJobs();
    if (jobs_.empty() && !waiting_flushes_.empty()) {
      PassFlushes(waiting_flushes_);
      waiting_flushes_.clear();
    }
  }
}

void LogWriter::Sort(std::vector<WriteItem> items) {
  for (WriteItem& item : items) {
    const RecordMeta& meta = item.request.meta;
    std::optional<NamespaceTable::Known> ns = context_->namespaces.Find(meta.ns);
    if (!ns) {
      Fail(item, absl::InternalError(absl::StrCat("namespace ", meta.ns, " is not known")));
      continue;
    }
    if (meta.type == RecordType::kValue && meta.length >= own_batch_bytes_) {
      Job job{
          .ns = ns->ref, .items = {}, .reclaim = item.reclaim, .give_up = absl::Now() + kSpaceWait};
      job.items.push_back(std::move(item));
      jobs_.push_back(std::move(job));
    } else {
      Pack(std::move(item), ns->ref);
    }
  }
}

void LogWriter::Pack(WriteItem item, const NamespaceRef& ns) {
  const PackerKey key{ns.id, item.reclaim};
  const uint64_t bytes =
      AlignToPage(item.request.meta.type == RecordType::kValue ? item.request.meta.length : 0);
  Packer& full = packers_[key];
  if (!full.items.empty() && full.payload_bytes + bytes > batch_bytes_max_) Close(key);
  Packer& packer = packers_[key];
  if (packer.items.empty()) {
    packer.due = absl::Now() + absl::Milliseconds(context_->options.flush_delay_ms);
  }
  packer.payload_bytes += bytes;
  packer.items.push_back(std::move(item));
  const size_t items_max =
      key.second && packer.payload_bytes == 0 ? kTombstonesAPage : kBatchEntriesMax;
  if (packer.items.size() >= items_max || packer.payload_bytes >= batch_bytes_max_) {
    Close(key);
  }
}

void LogWriter::ClosePackers(bool all) {
  std::vector<PackerKey> due;
  const absl::Time now = absl::Now();
  for (const auto& [key, packer] : packers_) {
    if (all || key.second || packer.due <= now) due.push_back(key);
  }
  for (const PackerKey& key : due) Close(key);
}

void LogWriter::Close(PackerKey key) {
  const auto found = packers_.find(key);
  if (found == packers_.end()) return;
  Packer packer = std::move(found->second);
  packers_.erase(found);
  if (packer.items.empty()) return;
  const std::optional<NamespaceTable::Known> ns = context_->namespaces.Find(key.first);
  jobs_.push_back({.ns = ns->ref,
                   .items = std::move(packer.items),
                   .reclaim = key.second,
                   .give_up = absl::Now() + kSpaceWait});
}

void LogWriter::TryJobs() {
  std::deque<Job> waiting;
  for (Job& job : jobs_) {
    // Once a caller's batch waits, those behind it wait too, so that the log keeps their order.
    if ((!waiting.empty() && !job.reclaim) || !TryJob(job)) waiting.push_back(std::move(job));
  }
  jobs_ = std::move(waiting);
}

void LogWriter::PassFlushes(const std::vector<std::shared_ptr<FlushRequest>>& flushes) {
  const bool seal = std::any_of(flushes.begin(), flushes.end(), [](auto& f) { return f->seal; });
  if (seal) HandOverAll();
  absl::MutexLock lock(&mutex_);
  for (const auto& flush : flushes) {
    flush->barrier = context_->batch_seq.load();
    flush->passed = true;
  }
}

}  // namespace kvgate::storage
