// SPDX-License-Identifier: Apache-2.0
//
// What a mistyped word most likely meant. Pure, thread-safe, no errors; texts of any length, in
// time that grows with the product of two words' lengths.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kvgate::cli {

// The candidate nearest to `word`: one that begins so or that it begins with (3 letters or more),
// else the one with the fewest letters to change. "" when nothing is near.
std::string Nearest(std::string_view word, const std::vector<std::string>& candidates);

// `; did you mean "stats"?`, or "" when nothing is near.
std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates);

// An error's id as people type it, "501", "kvg501", "[KVG501]", as it is written: "KVG501". Other
// text comes back as it is.
std::string ErrorIdOf(std::string_view typed);

// Whether a file's text is a daemon's list of tokens (lines TENANT TOKEN), not one token.
bool IsTokensFile(std::string_view text);

}  // namespace kvgate::cli
