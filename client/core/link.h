// SPDX-License-Identifier: Apache-2.0
//
// Link: the one attachment of a client to its gateway. It chooses the transport, connects inside
// the calls' deadlines, drops what broke, and keeps calls away while the gateway is (Breaker).
//
// Promises
//  1. Acquire returns by its deadline. While one caller connects for the first time, others wait
//     for it; while one caller probes a gateway that was away, others are refused at once.
//  2. An attachment that broke is never handed out again, and is retired before another is made.
//  3. A gateway that refuses the token is not away: the breaker is left alone, and callers get its
//     words at once. It is asked again when the token file has another token (looked at once in
//     kTokenLookNs, by one caller) or after kRefusedPauseNs.
//  4. With `auto`, a client that had to take gRPC looks for the local door again now and then, and
//     moves over; a call pays at most kUpgradeNs for that.
// Threads: thread-safe; no lock is held while a transport works. None of its own.
// Ownership: callers hold the transport for as long as their call lasts.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "client/core/breaker.h"
#include "client/core/env.h"
#include "client/core/mutex.h"

namespace kvgate::client {

struct Attachment {
  std::shared_ptr<Transport> transport;  // null: none
  uint64_t id = 0;                       // counts attachments; handles of namespaces belong to one
};

class Link {
 public:
  // A probe of a gateway that was away costs its caller no more than this.
  static constexpr int64_t kProbeNs = 80'000'000;
  static constexpr int64_t kUpgradeNs = 20'000'000;
  // From one look for the local door to the next: doubles up to the longest.
  static constexpr int64_t kUpgradePauseNs = 1'000'000'000;
  static constexpr int64_t kUpgradePauseMaxNs = 60'000'000'000;

  static constexpr int64_t kTokenLookNs = 1'000'000'000;
  static constexpr int64_t kRefusedPauseNs = 30'000'000'000;

  Link(const Options& options, const ClientEnv& env);

  // The attachment to use for a call that must end by `deadline`, or none and *outcome.
  Attachment Acquire(Deadline deadline, Outcome* outcome);

  // Tells how a call on `attachment` went. `answered`: the gateway said something.
  void Report(const Attachment& attachment, bool answered, int64_t started);

  // A call on `attachment` was answered that the token is not good.
  void OnRefused(const Attachment& attachment, const Outcome& outcome);

  // Fills the breaker's gauges.
  void ReadBreaker(Stats* stats) const;

  // What is attached now, without connecting.
  std::shared_ptr<Transport> Current() const;

  uint64_t reconnects() const { return reconnects_.load(std::memory_order_relaxed); }
  uint64_t breaker_opens() const { return breaker_opens_.load(std::memory_order_relaxed); }

 private:
  bool UpgradeIsDue(int64_t now) const KVGATE_REQUIRES(mutex_);
  Attachment Upgrade(Attachment attachment, Deadline deadline);
  void Replace(std::unique_ptr<Transport> fresh) KVGATE_REQUIRES(mutex_);
  Attachment Attach(Breaker::Decision decision, Deadline deadline, Outcome* outcome);
  std::unique_ptr<Transport> Connect(const Options& options, Deadline deadline,
                                     Outcome* outcome) const;
  // Whether it is time to ask a gateway again that refused the token. Called by the one caller that
  // set connecting_; false: it is not set any more.
  bool MayAskAgain();
  void Refuse(const Outcome& outcome, std::string token) KVGATE_REQUIRES(mutex_);
  // With the token that the file has now; false with *outcome set when it has none.
  bool WithToken(Options* options, Outcome* outcome) const;
  bool Answers(Transport& transport, Deadline deadline) const;
  void CountOpening(bool opened) {
    if (opened) breaker_opens_.fetch_add(1, std::memory_order_relaxed);
  }

  // Constant.
  const Options options_;
  const ClientEnv env_;

  // Self-synchronised.
  std::atomic<uint64_t> reconnects_{0};
  std::atomic<uint64_t> breaker_opens_{0};

  mutable Mutex mutex_;
  CondVar connected_;
  Breaker breaker_ KVGATE_GUARDED_BY(mutex_);
  Attachment attachment_ KVGATE_GUARDED_BY(mutex_);
  bool connecting_ KVGATE_GUARDED_BY(mutex_) = false;
  // The words of a gateway that refused `refused_token_`; ok: none did since the last connect.
  Outcome refused_ KVGATE_GUARDED_BY(mutex_);
  std::string refused_token_ KVGATE_GUARDED_BY(mutex_);
  std::string shown_token_ KVGATE_GUARDED_BY(mutex_);  // by the attachment
  int64_t ask_again_ KVGATE_GUARDED_BY(mutex_) = 0;
  int64_t next_look_ KVGATE_GUARDED_BY(mutex_) = 0;
  int64_t next_upgrade_ KVGATE_GUARDED_BY(mutex_) = 0;
  int64_t upgrade_pause_ KVGATE_GUARDED_BY(mutex_) = kUpgradePauseNs;
};

}  // namespace kvgate::client
