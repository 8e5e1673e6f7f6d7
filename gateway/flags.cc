// SPDX-License-Identifier: Apache-2.0
#include "gateway/flags.h"

#include <getopt.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gateway/nearest.h"

namespace kvgate::gateway {
namespace {

std::string NameIn(const std::string& word) {
  return word.compare(0, 2, "--") == 0 ? word.substr(0, word.find('=')) : word;
}

absl::Status Wrong(int problem, const std::string& word, std::span<const Flag> flags) {
  if (problem == ':') return absl::InvalidArgumentError(NameIn(word) + " needs a value");
  if (optopt != 0 && word.find('=') != std::string::npos) {
    return absl::InvalidArgumentError(NameIn(word) + " takes no value");
  }
  const std::string name = NameIn(word);
  if (name.size() <= 2 || name.compare(0, 2, "--") != 0) {
    return absl::InvalidArgumentError(absl::StrCat("unknown flag ", name));
  }
  std::vector<std::string> known = {"--help"};
  for (const Flag& flag : flags) known.push_back("--" + flag.name);
  return absl::InvalidArgumentError(
      absl::StrCat("unknown flag ", name, "; the nearest one is ", Nearest(name, known)));
}

}  // namespace

absl::StatusOr<FlagValues> ParseFlags(std::span<const Flag> flags, int argc,
                                      const char* const* argv) {
  std::vector<option> options;
  for (const Flag& flag : flags) {
    options.push_back({flag.name.c_str(), flag.takes_value ? required_argument : no_argument,
                       nullptr, 1000 + static_cast<int>(options.size())});
  }
  options.push_back({"help", no_argument, nullptr, 'h'});
  options.push_back({});
  std::vector<char*> words;
  words.reserve(argc + 1);
  for (int i = 0; i < argc; ++i) words.push_back(const_cast<char*>(argv[i]));
  words.push_back(nullptr);

  FlagValues values;
  opterr = 0;
  optind = 0;  // glibc: begin anew
  // '+': stop at the first word that is no flag; ':': tell a missing value from an unknown flag.
  while (true) {
    const int at = std::max(optind, 1);
    int index = -1;
    const int got = getopt_long(argc, words.data(), "+:h", options.data(), &index);
    if (got == -1) break;
    if (got == 'h') return FlagValues{{"help", {""}}};
    if (got == '?' || got == ':') return Wrong(got, argv[at], flags);
    const Flag& flag = flags[static_cast<size_t>(index)];
    // getopt_long takes unambiguous beginnings too; a flag that is added later would change them.
    if (NameIn(argv[at]) != "--" + flag.name) return Wrong('?', argv[at], flags);
    values[flag.name].push_back(flag.takes_value ? optarg : "");
  }
  const int stopped = optind;
  if (stopped < argc || (stopped > 1 && std::string(argv[stopped - 1]) == "--")) {
    const std::string word = stopped < argc ? argv[stopped] : argv[stopped - 1];
    return absl::InvalidArgumentError(absl::StrCat("\"", word, "\" is not a flag"));
  }
  return values;
}

std::string FlagHelp(const std::string& title, std::span<const Flag> flags) {
  constexpr size_t kColumn = 32;
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
