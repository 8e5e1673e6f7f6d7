// SPDX-License-Identifier: Apache-2.0
//
// What the local door does with a message: decode, check, call the store, answer. It translates and
// never decides. Thread-safe; called by the epoll thread, answers from any thread.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "gateway/local/session.h"

namespace kvgate::gateway {

// Not OK: the client broke the protocol or said BYE (CANCELLED); what there was to reply has been
// sent, and the caller closes the session.
absl::Status HandleMessage(const std::shared_ptr<Session>& session, std::string_view message);

// Answers a packet that could not even be taken as a message.
void RefuseMessage(Session& session, const absl::Status& status);

}  // namespace kvgate::gateway
