// SPDX-License-Identifier: Apache-2.0
//
// Flags of a program: --name=value or --name value, -h for --help, no other form; getopt_long of
// the C library behind the program's own table. A flag that the table does not name, a word that is
// no flag, a value where none belongs and a missing one are INVALID_ARGUMENT and name what was
// written. Owned by one thread at a time: getopt_long keeps its place in globals.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace kvgate::gateway {

struct Flag {
  std::string name;  // without the dashes
  std::string help;
  bool takes_value = true;
};

// By name, each with its values in the order of the command line; a switch has an empty one. Has
// "help" when that was asked for, and then nothing else counts.
using FlagValues = std::map<std::string, std::vector<std::string>>;

absl::StatusOr<FlagValues> ParseFlags(std::span<const Flag> flags, int argc,
                                      const char* const* argv);

// What --help prints: `title`, then a line for each flag.
std::string FlagHelp(const std::string& title, std::span<const Flag> flags);

}  // namespace kvgate::gateway
