// SPDX-License-Identifier: Apache-2.0
//
// An answer of Admin.Explain in words: what is so, since when, and what to do. Pure, thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
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

// What of the key is asked about; nothing: all.
struct Only {
  std::optional<uint32_t> group, shard;
};

// `apart` tells namespaces that look alike apart, by digest (alike.h).
Explained ExplainText(std::string_view key, const v1::ExplainResponse& response,
                      const Only& only = {}, const std::map<std::string, std::string>& apart = {});

}  // namespace kvgate::cli
