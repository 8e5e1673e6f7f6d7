// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/answer_timer.h"

#include <pthread.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "gateway/service/grpc_call.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"

namespace kvgate::gateway {
namespace {

class WatchedReactor final : public grpc::ServerUnaryReactor {
 public:
  WatchedReactor(AnswerTimer* timer, grpc::CallbackServerContext* context,
                 std::shared_ptr<RunningCalls> calls, std::function<void()> over)
      : timer_(timer), context_(context), running_(std::move(calls)), over_(std::move(over)) {}
  void OnDone() override {
    timer_->Forget(context_);
    over_();
    delete this;  // gRPC's rule: a reactor ends itself
  }

 private:
  AnswerTimer* const timer_;
  grpc::CallbackServerContext* const context_;
  const RunningCalls::Token running_;
  const std::function<void()> over_;
};

}  // namespace

AnswerTimer::AnswerTimer() : thread_([this] { Loop(); }) {}

AnswerTimer::~AnswerTimer() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = changed_ = true;
  }
  thread_.join();
}

grpc::ServerUnaryReactor* AnswerTimer::NewReactor(grpc::CallbackServerContext* context,
                                                  std::shared_ptr<RunningCalls> calls,
                                                  std::function<void()> over) {
  return std::make_unique<WatchedReactor>(this, context, std::move(calls), std::move(over))
      .release();  // its own owner from here on
}

void AnswerTimer::Watch(grpc::CallbackServerContext* context, absl::Duration left) {
  const absl::Time end = absl::Now() + left;
  absl::MutexLock lock(&mu_);
  ends_[context] = end;
  WakeBy(end);
}

void AnswerTimer::WakeBy(absl::Time at) {
  if (at >= next_) return;
  next_ = at;
  changed_ = true;
}

void AnswerTimer::Forget(grpc::CallbackServerContext* context) {
  absl::MutexLock lock(&mu_);
  ends_.erase(context);
}

bool AnswerTimer::RefuseLater(grpc::ServerUnaryReactor* reactor, const absl::Status& status,
                              absl::Duration pause) {
  if (pause <= absl::ZeroDuration()) return false;
  const absl::Time at = absl::Now() + pause;
  absl::MutexLock lock(&mu_);
  if (refusals_.size() >= kRefusalsMax || stopping_) return false;
  refusals_.push_back({at, reactor, status});
  WakeBy(at);
  return true;
}

std::vector<AnswerTimer::Refusal> AnswerTimer::TakeRefusals(absl::Time now, absl::Time* next) {
  const auto due = std::partition(refusals_.begin(), refusals_.end(),
                                  [now](const Refusal& refusal) { return refusal.at > now; });
  std::vector<Refusal> taken(std::make_move_iterator(due),
                             std::make_move_iterator(refusals_.end()));
  refusals_.erase(due, refusals_.end());
  for (const Refusal& refusal : refusals_) *next = std::min(*next, refusal.at);
  return taken;
}

void AnswerTimer::Loop() {
  pthread_setname_np(pthread_self(), "kvgate-answers");
  absl::MutexLock lock(&mu_);
  for (;;) {
    mu_.AwaitWithDeadline(absl::Condition(&changed_), next_);
    changed_ = false;
    if (stopping_) return;
    const absl::Time now = absl::Now();
    absl::Time next = absl::InfiniteFuture();
    for (auto it = ends_.begin(); it != ends_.end();) {
      const auto at = it++;
      if (at->second > now) {
        next = std::min(next, at->second);
        continue;
      }
      // Under the lock, so that the context stays: OnDone of our reactor, which is not inlineable,
      // runs on a thread of gRPC's and waits in Forget.
      at->first->TryCancel();
      ends_.erase(at);
    }
    const std::vector<Refusal> refusals = TakeRefusals(now, &next);
    next_ = next;
    if (refusals.empty()) continue;
    mu_.Unlock();
    for (const Refusal& refusal : refusals) refusal.reactor->Finish(ToGrpc(refusal.status));
    mu_.Lock();
  }
}

}  // namespace kvgate::gateway
