// SPDX-License-Identifier: Apache-2.0
//
// What somebody who mistyped a name may have meant. Pure, thread-safe; no errors.
#pragma once

#include <span>
#include <string>

namespace kvgate::gateway {

// The first of those that take the fewest letters added, left out or exchanged; "" of none.
std::string Nearest(const std::string& word, std::span<const std::string> names);

}  // namespace kvgate::gateway
