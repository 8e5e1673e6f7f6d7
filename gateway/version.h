// SPDX-License-Identifier: Apache-2.0
//
// The versions of this build: of the program, of the wire and of the disk format, each by itself,
// since they change at different times. Pure functions, thread-safe; they never fail.
#pragma once

#include <string>

namespace kvgate::gateway {

std::string Version();      // "0.1.0", from the file VERSION
std::string VersionText();  // program, wire and disk format, as --version prints them

}  // namespace kvgate::gateway
