// SPDX-License-Identifier: Apache-2.0
//
// HELLO and what follows from it: version, capability, and how much staging a client gets, at first
// and when it asks for more.
//
// A client may hold what would be its even share of the door's total if one more came, and always
// as much as its longest value needs, as long as there is some left; it asks by GROW_STAGING. What
// it holds ends with its connection. Called by the epoll thread alone, which keeps the sum exact.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "gateway/local/call.h"
#include "gateway/local/codec.h"
#include "gateway/local/protocol.h"
#include "gateway/local/session.h"

namespace kvgate::gateway {

// As HandleMessage (calls.h).
absl::Status HandleHello(const std::shared_ptr<Session>& session, const local::MsgHeader& header,
                         std::string_view message);

void HandleGrowStaging(std::shared_ptr<CallOf<GrowStagingCall>> call);

}  // namespace kvgate::gateway
