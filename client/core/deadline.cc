// SPDX-License-Identifier: Apache-2.0
#include <time.h>

#include "client/client.h"

namespace kvgate::client {

Deadline DeadlineIn(double ms) {
  // Ten years: no sum overflows. A NaN is over at once.
  constexpr double kLongestMs = 315'360'000'000.0;
  const double bounded = ms > kLongestMs ? kLongestMs : (ms > 0 ? ms : 0);
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec + static_cast<int64_t>(bounded * 1e6);
}

}  // namespace kvgate::client
