// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/storage/fault_run.h"

#include <cstdio>
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"

namespace kvgate::faults {

bool IsLong() {
  const char* form = std::getenv("KVGATE_FAULTS");
  return form != nullptr && std::string_view(form) == "long";
}

uint64_t ForEachSeed(std::string_view test, uint64_t quick, uint64_t many,
                     const std::function<void(uint64_t seed)>& one) {
  uint64_t first = 1, last = IsLong() ? many : quick;
  if (const char* only = std::getenv("KVGATE_SEED"); only != nullptr) {
    first = last = std::strtoull(only, nullptr, 10);
  }
  uint64_t cases = 0;
  for (uint64_t seed = first; seed <= last && !::testing::Test::HasFailure(); ++seed) {
    one(seed);
    ++cases;
    if (::testing::Test::HasFailure()) {
      std::printf("seed %lu failed; again: KVGATE_SEED=%lu, this test alone\n", seed, seed);
    }
  }
  Figure(test, "cases", static_cast<double>(cases));
  return cases;
}

void Figure(std::string_view test, std::string_view name, double value) {
  std::printf("figure %s.%s %.10g\n", std::string(test).c_str(), std::string(name).c_str(), value);
}

}  // namespace kvgate::faults
