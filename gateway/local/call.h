// SPDX-License-Identifier: Apache-2.0
//
// Call: one request of a client on its way: what was asked, by when, and the one reply.
//
// Exactly one reply leaves: the first Reply or Fail wins, and a call dropped without one answers
// INTERNAL. Shared by callbacks; thread-compatible (one party works on it at a time).
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gateway/local/protocol.h"
#include "gateway/local/session.h"
#include "gateway/telemetry/call_log.h"
#include "gateway/telemetry/telemetry.h"

namespace kvgate::gateway {

// A whole reply message: header, `fixed`, `rest`.
std::string MakeReply(const local::MsgHeader& request, uint16_t version, absl::StatusCode code,
                      std::string_view fixed, std::string_view rest);
// The reply of a call that failed.
std::string MakeErrorReply(const local::MsgHeader& request, uint16_t version,
                           const absl::Status& status);

template <typename T>
std::string_view AsBytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

class Call {
 public:
  // REQUIRES: the session's TryBeginCall took a place for it. `recorded`: telemetry hears of it.
  Call(std::shared_ptr<Session> session, const local::MsgHeader& header, std::string message,
       Rpc rpc, bool recorded);
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  virtual ~Call();

  Session& session() const { return *session_; }
  DoorState& state() const { return session_->state(); }
  const std::string& message() const { return message_; }
  absl::Time arrival() const { return times_.arrival(); }
  absl::Time deadline() const { return deadline_; }
  absl::Duration until_deadline() const { return deadline_ - arrival(); }
  // Around the store's part of the call.
  void StoreAsked() { times_.StoreAsked(state().clock->Now()); }
  void StoreAnswered() { times_.StoreAnswered(state().clock->Now()); }
  bool store_read() const { return times_.store_read(); }
  void RecordWait(storage::Tier tier);

  bool expired() const { return state().clock->Now() >= deadline_; }

  // Counts memory that this call holds until it ends; false when all calls hold too much.
  bool ChargeMemory(uint64_t bytes);

  void AddBytesIn(uint64_t bytes) { bytes_in_ += bytes; }
  void AddBytesOut(uint64_t bytes) { bytes_out_ += bytes; }

  void Reply(std::string_view fixed, std::string_view rest = {}, std::vector<int> fds = {});
  void Fail(const absl::Status& status);
  // Somebody else answers.
  void Disown() { replied_ = true; }

 private:
  void Finish(absl::StatusCode code, std::string message, std::vector<int> fds);

  const std::shared_ptr<Session> session_;
  const local::MsgHeader header_;
  const std::string message_;
  const Rpc rpc_;
  const bool recorded_;
  const uint64_t request_ = NextRequest();
  CallTimes times_;
  const absl::Time deadline_;
  bool replied_ = false;
  uint64_t bytes_in_ = 0, bytes_out_ = 0, memory_bytes_ = 0;
};

// With what was decoded from it; its views lie in message() or in itself.
template <typename Decoded>
class CallOf final : public Call {
 public:
  using Call::Call;
  Decoded asked;
};

}  // namespace kvgate::gateway
