// SPDX-License-Identifier: Apache-2.0
//
// The versions of this build. Pure, thread-safe.
#pragma once

#include <string>

namespace kvgate::gateway {

std::string Version();      // "0.1.0", from the file VERSION
std::string VersionText();  // program, wire and disk format, as --version prints them

}  // namespace kvgate::gateway
