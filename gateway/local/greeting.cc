// SPDX-License-Identifier: Apache-2.0
#include "gateway/local/greeting.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gateway/core/namespace_table.h"
#include "gateway/core/text.h"
#include "gateway/core/tokens.h"
#include "gateway/logging.h"
#include "gateway/telemetry/call_log.h"
#include "proto/wire/error_id.h"

namespace kvgate::gateway {
namespace {

constexpr uint32_t kHelloLinesASecond = 10;

using local::kStagingGranule;

// A client that can ask for more begins with this much, or an eighth of the total.
constexpr uint64_t kFirstStagingBytes = 4ull << 20;

constexpr uint64_t RoundDown(uint64_t bytes) { return bytes / kStagingGranule * kStagingGranule; }
constexpr uint64_t RoundUp(uint64_t bytes) { return RoundDown(bytes + kStagingGranule - 1); }

constexpr std::string_view kTokenWanted = "it in HELLO (a client's token or token_file)";

absl::StatusOr<Tokens::Shown> CheckHello(const HelloCall& hello, const LocalDoorOptions& options) {
  if (hello.fixed.version_min > local::kVersionMax ||
      hello.fixed.version_max < local::kVersionMin) {
    return absl::FailedPreconditionError(wire::Tagged(
        wire::ErrorId::kOtherProtocol,
        absl::StrCat("hello.version: ", hello.fixed.version_min, " to ", hello.fixed.version_max,
                     ", this gateway speaks ", local::kVersionMin, " to ", local::kVersionMax)));
  }
  // Clients may have theirs before the daemon asks.
  if (options.tokens == nullptr) return Tokens::Shown{options.tenant, {}};
  return options.tokens->Admit(hello.token, options.tenant, kTokenWanted);
}

uint64_t StagingLeft(const DoorState& state) {
  const uint64_t total = state.options.staging_bytes_total;
  return total - std::min(state.counters.staging_bytes.load(), total);
}

// What a client may ever hold, besides the control part.
uint64_t StagingWish(const DoorState& state, uint64_t wanted) {
  return std::min(RoundUp(wanted), RoundDown(state.options.staging_bytes_client));
}

// What a client gets at HELLO besides the control part, which is always given.
uint64_t FirstStaging(const DoorState& state, uint64_t wish, uint16_t version) {
  const uint64_t total = state.options.staging_bytes_total;
  const uint64_t left = StagingLeft(state);
  // Who cannot ask for more gets all at once, but for a quarter of the total, or half of what
  // there is, that is left for later ones.
  const uint64_t most = version >= local::kVersionWithGrow
                            ? std::max(kFirstStagingBytes, total / 8)
                            : std::max(left - std::min(left, total / 4), left / 2);
  return RoundDown(std::min({wish, most, left}));
}

// How much more a client gets now; 0: less than it needs.
uint64_t MoreStaging(const DoorState& state, const StagingMemory& staging,
                     const local::GrowStaging& ask) {
  if (staging.parts().size() >= local::kStagingPartsMax) return 0;
  const uint64_t all = staging.bytes().size();
  const uint64_t own = all - local::kControlBytes;
  const uint64_t clients = std::max<uint64_t>(state.counters.clients.load(), 1);
  const uint64_t share =
      std::max(state.options.staging_bytes_total / (clients + 1), RoundUp(ask.value_bytes));
  const uint64_t room =
      std::min({StagingLeft(state), share - std::min(share, own), staging.bytes_max() - all});
  const uint64_t granted = RoundDown(std::min(RoundUp(ask.bytes_wanted), room));
  return granted >= ask.bytes_min ? granted : 0;
}

void CountRefused(DoorState& state, uint64_t bytes) {
  state.counters.staging_refused.fetch_add(1);
  state.counters.staging_refused_bytes.fetch_add(bytes);
}

void CountGranted(DoorState& state, uint64_t bytes) {
  state.counters.staging_bytes.fetch_add(bytes);
  state.counters.staging_granted_bytes.fetch_add(bytes);
}

absl::Status Greet(const std::shared_ptr<Session>& session, const local::MsgHeader& header,
                   std::string_view message) {
  HelloCall hello;
  if (absl::Status s = Decode(message, {}, &hello); !s.ok()) return s;
  DoorState& state = session->state();
  absl::StatusOr<Tokens::Shown> shown = CheckHello(hello, state.options);
  if (!shown.ok()) return shown.status();
  // The name is the client's: whatever it holds stays on one line.
  static auto* const limit = new LogLimit(kHelloLinesASecond);
  LogLimited(limit, LogLevel::kInfo,
             absl::StrCat("local: hello of ", absl::CHexEscape(Sv(hello.client_name)), " of ",
                          state.options.tenant),
             {{"id", RequestId(NextRequest())}});
  if (state.draining)
    return absl::UnavailableError(
        wire::Tagged(wire::ErrorId::kDraining, "draining: this gateway is stopping"));

  local::HelloOk ok{};
  ok.version = std::min(local::kVersionMax, hello.fixed.version_max);
  const uint64_t wish = StagingWish(state, hello.fixed.staging_bytes);
  const uint64_t granted = FirstStaging(state, wish, ok.version);
  const bool grows = ok.version >= local::kVersionWithGrow;
  absl::StatusOr<std::unique_ptr<StagingMemory>> staging = StagingMemory::Create(
      granted + local::kControlBytes, (grows ? wish : granted) + local::kControlBytes);
  if (!staging.ok()) return staging.status();

  ok.in_flight_max = local::kInFlightMax;
  ok.incarnation = state.namespaces->incarnation();
  ok.session = session->id();
  std::memcpy(ok.capability, session->capability().data(), sizeof(ok.capability));
  ok.staging_bytes = (*staging)->bytes().size();
  ok.lease_bytes_max = state.options.lease_bytes_max;
  ok.lease_ms = state.options.lease_ms;
  ok.leases_max = state.options.leases_max;
  std::vector<int> fds = {(*staging)->parts().front().fd};
  if (const storage::PoolExport* pool = state.store->pool_export(); pool != nullptr) {
    ok.generations = pool->GenerationsBytes() / sizeof(uint64_t);
    fds.push_back(pool->GenerationsFd());
  }
  CountGranted(state, granted);
  if (granted == 0 && wish > 0) CountRefused(state, wish);
  session->Greeted(*std::move(staging), hello.fixed.producer, ok.version, *std::move(shown));
  session->Send(MakeReply(header, header.version, absl::StatusCode::kOk, AsBytes(ok), {}),
                std::move(fds));
  return absl::OkStatus();
}

}  // namespace

absl::Status HandleHello(const std::shared_ptr<Session>& session, const local::MsgHeader& header,
                         std::string_view message) {
  const absl::Time began = session->state().clock->Now();
  const absl::Status status = Greet(session, header, message);
  if (Telemetry* telemetry = session->state().telemetry; telemetry != nullptr) {
    telemetry->RecordCall(Door::kLocal, Rpc::kHello, status.code(),
                          session->state().clock->Now() - began, 0, 0);
  }
  return status;
}

void HandleGrowStaging(std::shared_ptr<CallOf<GrowStagingCall>> call) {
  const local::GrowStaging& ask = call->asked.fixed;
  DoorState& state = call->state();
  StagingMemory& staging = call->session().staging_memory();
  const uint64_t all = staging.bytes().size();
  if (ask.have_bytes == all) {
    const uint64_t granted = MoreStaging(state, staging, ask);
    if (granted == 0) {
      CountRefused(state, ask.bytes_min);
      return call->Fail(absl::ResourceExhaustedError(
          wire::Tagged(wire::ErrorId::kStagingFull,
                       absl::StrCat("grow.bytes_min: ", ask.bytes_min,
                                    ", of which staging has no room; this client has ", all,
                                    " bytes, all clients ", state.counters.staging_bytes.load(),
                                    " of ", state.options.staging_bytes_total))));
    }
    if (absl::Status s = staging.Grow(granted); !s.ok()) return call->Fail(s);
    CountGranted(state, granted);
  }
  for (const StagingMemory::Part& part : staging.parts()) {
    if (part.offset != ask.have_bytes || part.offset == 0) continue;
    const local::GrowStagingOk ok{part.offset, part.bytes};
    return call->Reply(AsBytes(ok), {}, {part.fd});
  }
  call->Fail(absl::InvalidArgumentError(
      absl::StrCat("grow.have_bytes: ", ask.have_bytes, ", no part of staging ends there")));
}

}  // namespace kvgate::gateway
