// SPDX-License-Identifier: Apache-2.0
//
// std::string_view into Debian's abseil, whose string_view is a type of its own. Pure.
#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace kvgate::gateway {

inline absl::string_view Sv(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view StdSv(absl::string_view text) { return {text.data(), text.size()}; }

}  // namespace kvgate::gateway
