// SPDX-License-Identifier: Apache-2.0
#include "client/core/reasons.h"

#include <array>

namespace kvgate::client {
namespace {

constexpr std::array<std::string_view, 23> kNames = {
    "ok",        "not_held",   "not_ready",    "not_sent",     "unpinned",        "stale_token",
    "corrupt",   "io_error",   "deadline",     "unavailable",  "refused",         "revoked",
    "checksum",  "overloaded", "wrong_size",   "not_admitted", "data_loss",       "no_space",
    "timed_out", "too_large",  "already_held", "internal",     "unauthenticated",
};
static_assert(kNames.size() == static_cast<size_t>(Reason::kUnauthenticated) + 1);

constexpr std::array<std::string_view, 5> kBreakerNames = {
    "none", "no_gateway", "no_answer", "failures", "silence",
};
static_assert(kBreakerNames.size() == static_cast<size_t>(BreakerReason::kSilence) + 1);

}  // namespace

std::string_view ReasonName(Reason reason) {
  const auto number = static_cast<size_t>(reason);
  return number < kNames.size() ? kNames[number] : "unknown";
}

std::string_view BreakerReasonName(BreakerReason reason) {
  const auto number = static_cast<size_t>(reason);
  return number < kBreakerNames.size() ? kBreakerNames[number] : "unknown";
}

Reason ReasonOf(wire::Code code) {
  switch (code) {
    case wire::Code::kOk:
      return Reason::kOk;
    case wire::Code::kDeadlineExceeded:
      return Reason::kDeadline;
    case wire::Code::kUnavailable:
    case wire::Code::kCancelled:
    case wire::Code::kAborted:
      return Reason::kUnavailable;
    case wire::Code::kResourceExhausted:
      return Reason::kOverloaded;
    case wire::Code::kDataLoss:
      return Reason::kDataLoss;
    case wire::Code::kInvalidArgument:
    case wire::Code::kNotFound:
    case wire::Code::kAlreadyExists:
    case wire::Code::kPermissionDenied:
    case wire::Code::kFailedPrecondition:
    case wire::Code::kOutOfRange:
    case wire::Code::kUnimplemented:
      return Reason::kRefused;
    case wire::Code::kUnauthenticated:
      return Reason::kUnauthenticated;
    case wire::Code::kUnknown:
    case wire::Code::kInternal:
      return Reason::kInternal;
  }
  return Reason::kInternal;
}

}  // namespace kvgate::client
