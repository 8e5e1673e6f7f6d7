// SPDX-License-Identifier: Apache-2.0
//
// When a call must be answered: an answer sent at the deadline is lost on its way. Pure functions,
// thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"

namespace kvgate::gateway {

// A call that names no deadline gets this one.
inline constexpr absl::Duration kDefaultDeadline = absl::Seconds(2);
// The least time kept back for an answer's way to the client.
inline constexpr absl::Duration kAnswerMarginMin = absl::Milliseconds(5);
// What a unary answer is expected to move at least, for the predicted transfer.
inline constexpr double kTransferBytesPerSecond = 500e6;

inline absl::Duration PredictedTransfer(uint64_t answer_bytes) {
  return absl::Seconds(static_cast<double>(answer_bytes) / kTransferBytesPerSecond);
}

// min(arrival + answer_by_ms, deadline - max(5 ms, transfer)), never before `arrival`.
// answer_by_ms = 0: derived from the deadline alone.
inline absl::Time EffectiveAnswerBy(absl::Time arrival, uint32_t answer_by_ms, absl::Time deadline,
                                    absl::Duration transfer) {
  absl::Time by = deadline - std::max(kAnswerMarginMin, transfer);
  if (answer_by_ms != 0) by = std::min(by, arrival + absl::Milliseconds(answer_by_ms));
  return std::max(by, arrival);
}

}  // namespace kvgate::gateway
