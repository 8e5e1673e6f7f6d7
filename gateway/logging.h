// SPDX-License-Identifier: Apache-2.0
//
// Log lines on stderr, one write(2) each, so that lines of several threads never mix.
// Thread-safe; the level is set once at start. Never fails: a line that cannot be written is lost.
#pragma once

#include <cstdint>
#include <string>

namespace kvgate::gateway {

enum class LogLevel : uint8_t { kError = 0, kWarning = 1, kInfo = 2, kDebug = 3 };

void SetLogLevel(LogLevel level);
void Log(LogLevel level, const std::string& line);

}  // namespace kvgate::gateway
