// SPDX-License-Identifier: Apache-2.0
//
// `kvgate top`: live rates. Runs on the main thread until its count is reached or the process ends.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "client/cli/context.h"

namespace kvgate::cli {

struct TopArgs {
  uint32_t interval_ms = 1000;
  uint32_t pictures = 0;  // 0: for ever
};

int Top(const Context& context, const TopArgs& args);

using Counters = std::map<std::string, double>;

// The picture's lines from two samples, `seconds` apart. Pure.
std::vector<std::string> TopLines(const Counters& before, const Counters& now, double seconds);

}  // namespace kvgate::cli
