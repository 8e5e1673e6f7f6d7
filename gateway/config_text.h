// SPDX-License-Identifier: Apache-2.0
//
// The configuration as text, all of it made from Settings(): what is in effect, a page for people,
// a schema for editors. Pure, thread-safe.
#pragma once

#include <string>

#include "gateway/config.h"

namespace kvgate::gateway {

// A file that, read again, gives this very configuration.
std::string ConfigAsYaml(const Config& config);
std::string ConfigSchema();    // JSON schema (draft 2020-12) of the file
std::string ConfigMarkdown();  // docs/config.md

}  // namespace kvgate::gateway
