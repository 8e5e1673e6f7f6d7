// SPDX-License-Identifier: Apache-2.0
#include "gateway/flags.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace kvgate::gateway {

absl::StatusOr<FlagValues> ParseFlags(std::span<const Flag> flags, int argc,
                                      const char* const* argv) {
  FlagValues values;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "-h" || word == "--help") return FlagValues{{"help", {""}}};
    if (word.size() < 3 || word.compare(0, 2, "--") != 0) {
      return absl::InvalidArgumentError(absl::StrCat("\"", word, "\" is not a flag"));
    }
    const size_t equals = word.find('=');
    const std::string name = word.substr(2, equals == word.npos ? word.npos : equals - 2);
    const auto flag = std::find_if(flags.begin(), flags.end(),
                                   [&name](const Flag& known) { return known.name == name; });
    if (flag == flags.end()) {
      return absl::InvalidArgumentError(absl::StrCat("unknown flag --", name));
    }
    std::string value;
    if (equals != word.npos) {
      if (!flag->takes_value) {
        return absl::InvalidArgumentError(absl::StrCat("--", name, " takes no value"));
      }
      value = word.substr(equals + 1);
    } else if (flag->takes_value) {
      if (++i == argc) {
        return absl::InvalidArgumentError(absl::StrCat("--", name, " needs a value"));
      }
      value = argv[i];
    }
    values[name].push_back(std::move(value));
  }
  return values;
}

std::string FlagHelp(const std::string& title, std::span<const Flag> flags) {
  constexpr size_t kColumn = 24;
  std::string text = absl::StrCat(title, "\n\n  -h, --help", std::string(kColumn - 10, ' '),
                                  "print this and exit\n");
  for (const Flag& flag : flags) {
    std::string left = absl::StrCat("--", flag.name, flag.takes_value ? " X" : "");
    left.resize(std::max(left.size() + 1, kColumn), ' ');
    absl::StrAppend(&text, "  ", left, flag.help, "\n");
  }
  return text;
}

}  // namespace kvgate::gateway
