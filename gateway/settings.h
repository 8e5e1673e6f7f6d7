// SPDX-License-Identifier: Apache-2.0
//
// Settings: the one list of what an operator may set. Flags, variables, keys of the file, their
// checks, --help, the effective configuration, docs/config.md and the JSON schema all come from it.
//
// Pure, thread-safe. Errors: INVALID_ARGUMENT with the value and what is allowed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "gateway/config.h"

namespace kvgate::gateway {

struct Setting {
  enum class Kind { kSize, kNumber, kText, kList, kAddress, kChoice };

  const char* name;  // of the flag, without dashes
  Kind kind;
  uint64_t min, max;    // of sizes and numbers
  const char* choices;  // "a|b|c" of a choice
  bool reloads;         // SIGHUP takes a new value over
  const char* help;
  // Set when the default follows from the host or from another setting; else it is Config's own.
  const char* default_text;
  absl::Status (*set)(const std::string& text, Config* config);
  std::string (*get)(const Config& config);  // as `set` reads it

  std::string flag() const;      // --flush-delay-ms
  std::string key() const;       // flush_delay_ms
  std::string variable() const;  // KVGATE_FLUSH_DELAY_MS
  // Parses and checks min and max.
  absl::Status Apply(const std::string& text, Config* config) const;
  std::string DefaultText() const;
};

std::span<const Setting> Settings();

// The key that is nearest to one that does not exist.
std::string NearestKey(const std::string& key);

}  // namespace kvgate::gateway
