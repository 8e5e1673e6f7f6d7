// SPDX-License-Identifier: Apache-2.0
//
// The one table between absl::StatusCode, grpc codes and the codes of the local door: they are the
// canonical numbers 0…16 everywhere. Needs only libc, since libkvgate.so links it.
#pragma once

#include <cstdint>
#include <string_view>

namespace kvgate::wire {

// google.rpc.Code.
enum class Code : uint8_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// "INVALID_ARGUMENT" …; "UNKNOWN" for numbers outside the table.
std::string_view CodeName(Code code);

// A number from the wire: outside 0…16 becomes kUnknown.
Code CodeFromWire(uint32_t code);

// True for failures after which the same call may be sent again to another or a restarted server,
// provided that it is idempotent and no byte of an answer was used.
bool IsRetryable(Code code);

}  // namespace kvgate::wire
