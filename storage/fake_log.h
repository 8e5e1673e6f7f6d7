// SPDX-License-Identifier: Apache-2.0
//
// FakeLog: a Log in memory that a test holds by the hand, for what a real one does seldom: reads
// that hang, fail, come back changed or find their segment gone; appends that wait or are refused;
// reclaim at a chosen moment. Thread-safe. The records outlive it in a Medium that the test owns.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "storage/log/log.h"

namespace kvgate::storage {

class FakeLog final : public Log {
 public:
  struct Stored {
    RecordMeta meta;
    std::string key;
    std::string payload;  // whole pages
    Place place;
    uint64_t batch_seq = 0;
  };
  // What is on the medium, and the knobs. Outlives the log.
  struct Medium {
    absl::Mutex mu;
    std::vector<Stored> records ABSL_GUARDED_BY(mu);
    std::vector<NamespaceRecord> namespaces ABSL_GUARDED_BY(mu);
    uint32_t next_namespace ABSL_GUARDED_BY(mu) = 1;
    uint32_t next_segment ABSL_GUARDED_BY(mu) = 1;
    uint64_t next_batch ABSL_GUARDED_BY(mu) = 1;
    bool hold_reads ABSL_GUARDED_BY(mu) = false;
    bool hold_appends ABSL_GUARDED_BY(mu) = false;
    bool hold_load ABSL_GUARDED_BY(mu) = false;
    size_t load_before_hold ABSL_GUARDED_BY(mu) = 0;  // records
    bool namespaces_known ABSL_GUARDED_BY(mu) = false;
    std::deque<absl::Status> read_failures ABSL_GUARDED_BY(mu);    // of the next reads
    std::deque<absl::Status> append_failures ABSL_GUARDED_BY(mu);  // of the next appends
    uint32_t flip_reads ABSL_GUARDED_BY(mu) = 0;                   // next reads with a bit changed
    uint64_t reads ABSL_GUARDED_BY(mu) = 0;
    uint64_t reclaims_asked ABSL_GUARDED_BY(mu) = 0;
    std::deque<std::function<void()>> held_reads ABSL_GUARDED_BY(mu);
    std::deque<std::function<void()>> held_appends ABSL_GUARDED_BY(mu);

    uint64_t ReclaimsAsked() {
      absl::MutexLock lock(&mu);
      return reclaims_asked;
    }
    uint64_t Reads() {
      absl::MutexLock lock(&mu);
      return reads;
    }
    void HoldReads(bool hold) {
      absl::MutexLock lock(&mu);
      hold_reads = hold;
    }
    void HoldAppends(bool hold) {
      absl::MutexLock lock(&mu);
      hold_appends = hold;
    }
    void HoldLoad(bool hold) {
      absl::MutexLock lock(&mu);
      hold_load = hold;
      namespaces_known = true;
    }
    // A held Load hands over so many records first.
    void LoadBeforeHold(size_t records) {
      absl::MutexLock lock(&mu);
      load_before_hold = records;
    }
    size_t load_first() {
      absl::MutexLock lock(&mu);
      return load_before_hold;
    }
    void WaitWhileLoadIsHeld(const std::atomic<bool>* stop) {
      absl::MutexLock lock(&mu);
      const auto may_go = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu) { return !hold_load || *stop; };
      mu.Await(absl::Condition(&may_go));
    }
    void FailReads(std::vector<absl::Status> failures) {
      absl::MutexLock lock(&mu);
      read_failures.assign(failures.begin(), failures.end());
    }
    void FailAppends(std::vector<absl::Status> failures) {
      absl::MutexLock lock(&mu);
      append_failures.assign(failures.begin(), failures.end());
    }
    void FlipReads(uint32_t count) {
      absl::MutexLock lock(&mu);
      flip_reads = count;
    }
    void ReleaseReads() { Release(&Medium::held_reads); }
    void ReleaseAppends() { Release(&Medium::held_appends); }
    std::vector<Stored> Records() {
      absl::MutexLock lock(&mu);
      return records;
    }

   private:
    void Release(std::deque<std::function<void()>> Medium::*queue) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      while (true) {
        std::function<void()> run;
        {
          absl::MutexLock lock(&mu);
          if ((this->*queue).empty()) return;
          run = std::move((this->*queue).front());
          (this->*queue).pop_front();
        }
        run();
      }
    }
  };

  FakeLog(std::shared_ptr<Medium> medium, LogOwner* owner)
      : medium_(std::move(medium)), owner_(owner) {}
  ~FakeLog() override {
    // As a real one: nothing that was submitted stays without its end.
    medium_->ReleaseReads();
    medium_->ReleaseAppends();
  }

  absl::Status Prepare() override {
    for (const Stored& stored : medium_->Records()) {
      version_max_ = std::max(version_max_, stored.meta.version);
    }
    return absl::OkStatus();
  }
  absl::Status Load(const RecoverSink& sink) override {
    std::vector<RecoveredRecord> out;
    for (const Stored& stored : medium_->Records()) out.push_back({stored.meta, stored.place});
    const std::span<const RecoveredRecord> all(out);
    const size_t first = std::min(medium_->load_first(), all.size());
    if (first > 0) sink(all.first(first));
    medium_->WaitWhileLoadIsHeld(&stop_loading_);
    if (stop_loading_) return absl::CancelledError("stopped");
    sink(all.subspan(first));
    return absl::OkStatus();
  }
  void StopLoading() override {
    absl::MutexLock lock(&medium_->mu);
    stop_loading_ = true;
  }

  std::vector<NamespaceRecord> Namespaces() const override {
    absl::MutexLock lock(&medium_->mu);
    return medium_->namespaces;
  }
  absl::Status PutNamespace(const NamespaceRecord& record) override {
    absl::MutexLock lock(&medium_->mu);
    std::erase_if(medium_->namespaces, [&](const auto& held) { return held.id == record.id; });
    medium_->namespaces.push_back(record);
    return absl::OkStatus();
  }
  uint32_t NextNamespaceId() override {
    absl::MutexLock lock(&medium_->mu);
    return medium_->next_namespace++;
  }

  void Append(AppendRequest request) override {
    absl::MutexLock lock(&medium_->mu);
    absl::Status failure;
    if (!medium_->append_failures.empty()) {
      failure = medium_->append_failures.front();
      medium_->append_failures.pop_front();
    }
    const auto run = [this, failure, request = std::move(request)] {
      request.done(failure.ok() ? absl::StatusOr<Place>(Store(request)) : failure);
    };
    if (medium_->hold_appends) {
      medium_->held_appends.push_back(run);
      return;
    }
    medium_->mu.Unlock();
    run();
    medium_->mu.Lock();
  }

  void Read(Place place, uint32_t length, std::span<std::byte> buffer, absl::Time deadline,
            IoDone done) override {
    (void)deadline;
    absl::MutexLock lock(&medium_->mu);
    ++medium_->reads;
    absl::Status failure;
    if (!medium_->read_failures.empty()) {
      failure = medium_->read_failures.front();
      medium_->read_failures.pop_front();
    }
    const bool flip = medium_->flip_reads > 0;
    if (flip) --medium_->flip_reads;
    const auto run = [this, place, length, buffer, done = std::move(done), failure, flip] {
      done(failure.ok() ? Fill(place, length, buffer, flip) : failure);
    };
    if (medium_->hold_reads) {
      medium_->held_reads.push_back(run);
      return;
    }
    medium_->mu.Unlock();
    run();
    medium_->mu.Lock();
  }

  absl::StatusOr<std::string> ReadKey(Place place, const wire::Hash128& hash) override {
    absl::MutexLock lock(&medium_->mu);
    for (const Stored& stored : medium_->records) {
      if (stored.place == place && stored.meta.hash == hash) return stored.key;
    }
    return absl::NotFoundError("no record there");
  }

  void ReclaimSoon() override {
    absl::MutexLock lock(&medium_->mu);
    ++medium_->reclaims_asked;
  }
  void RegisterBuffer(std::span<std::byte> memory) override { (void)memory; }
  absl::Status Flush(bool seal, absl::Duration limit) override {
    (void)seal;
    (void)limit;
    medium_->ReleaseAppends();
    return absl::OkStatus();
  }

  LogFacts facts() const override {
    LogFacts facts;
    facts.mode = "memory";
    facts.engine = "fake";
    facts.segment_bytes = 1 << 20;
    facts.capacity_bytes = 1ull << 30;
    facts.value_bytes_max = 1 << 20;
    facts.devices = 1;
    facts.hash_secret[0] = 7;
    facts.version_max = version_max_;
    absl::MutexLock lock(&medium_->mu);
    facts.namespaces_known = medium_->namespaces_known;
    return facts;
  }
  PlaceName NameOf(Place place) const override {
    return {.device = "fake", .segment = place.segment, .offset = place.first_page * kDiskAlign};
  }
  double predicted_read_ms(uint64_t bytes) const override {
    return static_cast<double>(bytes) / 1e6;
  }
  double read_bytes_per_s() const override { return 1e9; }
  void VisitCounters(const std::function<void(std::string_view, double)>& visitor) const override {
    visitor("rocksdb_reads_total", 0);
  }

  // Reclaims every value that was stored until now, as a log does it: judge, move, forget.
  void ReclaimAll(size_t want_max) {
    std::vector<Stored> values;
    for (const Stored& stored : medium_->Records()) {
      if (stored.meta.type == RecordType::kValue) values.push_back(stored);
    }
    std::vector<RecordMeta> metas;
    std::vector<Place> places;
    for (const Stored& stored : values) {
      metas.push_back(stored.meta);
      places.push_back(stored.place);
    }
    LogOwner::Verdict verdict = owner_->JudgeReclaim(1, metas, places);
    if (verdict.want.size() > want_max) verdict.want.resize(want_max);
    verdict.must.insert(verdict.must.end(), verdict.want.begin(), verdict.want.end());
    for (const uint32_t i : verdict.must) {
      Stored moved = values[i];
      {
        absl::MutexLock lock(&medium_->mu);
        moved.place = NextPlace();
        moved.batch_seq = medium_->next_batch++;
        medium_->records.push_back(moved);
      }
      owner_->Moved(moved.meta, places[i], moved.place);
    }
    owner_->Forget(1, metas, places);
    absl::MutexLock lock(&medium_->mu);
    std::erase_if(medium_->records, [&](const Stored& stored) {
      return std::find(places.begin(), places.end(), stored.place) != places.end();
    });
  }

 private:
  Place NextPlace() ABSL_EXCLUSIVE_LOCKS_REQUIRED(medium_->mu) {
    return Place{medium_->next_segment++, 2};
  }

  Place Store(const AppendRequest& request) {
    absl::MutexLock lock(&medium_->mu);
    Stored stored;
    stored.meta = request.meta;
    stored.key = request.key;
    if (request.meta.type == RecordType::kValue) {
      const size_t pages = (request.meta.length + kDiskAlign - 1) / kDiskAlign;
      stored.payload.assign(reinterpret_cast<const char*>(request.payload), pages * kDiskAlign);
    }
    stored.place = NextPlace();
    stored.batch_seq = medium_->next_batch++;
    medium_->records.push_back(stored);
    return stored.place;
  }

  absl::Status Fill(Place place, uint32_t length, std::span<std::byte> buffer, bool flip) {
    absl::MutexLock lock(&medium_->mu);
    for (const Stored& stored : medium_->records) {
      if (stored.place != place || stored.payload.empty()) continue;
      std::memcpy(buffer.data(), stored.payload.data(), stored.payload.size());
      if (flip) buffer[length / 2] ^= std::byte{1};
      return absl::OkStatus();
    }
    return absl::AbortedError("the segment was reclaimed");
  }

  const std::shared_ptr<Medium> medium_;
  LogOwner* const owner_;
  uint64_t version_max_ = 0;
  std::atomic<bool> stop_loading_{false};
};

}  // namespace kvgate::storage
