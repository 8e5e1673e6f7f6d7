// SPDX-License-Identifier: Apache-2.0
//
// The calls that touch values: GET, COMMIT, LOOKUP. Split from calls.cc by meaning; same rules.
#pragma once

#include <memory>

#include "gateway/local/call.h"
#include "gateway/local/codec.h"

namespace kvgate::gateway {

void HandleGet(std::shared_ptr<CallOf<GetCall>> call);
void HandleCommit(std::shared_ptr<CallOf<CommitCall>> call);
void HandleLookup(std::shared_ptr<CallOf<LookupCall>> call);

}  // namespace kvgate::gateway
