// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/grpc_call.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gateway/core/deadline.h"
#include "gateway/core/tokens.h"
#include "gateway/logging.h"
#include "gateway/service/answer_timer.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "grpcpp/support/status.h"
#include "proto/wire/error_id.h"

namespace kvgate::gateway {
namespace {

// A client that takes longer over one message is taken for one that does not read.
constexpr absl::Duration kAnswerTakenMax = absl::Seconds(60);

constexpr uint64_t kKeptBackBytesMax = 64 << 10;
constexpr char kTokenWanted[] = "the metadata \"authorization: Bearer TOKEN\"";

constexpr uint32_t kRefusedLinesASecond = 20;

absl::Duration Remaining(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return kDefaultDeadline;
  return absl::FromChrono(deadline - std::chrono::system_clock::now());
}

void LogRefused(const std::string& id, const absl::Status& status) {
  static auto* const limit = new LogLimit(kRefusedLinesASecond);
  LogLimited(limit, LogLevel::kDebug, absl::StrCat("gRPC refused: ", status.ToString()),
             {{"id", id}});
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // Canonical numbers are the same on both sides.
  const wire::ErrorId id = wire::ErrorOf(static_cast<wire::Code>(status.code()));
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      wire::Tagged(id, std::string(status.message())));
}

GrpcCall::GrpcCall(const ServiceDeps& deps, Kind kind, grpc::CallbackServerContext* context,
                   uint64_t bytes_in)
    : deps_(deps),
      running_(deps.calls),
      kind_(kind),
      context_(context),
      ended_(kind.rpc == Rpc::kGet ? std::make_shared<EndedCall>() : nullptr),
      reactor_(ended_ == nullptr ? context->DefaultReactor()
                                 : deps.answers->NewReactor(context, deps.calls,
                                                            [ended = ended_, clock = deps.clock] {
                                                              ended->end = clock->Now();
                                                              LogIfSlow(*ended);
                                                            })),
      bytes_in_(bytes_in),
      times_(deps.clock->Now()),
      deadline_(arrival() + Remaining(*context)),
      tenant_(deps.tenant) {}

GrpcCall::~GrpcCall() {
  if (!finished_) Finish(absl::InternalError("the call was dropped without an answer"));
}

absl::Status GrpcCall::CheckToken() {
  static constexpr absl::string_view kScheme = "Bearer ";
  const auto& metadata = context_->client_metadata();
  absl::string_view token;
  // Two are as good as none: nobody needs to guess which one counts.
  if (metadata.count("authorization") == 1) {
    const grpc::string_ref value = metadata.find("authorization")->second;
    const absl::string_view text(value.data(), value.size());
    if (absl::StartsWithIgnoreCase(text, kScheme)) token = text.substr(kScheme.size());
  }
  absl::StatusOr<Tokens::Shown> shown =
      deps_.tokens->Admit({token.data(), token.size()}, deps_.tenant, kTokenWanted);
  if (!shown.ok()) return shown.status();
  tenant_ = std::move(shown->tenant);
  return absl::OkStatus();
}

absl::Status GrpcCall::Admit() {
  if (deps_.tokens != nullptr) {
    if (absl::Status status = CheckToken(); !status.ok()) return status;
  }
  if (deps_.draining->load(std::memory_order_relaxed)) {
    return absl::UnavailableError(
        wire::Tagged(wire::ErrorId::kDraining, "draining: this daemon is stopping"));
  }
  if (deadline_ <= arrival()) {
    return absl::DeadlineExceededError(
        absl::StrCat("deadline: passed ", absl::ToInt64Microseconds(arrival() - deadline_),
                     " us before the call arrived"));
  }
  if (cancelled()) return absl::CancelledError("cancelled by the client");
  return absl::OkStatus();
}

bool GrpcCall::cancelled() const { return context_->IsCancelled(); }

std::string GrpcCall::peer() const { return context_->peer(); }

void GrpcCall::RecordWait(storage::Tier tier) {
  deps_.telemetry->RecordWait(kind_.rpc, tier, times_.in_store(deps_.clock->Now()));
}

void GrpcCall::Finish(const absl::Status& status, uint64_t bytes_out) {
  if (finished_) return;
  finished_ = true;
  if (!status.ok()) LogRefused(id(), status);
  const absl::Time now = deps_.clock->Now();
  times_.HandedOver(now);
  deps_.telemetry->RecordCall(kind_.door, kind_.rpc, status.code(), now - arrival(), bytes_in_,
                              bytes_out);
  if (kind_.rpc == Rpc::kGet && bytes_out > 0) {
    deps_.answers->Watch(context_, std::min(deadline_ - now, kAnswerTakenMax));
  }
  const EndedCall ended{kind_.door, kind_.rpc, request_, status.code(), times_, now};
  if (ended_ != nullptr) {
    *ended_ = ended;  // read when the reactor ends, which follows its Finish
  } else {
    LogIfSlow(ended);
  }
  // What is kept back keeps its message: of large ones nobody without a token makes us keep many.
  if (absl::IsUnauthenticated(status) && deps_.tokens != nullptr &&
      bytes_in_ <= kKeptBackBytesMax) {
    const absl::Duration pause = deps_.tokens->Pause(peer(), arrival());
    if (deps_.answers->RefuseLater(reactor_, status, pause)) return;
  }
  reactor_->Finish(ToGrpc(status));
}

}  // namespace kvgate::gateway
