// SPDX-License-Identifier: Apache-2.0
//
// Log lines on stderr, one write(2) each, so that lines of several threads never mix. As text for
// people ("kvgated LINE name=value ..."), or one JSON object a line (time, level, message, fields).
// Thread-safe; level and format may change at any time. Never fails: a line that cannot be written
// is lost. Whatever clients can cause goes through LogLimited, so that they cannot flood the log.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace kvgate::gateway {

enum class LogLevel : uint8_t { kError = 0, kWarning = 1, kInfo = 2, kDebug = 3 };
enum class LogFormat : uint8_t { kText = 0, kJson = 1 };

struct LogField {
  std::string_view name;  // a_word
  std::string value;
};
using LogFields = std::vector<LogField>;

void SetLogLevel(LogLevel level);
void SetLogFormat(LogFormat format);
void Log(LogLevel level, const std::string& line, const LogFields& fields = {});

// How many lines one call site may write.
class LogLimit {
 public:
  explicit LogLimit(uint32_t lines_a_second) : max_(lines_a_second) {}
  // Nothing: keep this line back. Else how many were kept back since the last one.
  std::optional<uint64_t> Take(absl::Time now);

 private:
  const uint32_t max_;
  absl::Mutex mu_;
  absl::Time second_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();  // when the count began
  uint32_t lines_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t suppressed_ ABSL_GUARDED_BY(mu_) = 0;
};

// With a field `suppressed` where lines were kept back before this one.
void LogLimited(LogLimit* limit, LogLevel level, const std::string& line, LogFields fields = {});

// The line that Log writes, newline included.
std::string FormatLogLine(LogFormat format, LogLevel level, absl::Time at, const std::string& line,
                          const LogFields& fields);

}  // namespace kvgate::gateway
