// SPDX-License-Identifier: Apache-2.0
#include "gateway/local/call.h"

#include "proto/wire/error_id.h"
#include "storage/base/check.h"

namespace kvgate::gateway {
namespace {

// Longer ones wait like this; a client's number cannot overflow the clock.
constexpr uint64_t kTimeoutUsMax = 3600ull * 1'000'000;

}  // namespace

std::string MakeReply(const local::MsgHeader& request, uint16_t version, absl::StatusCode code,
                      std::string_view fixed, std::string_view rest) {
  local::MsgHeader header{};
  header.magic = local::kMagic;
  header.version = version;
  header.op = request.op | local::kReplyBit;
  header.bytes = static_cast<uint32_t>(sizeof(header) + fixed.size() + rest.size());
  header.request_id = request.request_id;
  header.timeout_us = static_cast<uint64_t>(code);
  KVGATE_CHECK(header.bytes <= local::kMessageBytesMax) << header.op;
  std::string message;
  message.reserve(header.bytes);
  message.append(AsBytes(header)).append(fixed).append(rest);
  return message;
}

std::string MakeErrorReply(const local::MsgHeader& request, uint16_t version,
                           const absl::Status& status) {
  const wire::ErrorId id = wire::ErrorOf(static_cast<wire::Code>(status.code()));
  // A long text loses its end, not the id that follows.
  std::string text = wire::Tagged(id, std::string(status.message()));
  if (text.size() > local::kErrorTextMax) {
    const std::string last = text.substr(text.rfind(" ["));
    text.replace(local::kErrorTextMax - last.size(), std::string::npos, last);
  }
  return MakeReply(request, version, status.code(), {}, text);
}

Call::Call(std::shared_ptr<Session> session, const local::MsgHeader& header, std::string message,
           Rpc rpc, bool recorded)
    : session_(std::move(session)),
      header_(header),
      message_(std::move(message)),
      rpc_(rpc),
      recorded_(recorded),
      times_(session_->state().clock->Now()),
      deadline_(arrival() + absl::Microseconds(std::min(header.timeout_us, kTimeoutUsMax))) {
  state().CallBegan();
}

Call::~Call() {
  if (!replied_) Fail(absl::InternalError("the call was dropped without an answer"));
  state().counters.request_bytes.fetch_sub(memory_bytes_, std::memory_order_relaxed);
  session_->EndCall();
  state().CallEnded();
}

bool Call::ChargeMemory(uint64_t bytes) {
  memory_bytes_ += bytes;
  const uint64_t others =
      state().counters.request_bytes.fetch_add(bytes, std::memory_order_relaxed);
  return others + bytes <= state().options.request_bytes_max;
}

void Call::Reply(std::string_view fixed, std::string_view rest, std::vector<int> fds) {
  if (replied_) return;
  Finish(absl::StatusCode::kOk,
         MakeReply(header_, header_.version, absl::StatusCode::kOk, fixed, rest), std::move(fds));
}

void Call::Fail(const absl::Status& status) {
  if (replied_) return;
  Finish(status.code(), MakeErrorReply(header_, header_.version, status), {});
}

void Call::RecordWait(storage::Tier tier) {
  if (state().telemetry == nullptr) return;
  state().telemetry->RecordWait(rpc_, tier, times_.in_store(state().clock->Now()));
}

void Call::Finish(absl::StatusCode code, std::string message, std::vector<int> fds) {
  replied_ = true;
  if (recorded_ && state().telemetry != nullptr) {
    const absl::Time now = state().clock->Now();
    times_.HandedOver(now);
    state().telemetry->RecordCall(Door::kLocal, rpc_, code, now - arrival(), bytes_in_, bytes_out_);
    LogIfSlow({Door::kLocal, rpc_, request_, code, times_, now});
  }
  session_->Send(std::move(message), std::move(fds));
}

}  // namespace kvgate::gateway
