// SPDX-License-Identifier: Apache-2.0
#include "client/core/breaker.h"

#include <algorithm>

namespace kvgate::client {

Breaker::Breaker(const Config& config)
    : config_(config),
      next_pause_ms_(std::min(config.pause_ms, kPauseMaxMs)),
      random_(config.seed | 1) {}

Breaker::Decision Breaker::Ask(int64_t now) {
  if (!open_) return Decision::kGo;
  if (probing_ || now < open_until_) return Decision::kRefuse;
  probing_ = true;
  return Decision::kProbe;
}

void Breaker::OnAnswer() {
  open_ = false;
  probing_ = false;
  failures_ = 0;
  next_pause_ms_ = std::min(config_.pause_ms, kPauseMaxMs);
}

bool Breaker::OnFailure(int64_t now, int64_t started) {
  if (open_) return false;  // a straggler of before the opening says nothing new
  if (failures_++ == 0 || started < first_unanswered_) first_unanswered_ = started;
  const bool many = failures_ >= config_.failures;
  if (!many && now - first_unanswered_ < config_.silence_ns) return false;
  Open(now, many ? BreakerReason::kFailures : BreakerReason::kSilence);
  return true;
}

bool Breaker::OnAway(int64_t now, BreakerReason reason) {
  const bool was_closed = !open_;
  Open(now, reason);
  return was_closed;
}

void Breaker::Open(int64_t now, BreakerReason reason) {
  open_ = true;
  reason_ = reason;
  probing_ = false;
  failures_ = 0;
  const int64_t pause = next_pause_ms_ * int64_t{1'000'000};  // nanoseconds
  open_until_ = now + pause - static_cast<int64_t>(Random() % static_cast<uint64_t>(pause / 4 + 1));
  next_pause_ms_ = std::min(next_pause_ms_ * 2, kPauseMaxMs);
}

// xorshift64: jitter needs no better.
uint64_t Breaker::Random() {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return random_;
}

}  // namespace kvgate::client
