// SPDX-License-Identifier: Apache-2.0
#include "gateway/local/calls.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gateway/core/deadline.h"
#include "gateway/core/text.h"
#include "gateway/core/validate.h"
#include "gateway/local/call.h"
#include "gateway/local/codec.h"
#include "gateway/local/data_calls.h"
#include "gateway/local/greeting.h"
#include "gateway/local/protocol.h"
#include "gateway/logging.h"
#include "proto/wire/error_id.h"
#include "proto/wire/identity.h"
#include "proto/wire/key.h"

namespace kvgate::gateway {
namespace {

using wire::ErrorId;
using wire::Tagged;

using local::MsgHeader;
using local::Op;

template <typename T>
using CallRef = std::shared_ptr<CallOf<T>>;

absl::StatusOr<NamespaceRef> FindNamespace(const Call& call, uint64_t handle) {
  return call.state().namespaces->Find(call.state().options.tenant, handle);
}

template <size_t kSize>
void CopyText(std::string_view text, char (&target)[kSize]) {
  std::memcpy(target, text.data(), std::min(text.size(), kSize - 1));
}

void HandleOpen(CallRef<OpenCall> call) {
  wire::Identity identity;
  std::string error;
  if (!wire::DecodeIdentity(call->asked.identity, &identity, &error)) {
    return call->Fail(absl::InvalidArgumentError(
        Tagged(ErrorId::kBadIdentity, absl::StrCat("identity: ", error))));
  }
  const LocalDoorOptions& options = call->state().options;
  NamespaceTable& namespaces = *call->state().namespaces;
  absl::StatusOr<NamespaceRef> opened = namespaces.Open(options.tenant, call->asked.alias, identity,
                                                        call->asked.fixed.required_features);
  if (!opened.ok()) return call->Fail(opened.status());

  const OpenedNamespace& ns = **opened;
  const storage::StoreFacts& facts = namespaces.facts();
  local::OpenOk ok{};
  ok.ns = ns.handle;
  ok.incarnation = namespaces.incarnation();
  ok.features = ns.features;
  ok.value_bytes_max = wire::kValueBytesMax;
  ok.key_list_bytes_max = wire::kKeyListBytesMax;
  ok.payload_bytes_max = wire::kKeysMax * wire::kValueBytesMax;  // bounded by leases alone
  ok.disk_value_bytes_max = facts.disk_value_bytes_max;
  ok.key_bytes_max = wire::kKeyBytesMax;
  ok.keys_max = wire::kKeysMax;
  ok.lookup_keys_max = wire::kLookupKeysMax;
  ok.pin_ms_max = wire::kPinMsMax;
  ok.groups = std::min<uint32_t>(ns.group_count(), local::kGroupsMax);
  ok.default_durability = static_cast<uint8_t>(facts.default_durability);
  std::copy_n(ns.root_group_keys.begin(), ok.groups, ok.root_group_keys);
  std::memcpy(ok.identity_digest, ns.info.identity_digest.data(), sizeof(ok.identity_digest));
  CopyText(facts.disk_mode, ok.disk_mode);
  CopyText(options.server_version, ok.server_version);
  CopyText(options.socket_path, ok.local_socket);
  call->Reply(AsBytes(ok));
}

void HandleReserve(CallRef<ReserveCall> call) {
  const local::Reserve& fixed = call->asked.fixed;
  absl::StatusOr<NamespaceRef> ns = FindNamespace(*call, fixed.ns);
  if (!ns.ok()) return call->Fail(ns.status());
  const OfferArgs args{call->asked.keys, call->asked.value_bytes, fixed.group,
                       fixed.shard,      call->asked.root,        fixed.depth};
  if (absl::Status s = ValidateOffer(**ns, args); !s.ok()) return call->Fail(s);

  storage::OfferRequest request;
  request.ns = (*ns)->id();
  request.keys = call->asked.keys;
  request.value_bytes = call->asked.value_bytes;
  request.group = fixed.group;
  request.shard = fixed.shard;
  request.depth = fixed.depth;
  request.producer = fixed.producer != 0 ? fixed.producer : call->session().producer();
  absl::StatusOr<storage::OfferResult> result = call->state().store->Offer(request);
  if (!result.ok()) return call->Fail(result.status());
  const local::ReserveOk ok{result->ticket, static_cast<uint32_t>(result->states.size()), 0};
  call->Reply(AsBytes(ok),
              {reinterpret_cast<const char*>(result->states.data()), result->states.size()});
}

void HandleDelete(CallRef<DeleteCall> call) {
  const local::Delete& fixed = call->asked.fixed;
  absl::StatusOr<NamespaceRef> ns = FindNamespace(*call, fixed.ns);
  if (!ns.ok()) return call->Fail(ns.status());
  std::optional<uint32_t> group, shard;
  if (fixed.group >= 0) group = static_cast<uint32_t>(fixed.group);
  if (fixed.shard >= 0) shard = static_cast<uint32_t>(fixed.shard);
  if (absl::Status s = ValidateDelete(**ns, call->asked.keys, group, shard); !s.ok()) {
    return call->Fail(s);
  }
  absl::StatusOr<storage::Durability> durability = DeleteDurabilityFromWire(fixed.durability);
  if (!durability.ok()) return call->Fail(durability.status());

  storage::DeleteRequest request;
  request.ns = (*ns)->id();
  request.keys = call->asked.keys;
  if (group) request.group = static_cast<uint8_t>(*group);
  if (shard) request.shard = static_cast<uint8_t>(*shard);
  request.durability = *durability;
  request.answer_by = EffectiveAnswerBy(call->arrival(), 0, call->deadline(), absl::ZeroDuration());
  call->state().store->Delete(request, [call](absl::StatusOr<std::vector<bool>> found) {
    if (!found.ok()) return call->Fail(found.status());
    const local::DeleteOk ok{static_cast<uint32_t>(found->size()), 0};
    call->Reply(AsBytes(ok), std::string(found->begin(), found->end()));
  });
}

void HandleTouch(CallRef<TouchCall> call) {
  const local::Touch& fixed = call->asked.fixed;
  absl::StatusOr<NamespaceRef> ns = FindNamespace(*call, fixed.ns);
  if (!ns.ok()) return call->Fail(ns.status());
  if (absl::Status s = CheckKey(call->asked.key, "last_key"); !s.ok()) return call->Fail(s);
  if (absl::Status s = CheckGroup(**ns, fixed.group); !s.ok()) return call->Fail(s);
  const storage::Hints hints{fixed.hints.prompt_tokens, fixed.hints.output_tokens, fixed.hints.turn,
                             fixed.hints.finished != 0};
  if (Telemetry* telemetry = call->state().telemetry; telemetry != nullptr) {
    telemetry->RecordHints(hints);
  }
  const bool found = call->state().store->Touch((*ns)->id(), call->asked.key, fixed.group, hints);
  const local::TouchOk ok{found ? 1u : 0u, 0};
  call->Reply(AsBytes(ok));
}

void HandlePin(CallRef<PinCall> call) {
  const local::Pin& fixed = call->asked.fixed;
  absl::StatusOr<NamespaceRef> ns = FindNamespace(*call, fixed.ns);
  if (!ns.ok()) return call->Fail(ns.status());
  if (absl::Status s = CheckRenewMs(fixed.pin_ms); !s.ok()) return call->Fail(s);
  const local::PinOk ok{call->state().store->Pin((*ns)->id(), fixed.pin_token, fixed.pin_ms), 0};
  call->Reply(AsBytes(ok));
}

void HandleUnpin(CallRef<UnpinCall> call) {
  const local::Unpin& fixed = call->asked.fixed;
  absl::StatusOr<NamespaceRef> ns = FindNamespace(*call, fixed.ns);
  if (!ns.ok()) return call->Fail(ns.status());
  call->session().RemovePin(fixed.pin_token);
  const bool found = call->state().store->Unpin((*ns)->id(), fixed.pin_token);
  const local::UnpinOk ok{found ? 1u : 0u, 0};
  call->Reply(AsBytes(ok));
}

void HandleExtent(CallRef<ExtentCall> call) {
  const local::Extent& fixed = call->asked.fixed;
  if (std::memcmp(fixed.capability, call->session().capability().data(),
                  sizeof(fixed.capability)) != 0) {
    return call->Fail(absl::PermissionDeniedError("extent.capability: not that of this session"));
  }
  const storage::PoolExport* pool = call->state().store->pool_export();
  const int fd = pool == nullptr ? -1 : pool->ExtentFd(fixed.extent);
  if (fd < 0) {
    return call->Fail(absl::NotFoundError(absl::StrCat("extent: there is no ", fixed.extent)));
  }
  const local::ExtentOk ok{pool->ExtentBytes(fixed.extent), fixed.extent, 0};
  call->Reply(AsBytes(ok), {}, {fd});
}

// Where a call runs: lookups of long chains, copies and what may touch the disk leave the epoll
// thread.
template <typename T>
bool LeavesEpollThread(const T&) {
  return std::is_same_v<T, OpenCall> || std::is_same_v<T, CommitCall> ||
         std::is_same_v<T, DeleteCall>;
}
bool LeavesEpollThread(const LookupCall& call) {
  size_t keys = 0;
  for (const auto& list : call.keys) keys += list.size();
  return keys > 4096;
}

// Bytes of a body that was copied out of staging.
template <typename T>
uint64_t CopiedBytes(const T& call) {
  if constexpr (requires { call.body_copy; }) return call.body_copy.size();
  return 0;
}

void FailNow(Session& session, const MsgHeader& header, const absl::Status& status) {
  session.Send(MakeErrorReply(header, header.version, status));
}

// Takes a place among the calls in flight, or answers why not.
bool Admit(Session& session, const MsgHeader& header) {
  if (session.state().draining) {
    FailNow(
        session, header,
        absl::UnavailableError(Tagged(ErrorId::kDraining, "draining: this gateway is stopping")));
    return false;
  }
  if (header.timeout_us == 0) {
    FailNow(session, header, absl::DeadlineExceededError("timeout_us: 0, the deadline is over"));
    return false;
  }
  if (session.TryBeginCall()) return true;
  session.state().counters.overloaded.fetch_add(1);
  FailNow(session, header,
          absl::ResourceExhaustedError(Tagged(
              ErrorId::kOverloaded,
              absl::StrCat("calls in flight: more than ", local::kInFlightMax, " of one client"))));
  return false;
}

template <typename T>
void RunCall(const CallRef<T>& call, void (*handle)(CallRef<T>)) {
  if (call->expired()) {
    return call->Fail(absl::DeadlineExceededError("the deadline passed before the call began"));
  }
  handle(call);
}

template <typename T>
absl::Status Start(const std::shared_ptr<Session>& session, const MsgHeader& header,
                   std::string_view message, Rpc rpc, bool recorded, void (*handle)(CallRef<T>)) {
  if (!Admit(*session, header)) return absl::OkStatus();
  auto call = std::make_shared<CallOf<T>>(session, header, std::string(message), rpc, recorded);
  if (absl::Status s = Decode(call->message(), session->staging(), &call->asked); !s.ok()) {
    call->Disown();
    return s;
  }
  if (!call->ChargeMemory(call->message().size() + CopiedBytes(call->asked))) {
    session->state().counters.overloaded.fetch_add(1);
    call->Fail(absl::ResourceExhaustedError(
        absl::StrCat("requests in flight: their memory is above request_bytes_max, ",
                     session->state().options.request_bytes_max, " bytes; try again")));
  } else if (!LeavesEpollThread(call->asked)) {
    RunCall(call, handle);
  } else if (!session->state().work->Post([call, handle] { RunCall(call, handle); })) {
    call->Fail(
        absl::UnavailableError(Tagged(ErrorId::kDraining, "draining: this gateway is stopping")));
  }
  return absl::OkStatus();
}

absl::Status HandleRelease(Session& session, std::string_view message) {
  ReleaseCall release;
  if (absl::Status s = Decode(message, {}, &release); !s.ok()) return s;
  for (uint64_t lease : release.leases) session.ReleaseLease(lease);
  return absl::OkStatus();
}

absl::Status HandlePing(Session& session, const MsgHeader& header, std::string_view message) {
  if (absl::Status s = DecodeEmpty(message); !s.ok()) return s;
  if (session.state().draining) {
    FailNow(
        session, header,
        absl::UnavailableError(Tagged(ErrorId::kDraining, "draining: this gateway is stopping")));
    return absl::OkStatus();
  }
  session.Send(MakeReply(header, header.version, absl::StatusCode::kOk, {}, {}));
  return absl::OkStatus();
}

absl::Status Dispatch(const std::shared_ptr<Session>& session, const MsgHeader& header,
                      std::string_view message) {
  switch (static_cast<Op>(header.op)) {
    case Op::kOpen:
      return Start<OpenCall>(session, header, message, Rpc::kOpen, true, HandleOpen);
    case Op::kLookup:
      return Start<LookupCall>(session, header, message, Rpc::kLookup, true, HandleLookup);
    case Op::kReserve:
      return Start<ReserveCall>(session, header, message, Rpc::kOffer, true, HandleReserve);
    case Op::kCommit:
      return Start<CommitCall>(session, header, message, Rpc::kSet, true, HandleCommit);
    case Op::kGet:
      return Start<GetCall>(session, header, message, Rpc::kGet, true, HandleGet);
    case Op::kDelete:
      return Start<DeleteCall>(session, header, message, Rpc::kDelete, true, HandleDelete);
    case Op::kTouch:
      return Start<TouchCall>(session, header, message, Rpc::kTouch, true, HandleTouch);
    case Op::kPin:
      return Start<PinCall>(session, header, message, Rpc::kPin, true, HandlePin);
    case Op::kUnpin:
      return Start<UnpinCall>(session, header, message, Rpc::kUnpin, true, HandleUnpin);
    case Op::kExtent:
      return Start<ExtentCall>(session, header, message, Rpc::kHello, false, HandleExtent);
    case Op::kRelease:
      return HandleRelease(*session, message);
    case Op::kPing:
      return HandlePing(*session, header, message);
    case Op::kGrowStaging:
      return Start<GrowStagingCall>(session, header, message, Rpc::kHello, false,
                                    HandleGrowStaging);
    case Op::kBye:
      return absl::CancelledError("BYE");
    case Op::kHello:
      break;
  }
  return absl::InvalidArgumentError("local message: op: 1 (HELLO) on a greeted connection");
}

}  // namespace

void RefuseMessage(Session& session, const absl::Status& status) {
  const MsgHeader header{};
  session.Send(MakeErrorReply(header, session.version(), status));
}

absl::Status HandleMessage(const std::shared_ptr<Session>& session, std::string_view message) {
  MsgHeader header{};
  absl::Status status = DecodeHeader(message, session->version(), &header);
  if (status.ok()) {
    const bool hello = header.op == static_cast<uint16_t>(Op::kHello);
    if (session->greeted()) {
      status = Dispatch(session, header, message);
    } else if (hello) {
      status = HandleHello(session, header, message);
    } else {
      status = absl::InvalidArgumentError(
          absl::StrCat("local message: op: ", header.op, " before HELLO, must be 1"));
    }
  }
  if (!status.ok() && !absl::IsCancelled(status)) {
    header.version = session->version();
    FailNow(*session, header, status);
  }
  return status;
}

}  // namespace kvgate::gateway
