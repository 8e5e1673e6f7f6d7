// SPDX-License-Identifier: Apache-2.0
//
// An answer of Admin.Explain in words: what is so, since when, and what to do. Pure, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proto/kvgate/v1/admin.pb.h"

namespace kvgate::cli {

struct Explained {
  bool held = false;
  // One word for programs: held, other_identity, evicted, reclaimed, expired, deleted, corrupt,
  // refused, late, never_stored.
  std::string reason;
  std::vector<std::string> lines;
};

Explained ExplainText(std::string_view key, const v1::ExplainResponse& response);

}  // namespace kvgate::cli
