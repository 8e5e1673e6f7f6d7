// SPDX-License-Identifier: Apache-2.0
//
// AnswerTimer: ends calls whose answers their clients do not take in time, so that what the answers
// hold is released (gRPC itself ends only calls that came with a deadline), and sends refusals that
// are kept back.
//
// Private to gateway/service: it knows gRPC's contexts. Threads: thread-safe; one thread of its
// own, joined by the destructor. Ownership: a watched context must be forgotten before it goes;
// its reactor's OnDone does that. Limits: one entry a call that waits to be sent;
// kRefusalsMax kept back.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "gateway/service/running_calls.h"

namespace grpc {
class CallbackServerContext;
class ServerUnaryReactor;
}  // namespace grpc

namespace kvgate::gateway {

class AnswerTimer {
 public:
  AnswerTimer();
  ~AnswerTimer();
  AnswerTimer(const AnswerTimer&) = delete;
  AnswerTimer& operator=(const AnswerTimer&) = delete;

  // A reactor that forgets the context, and goes, when the call is over: its answer was sent or
  // given up. Until then it counts in `calls`; then `over` runs.
  grpc::ServerUnaryReactor* NewReactor(grpc::CallbackServerContext* context,
                                       std::shared_ptr<RunningCalls> calls,
                                       std::function<void()> over);

  // Before the reactor's Finish: the call is cancelled if it is not over after `left`.
  void Watch(grpc::CallbackServerContext* context, absl::Duration left);
  void Forget(grpc::CallbackServerContext* context);

  // Finishes the call with `status` after `pause`. False, and nothing done, when there is no pause
  // or too many wait already.
  bool RefuseLater(grpc::ServerUnaryReactor* reactor, const absl::Status& status,
                   absl::Duration pause);
  static constexpr size_t kRefusalsMax = 256;

 private:
  struct Refusal {
    absl::Time at;
    grpc::ServerUnaryReactor* reactor;
    absl::Status status;
  };

  void Loop();
  // Those whose time has come; the others' first is left in *next.
  std::vector<Refusal> TakeRefusals(absl::Time now, absl::Time* next)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WakeBy(absl::Time at) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::Mutex mu_;
  absl::flat_hash_map<grpc::CallbackServerContext*, absl::Time> ends_ ABSL_GUARDED_BY(mu_);
  std::vector<Refusal> refusals_ ABSL_GUARDED_BY(mu_);
  absl::Time next_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();  // not after the first of both
  bool changed_ ABSL_GUARDED_BY(mu_) = false;  // next_ became earlier, or stopping_
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace kvgate::gateway
