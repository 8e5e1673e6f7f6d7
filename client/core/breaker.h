// SPDX-License-Identifier: Apache-2.0
//
// Breaker: decides whether a call may try the gateway now.
//
// closed: every call goes. After Config::failures in a row, or a second without an answer, it is
// open: calls are refused at once, for a pause. Then one caller is the probe (half-open): its
// answer closes the breaker, its failure opens it again for twice as long, up to kPauseMaxMs.
// Pauses have jitter, so that the workers of a node do not probe in step.
//
// Invariants: at most one
// probe at a time; a pause lies within [3/4, 1] of its nominal length. Threads: thread-compatible;
// Link guards it. Time comes from the caller.
#pragma once

#include <cstdint>

#include "client/client.h"

namespace kvgate::client {

class Breaker {
 public:
  struct Config {
    uint32_t failures = 5;
    int64_t silence_ns = 1'000'000'000;
    uint32_t pause_ms = 200;
    uint64_t seed = 1;
  };
  // A gateway that returns is used again within a second: the longest pause and a handshake.
  static constexpr uint32_t kPauseMaxMs = 800;

  enum class Decision : uint8_t { kGo, kProbe, kRefuse };

  explicit Breaker(const Config& config);

  // kProbe obliges the caller to OnAnswer or OnAway.
  Decision Ask(int64_t now);
  void OnAnswer();
  // A call without an answer; `started`: when it began. True: the breaker opened by it.
  bool OnFailure(int64_t now, int64_t started);
  // No connection, or a failed probe: opens at once. True: it was closed before.
  bool OnAway(int64_t now, BreakerReason reason);

  bool closed() const { return !open_; }
  BreakerState state() const {
    if (!open_) return BreakerState::kClosed;
    return probing_ ? BreakerState::kHalfOpen : BreakerState::kOpen;
  }
  // Of the last opening, failed probes among them.
  BreakerReason reason() const { return reason_; }

 private:
  void Open(int64_t now, BreakerReason reason);
  uint64_t Random();

  const Config config_;
  bool open_ = false;
  bool probing_ = false;
  BreakerReason reason_ = BreakerReason::kNone;
  uint32_t failures_ = 0;         // since the last answer
  int64_t first_unanswered_ = 0;  // start of the first of them
  int64_t open_until_ = 0;
  uint32_t next_pause_ms_;
  uint64_t random_;
};

// What retries may cost: each call earns a tenth of one, each retry spends one, at most kMost are
// saved. Threads: thread-compatible.
class RetryBudget {
 public:
  static constexpr uint32_t kMost = 10;
  void OnCall() {
    if (tenths_ < kMost * 10) ++tenths_;
  }
  bool Take() {
    if (tenths_ < 10) return false;
    tenths_ -= 10;
    return true;
  }

 private:
  uint32_t tenths_ = kMost * 10;
};

}  // namespace kvgate::client
