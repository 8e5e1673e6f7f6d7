// SPDX-License-Identifier: Apache-2.0
#include "storage/log/open_segment.h"

#include "storage/base/check.h"

namespace kvgate::storage {

void OpenSegment::Begin(std::shared_ptr<InFlightBatch> batch) {
  absl::MutexLock lock(&mutex_);
  in_flight_.push_back(std::move(batch));
}

std::vector<OpenSegment::Ended> OpenSegment::EndWrite(const std::shared_ptr<InFlightBatch>& batch,
                                                      const absl::Status& status) {
  std::vector<Ended> ended;
  absl::MutexLock lock(&mutex_);
  KVGATE_CHECK(batch->writes_left > 0);
  if (!status.ok()) batch->status = status;
  if (--batch->writes_left > 0) return ended;
  batch->complete = true;
  while (!in_flight_.empty() && in_flight_.front()->complete) {
    std::shared_ptr<InFlightBatch> front = std::move(in_flight_.front());
    in_flight_.pop_front();
    if (failure_.ok()) failure_ = front->status;
    if (failure_.ok()) {
      good_ = {.end_page = front->end_page,
               .records = front->records_after,
               .batch_seq = front->batch_seq};
    }
    ended.push_back({std::move(front), failure_});
  }
  return ended;
}

bool OpenSegment::failed() const {
  absl::MutexLock lock(&mutex_);
  return !failure_.ok() || lost_;
}

void OpenSegment::MarkLost() {
  absl::MutexLock lock(&mutex_);
  lost_ = true;
}

bool OpenSegment::lost() const {
  absl::MutexLock lock(&mutex_);
  return lost_;
}

void OpenSegment::WaitUntilIdle() const {
  absl::MutexLock lock(&mutex_);
  const auto idle = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return in_flight_.empty(); };
  mutex_.Await(absl::Condition(&idle));
}

OpenSegment::Good OpenSegment::good() const {
  absl::MutexLock lock(&mutex_);
  return good_;
}

void SyncGroup::Join(Waiter waiter) {
  std::vector<Waiter> waiters;
  {
    absl::MutexLock lock(&mutex_);
    next_.push_back(std::move(waiter));
    if (running_) return;
    running_ = true;
    waiters.swap(next_);
  }
  Start(std::move(waiters));
}

uint64_t SyncGroup::failures() const {
  absl::MutexLock lock(&mutex_);
  return failures_;
}

void SyncGroup::Start(std::vector<Waiter> waiters) {
  counters_->syncs++;
  device_->disk->Sync(
      [this, waiters = std::move(waiters)](absl::Status status) { End(waiters, status); });
}

void SyncGroup::End(const std::vector<Waiter>& waiters, const absl::Status& status) {
  std::vector<Waiter> next;
  {
    absl::MutexLock lock(&mutex_);
    if (!status.ok()) ++failures_;
    next.swap(next_);
    running_ = !next.empty();
  }
  for (const Waiter& waiter : waiters) waiter(status);
  if (!next.empty()) Start(std::move(next));
}

}  // namespace kvgate::storage
