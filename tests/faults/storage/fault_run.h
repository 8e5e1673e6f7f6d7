// SPDX-License-Identifier: Apache-2.0
//
// How fault tests are dosed, replayed and counted. Test-only.
//
//   KVGATE_FAULTS=long   the long form (./dev faults); else the quick one of the test command
//   KVGATE_SEED=N        only the case with this seed: what a failure prints
// Figures are printed as "figure TEST.NAME VALUE", from which docs/reliability.json is
// made.
// Threads: called by the test's own.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace kvgate::faults {

bool IsLong();

// Runs `one` with the seeds 1 to quick or many, ends at the first failure and says how to replay
// it; gives the number of cases.
uint64_t ForEachSeed(std::string_view test, uint64_t quick, uint64_t many,
                     const std::function<void(uint64_t seed)>& one);

void Figure(std::string_view test, std::string_view name, double value);

}  // namespace kvgate::faults
