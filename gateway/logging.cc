// SPDX-License-Identifier: Apache-2.0
#include "gateway/logging.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace kvgate::gateway {
namespace {

std::atomic<LogLevel> g_level{LogLevel::kInfo};
std::atomic<LogFormat> g_format{LogFormat::kText};

constexpr const char* kLevelNames[] = {"error", "warning", "info", "debug"};

bool Wanted(LogLevel level) { return level <= g_level.load(std::memory_order_relaxed); }

// Quoted where a reader could not see the end of it.
std::string TextValue(const std::string& value) {
  if (!value.empty() && value.find_first_of(" \"=") == std::string::npos) return value;
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted.push_back('\\');
    quoted.push_back(c);
  }
  return quoted + "\"";
}

std::string TextLine(const std::string& line, const LogFields& fields) {
  std::string text = "kvgated " + line;
  for (const LogField& field : fields) {
    text.append(" ").append(field.name).append("=").append(TextValue(field.value));
  }
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

std::string JsonLine(LogLevel level, absl::Time at, const std::string& line,
                     const LogFields& fields) {
  nlohmann::ordered_json object = {
      {"time", absl::FormatTime(absl::RFC3339_full, at, absl::UTCTimeZone())},
      {"level", kLevelNames[static_cast<int>(level)]},
      {"message", line}};
  for (const LogField& field : fields) object[std::string(field.name)] = field.value;
  // What is not UTF-8 is replaced: a path may hold any bytes.
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

void SetLogLevel(LogLevel level) { g_level.store(level, std::memory_order_relaxed); }
void SetLogFormat(LogFormat format) { g_format.store(format, std::memory_order_relaxed); }

std::string FormatLogLine(LogFormat format, LogLevel level, absl::Time at, const std::string& line,
                          const LogFields& fields) {
  std::string text =
      format == LogFormat::kJson ? JsonLine(level, at, line, fields) : TextLine(line, fields);
  text.push_back('\n');
  return text;
}

void Log(LogLevel level, const std::string& line, const LogFields& fields) {
  if (!Wanted(level)) return;
  const std::string text =
      FormatLogLine(g_format.load(std::memory_order_relaxed), level, absl::Now(), line, fields);
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = write(STDERR_FILENO, text.data() + done, text.size() - done);
    if (n <= 0) return;
    done += static_cast<size_t>(n);
  }
}

std::optional<uint64_t> LogLimit::Take(absl::Time now) {
  absl::MutexLock lock(&mu_);
  if (now < second_ || now - second_ >= absl::Seconds(1)) {
    second_ = now;
    lines_ = 0;
  }
  if (lines_ >= max_) {
    ++suppressed_;
    return std::nullopt;
  }
  ++lines_;
  const uint64_t suppressed = suppressed_;
  suppressed_ = 0;
  return suppressed;
}

void LogLimited(LogLimit* limit, LogLevel level, const std::string& line, LogFields fields) {
  if (!Wanted(level)) return;
  const std::optional<uint64_t> suppressed = limit->Take(absl::Now());
  if (!suppressed) return;
  if (*suppressed > 0) fields.push_back({"suppressed", absl::StrCat(*suppressed)});
  Log(level, line, fields);
}

}  // namespace kvgate::gateway
