// SPDX-License-Identifier: Apache-2.0
//
// KVGATE_CHECK(condition) << "text": for what is impossible unless this program is wrong. Prints
// file, line, condition and text, then aborts; it is on in every build. What a peer, a disk or an
// operator can cause is an absl::Status instead. Thread-safe.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>

namespace kvgate::storage::internal {

class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition) {
    text_ << file << ":" << line << ": check failed: " << condition << " ";
  }
  CheckFailure(const CheckFailure&) = delete;
  CheckFailure& operator=(const CheckFailure&) = delete;
  [[noreturn]] ~CheckFailure() {
    std::fprintf(stderr, "%s\n", text_.str().c_str());
    std::abort();
  }
  std::ostream& stream() { return text_; }

 private:
  std::ostringstream text_;
};

// Gives both arms of the conditional below the type void.
struct CheckVoid {
  void operator&(std::ostream&) const {}
};

}  // namespace kvgate::storage::internal

#define KVGATE_CHECK(condition)                     \
  __builtin_expect(static_cast<bool>(condition), 1) \
      ? (void)0                                     \
      : ::kvgate::storage::internal::CheckVoid() &  \
            ::kvgate::storage::internal::CheckFailure(__FILE__, __LINE__, #condition).stream()
