// SPDX-License-Identifier: Apache-2.0
#include "client/cli/usage.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <sstream>

namespace kvgate::cli {
namespace {

constexpr size_t kWordMax = 64;  // longer words are no commands

// How many letters to insert, drop or change.
size_t LettersApart(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row.back();
}

bool BeginsWith(std::string_view longer, std::string_view shorter) {
  return shorter.size() >= 3 && longer.substr(0, shorter.size()) == shorter;
}

}  // namespace

std::string Nearest(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.empty() || word.size() > kWordMax) return "";
  for (const std::string& candidate : candidates) {
    if (BeginsWith(word, candidate) || BeginsWith(candidate, word)) return candidate;
  }
  // Two letters of a short word may be anything.
  size_t best = word.size() <= 4 ? 2 : 3;
  std::string nearest;
  for (const std::string& candidate : candidates) {
    const size_t apart = LettersApart(word, candidate);
    if (apart >= best) continue;
    best = apart;
    nearest = candidate;
  }
  return nearest;
}

std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string nearest = Nearest(word, candidates);
  return nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?";
}

std::string ErrorIdOf(std::string_view typed) {
  std::string_view text = typed;
  if (!text.empty() && text.front() == '[') text.remove_prefix(1);
  if (!text.empty() && text.back() == ']') text.remove_suffix(1);
  std::string id;
  for (const unsigned char c : text) id += static_cast<char>(std::toupper(c));
  if (id.rfind("KVG", 0) == 0) id = id.substr(3);
  const bool number = id.size() == 3 && std::all_of(id.begin(), id.end(), [](unsigned char c) {
                        return std::isdigit(c) != 0;
                      });
  return number ? "KVG" + id : std::string(typed);
}

bool IsTokensFile(std::string_view text) {
  std::istringstream lines{std::string(text)};
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string tenant, token, more;
    if (!(words >> tenant) || tenant[0] == '#') continue;
    return static_cast<bool>(words >> token) && !(words >> more);
  }
  return false;
}

}  // namespace kvgate::cli
