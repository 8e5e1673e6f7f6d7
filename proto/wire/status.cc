// SPDX-License-Identifier: Apache-2.0
#include "proto/wire/status.h"

#include <array>

namespace kvgate::wire {
namespace {

constexpr std::array<std::string_view, 17> kNames = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};

}  // namespace

std::string_view CodeName(Code code) {
  return kNames[static_cast<size_t>(CodeFromWire(static_cast<uint32_t>(code)))];
}

Code CodeFromWire(uint32_t code) {
  return code < kNames.size() ? static_cast<Code>(code) : Code::kUnknown;
}

// RESOURCE_EXHAUSTED and ABORTED ask for less load or a new plan, not for the same call again.
bool IsRetryable(Code code) { return code == Code::kUnavailable; }

}  // namespace kvgate::wire
