// SPDX-License-Identifier: Apache-2.0
//
// LocalSet: one Set over the local door, in as many commits as staging memory needs (ordinarily
// one). Used by one thread, once.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "client/local/local_transport.h"

namespace kvgate::client {

class LocalSet {
 public:
  // All arguments outlive it.
  LocalSet(LocalTransport& transport, const SetRequest& request, Deadline deadline,
           std::span<SetResult> results);

  // Fills every result.
  Outcome Run();

 private:
  struct Staged {
    StagingArena::Part part;
    uint32_t crc32c = 0;
  };

  Outcome Check() const;
  // Where the value lies in staging, copied there unless it does already; none: no room.
  std::optional<Staged> Stage(const SetEntry& entry);
  // The same for an entry by its number, after asking for more staging if need be. `urgent`: the
  // Set cannot go on without it. none: no room, or no time; *outcome says why.
  std::optional<Staged> StageOrGrow(size_t index, bool urgent, Outcome* outcome);
  // Commits entries from `first`; *next = the first that did not fit.
  Outcome CommitFrom(size_t first, size_t* next);
  Outcome Send(size_t first, std::vector<Staged> staged);
  uint64_t LongestValue() const;
  local::Commit FixedOf(size_t first, size_t count, std::string_view* parent,
                        std::string_view* root) const;

  LocalTransport& transport_;
  const SetRequest& request_;
  const Deadline deadline_;
  const std::span<SetResult> results_;
};

}  // namespace kvgate::client
