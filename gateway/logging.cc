// SPDX-License-Identifier: Apache-2.0
#include "gateway/logging.h"

#include <unistd.h>

#include <atomic>

namespace kvgate::gateway {
namespace {

std::atomic<LogLevel> g_level{LogLevel::kInfo};

}  // namespace

void SetLogLevel(LogLevel level) { g_level.store(level, std::memory_order_relaxed); }

void Log(LogLevel level, const std::string& line) {
  if (level > g_level.load(std::memory_order_relaxed)) return;
  std::string text = "kvgated " + line;
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  text.push_back('\n');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = write(STDERR_FILENO, text.data() + done, text.size() - done);
    if (n <= 0) return;
    done += static_cast<size_t>(n);
  }
}

}  // namespace kvgate::gateway
