// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gateway/core/deadline.h"
#include "gateway/core/text.h"
#include "gateway/core/validate.h"
#include "gateway/logging.h"
#include "gateway/service/grpc_call.h"
#include "gateway/service/identity_proto.h"
#include "gateway/service/messages.h"
#include "gateway/service/offer.h"
#include "gateway/service/services.h"
#include "gateway/service/wire_decode.h"
#include "gateway/service/wire_encode.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "proto/kvgate/v1/kvgate.grpc.pb.h"

namespace kvgate::gateway {
namespace {

using Context = grpc::CallbackServerContext;
using Reactor = grpc::ServerUnaryReactor;

// Get and Set see the raw bytes of their messages; the rest is generated.
using Base = v1::KvCache::WithRawCallbackMethod_Get<v1::KvCache::WithRawCallbackMethod_Set<
    v1::KvCache::WithCallbackMethod_Open<v1::KvCache::WithCallbackMethod_Lookup<
        v1::KvCache::WithCallbackMethod_Offer<v1::KvCache::WithCallbackMethod_Touch<
            v1::KvCache::WithCallbackMethod_Delete<v1::KvCache::WithCallbackMethod_Pin<
                v1::KvCache::WithCallbackMethod_Unpin<v1::KvCache::Service>>>>>>>>>;

// The slices of a message, and views of them for the decoders.
class Slices {
 public:
  absl::Status Take(const grpc::ByteBuffer& message) {
    // Dump takes references: nothing is copied.
    if (!message.Valid() || !message.Dump(&slices_).ok()) {
      return absl::InvalidArgumentError("message: its bytes cannot be read");
    }
    views_.reserve(slices_.size());
    for (const grpc::Slice& slice : slices_) {
      views_.emplace_back(reinterpret_cast<const std::byte*>(slice.begin()), slice.size());
    }
    return absl::OkStatus();
  }
  std::span<const Piece> views() const { return views_; }

 private:
  std::vector<grpc::Slice> slices_;
  std::vector<Piece> views_;
};

constexpr uint32_t kOpenLinesASecond = 10;

uint64_t BytesOf(const grpc::ByteBuffer& message) { return message.Valid() ? message.Length() : 0; }

// What an answer of `count` keys moves at most, by the identity's own sizes.
uint64_t AnswerBytes(const OpenedNamespace& ns, uint32_t group, size_t count) {
  const wire::KvGroup& kv = ns.info.identity.groups[group];
  const uint64_t value = std::min(kv.page_bytes, wire::kValueBytesMax) * kv.layer_names.size();
  return std::min(wire::kPayloadBytesMax, std::min(value, wire::kValueBytesMax) * count);
}

class KvCacheService final : public Base {
 public:
  explicit KvCacheService(const ServiceDeps& deps)
      : deps_(deps),
        unsent_(deps.unsent, deps.unsent_bytes_max),
        budget_(std::make_shared<ReceiveBudget>(deps.receive_bytes_max, deps.received)) {}

  Reactor* Open(Context* context, const v1::OpenRequest* request,
                v1::OpenResponse* response) override;
  Reactor* Lookup(Context* context, const v1::LookupRequest* request,
                  v1::LookupResponse* response) override;
  Reactor* Offer(Context* context, const v1::OfferRequest* request,
                 v1::OfferResponse* response) override;
  Reactor* Get(Context* context, const grpc::ByteBuffer* request,
               grpc::ByteBuffer* response) override;
  Reactor* Set(Context* context, const grpc::ByteBuffer* request,
               grpc::ByteBuffer* response) override;
  Reactor* Touch(Context* context, const v1::TouchRequest* request,
                 v1::TouchResponse* response) override;
  Reactor* Delete(Context* context, const v1::DeleteRequest* request,
                  v1::DeleteResponse* response) override;
  Reactor* Pin(Context* context, const v1::PinRequest* request, v1::PinResponse* response) override;
  Reactor* Unpin(Context* context, const v1::UnpinRequest* request,
                 v1::UnpinResponse* response) override;

 private:
  GrpcCallRef NewCall(Rpc rpc, Context* context, uint64_t bytes_in) {
    return std::make_shared<GrpcCall>(deps_, GrpcCall::Kind{Door::kGrpc, rpc}, context, bytes_in);
  }
  absl::Status DoOpen(const GrpcCall& call, const v1::OpenRequest& request,
                      v1::OpenResponse* response);
  absl::Status StartLookup(const GrpcCallRef& call, const v1::LookupRequest& request,
                           v1::LookupResponse* response);
  absl::Status StartGet(const GrpcCallRef& call, const grpc::ByteBuffer& request,
                        grpc::ByteBuffer* response);
  absl::Status StartSet(const GrpcCallRef& call, const grpc::ByteBuffer& request,
                        grpc::ByteBuffer* response);
  absl::Status StartDelete(const GrpcCallRef& call, const v1::DeleteRequest& request,
                           v1::DeleteResponse* response);
  absl::Status DoOffer(const GrpcCall& call, const v1::OfferRequest& request,
                       v1::OfferResponse* response);
  absl::Status DoTouch(const GrpcCall& call, const v1::TouchRequest& request,
                       v1::TouchResponse* response);
  absl::Status DoPin(const GrpcCall& call, const v1::PinRequest& request,
                     v1::PinResponse* response);

  // Runs a call that answers at once.
  template <typename Work>
  Reactor* Now(const GrpcCallRef& call, Work&& work) {
    absl::Status status = call->Admit();
    if (status.ok()) status = work();
    call->Finish(status);
    return call->reactor();
  }
  // Runs a call whose work, when it returned OK, ends the call itself.
  template <typename Work>
  Reactor* Later(const GrpcCallRef& call, Work&& work) {
    Reactor* reactor = call->reactor();
    absl::Status status = call->Admit();
    if (status.ok()) status = work();
    if (!status.ok()) call->Finish(status);
    return reactor;
  }

  const ServiceDeps deps_;
  UnsentDoor unsent_;
  const std::shared_ptr<ReceiveBudget> budget_;
};

// ---- Open ----

Reactor* KvCacheService::Open(Context* context, const v1::OpenRequest* request,
                              v1::OpenResponse* response) {
  GrpcCallRef call = NewCall(Rpc::kOpen, context, request->ByteSizeLong());
  return Later(call, [&]() -> absl::Status {
    // A new namespace is made durable: not on this thread.
    const bool taken = deps_.workers->Run(
        [this, call, request, response] { call->Finish(DoOpen(*call, *request, response)); });
    return taken ? absl::OkStatus() : absl::ResourceExhaustedError("Open: too many are waiting");
  });
}

absl::Status KvCacheService::DoOpen(const GrpcCall& call, const v1::OpenRequest& request,
                                    v1::OpenResponse* response) {
  if (request.client_name().size() > kClientNameBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("client_name: ", request.client_name().size(),
                                                   " bytes, at most ", kClientNameBytesMax,
                                                   " are allowed"));
  }
  absl::StatusOr<FeatureSet> required = FeaturesFromProto(request);
  if (!required.ok()) return required.status();
  absl::StatusOr<NamespaceRef> ns = deps_.namespaces->Open(
      call.tenant(), request.alias(), IdentityFromProto(request.identity()), *required);
  if (!ns.ok()) return ns.status();
  // The name is the client's: whatever it holds stays on one line.
  static auto* const limit = new LogLimit(kOpenLinesASecond);
  LogLimited(limit, LogLevel::kInfo,
             absl::StrCat("open by ", absl::CHexEscape(request.client_name()), " of ",
                          call.tenant(), ": namespace ", (*ns)->id()),
             {{"id", call.id()}});
  OpenToProto(**ns, *deps_.namespaces, response);
  response->set_server_version(deps_.server_version);
  if (deps_.local_socket) response->set_local_socket(deps_.local_socket(call.tenant()));
  return absl::OkStatus();
}

// ---- Lookup ----

Reactor* KvCacheService::Lookup(Context* context, const v1::LookupRequest* request,
                                v1::LookupResponse* response) {
  GrpcCallRef call = NewCall(Rpc::kLookup, context, request->ByteSizeLong());
  return Later(call, [&] { return StartLookup(call, *request, response); });
}

absl::Status KvCacheService::StartLookup(const GrpcCallRef& call, const v1::LookupRequest& request,
                                         v1::LookupResponse* response) {
  absl::StatusOr<NamespaceRef> ns = deps_.namespaces->Find(call->tenant(), request.namespace_());
  if (!ns.ok()) return ns.status();
  absl::StatusOr<storage::LookupRequest> lookup = LookupFromProto(request);
  if (!lookup.ok()) return lookup.status();
  absl::Status valid =
      ValidateLookup(**ns, {.queries = lookup->queries,
                            .shards = request.shards(),
                            .pin_ms = request.pin_ms(),
                            .stage = request.stage(),
                            .answer_by_ms = request.answer_by_ms(),
                            .recompute_ms_per_token = request.recompute_ms_per_token(),
                            .until_deadline = call->deadline() - call->arrival()});
  if (!valid.ok()) return valid;
  lookup->ns = (*ns)->id();
  if (request.stage()) {
    lookup->answer_by = EffectiveAnswerBy(call->arrival(), request.answer_by_ms(), call->deadline(),
                                          absl::ZeroDuration());
  }
  const uint32_t first_wanted = request.first_wanted_tokens();
  const double recompute_ms = request.recompute_ms_per_token();
  const bool stage = request.stage();
  call->StoreAsked();
  deps_.store->Lookup(*lookup, [call, response, first_wanted, recompute_ms,
                                stage](absl::StatusOr<storage::LookupResult> result) {
    call->StoreAnswered();
    const auto tier = call->store_read() ? storage::Tier::kDisk : storage::Tier::kMemory;
    if (stage) call->RecordWait(tier);
    if (!result.ok()) return call->Finish(result.status());
    LookupToProto(*result, response);
    response->set_advice(static_cast<v1::Advice>(AdviceFor(*result, first_wanted, recompute_ms)));
    call->Finish(absl::OkStatus());
  });
  return absl::OkStatus();
}

// ---- Get ----

Reactor* KvCacheService::Get(Context* context, const grpc::ByteBuffer* request,
                             grpc::ByteBuffer* response) {
  GrpcCallRef call = NewCall(Rpc::kGet, context, BytesOf(*request));
  return Later(call, [&] { return StartGet(call, *request, response); });
}

absl::Status KvCacheService::StartGet(const GrpcCallRef& call, const grpc::ByteBuffer& request,
                                      grpc::ByteBuffer* response) {
  Slices slices;
  DecodedGet get;
  if (absl::Status s = slices.Take(request); !s.ok()) return s;
  if (absl::Status s = get.Decode(slices.views()); !s.ok()) return s;
  absl::StatusOr<NamespaceRef> ns = deps_.namespaces->Find(call->tenant(), get.ns);
  if (!ns.ok()) return ns.status();
  absl::Status valid = ValidateGet(**ns, {.keys = get.keys,
                                          .handle = get.handle,
                                          .group = get.group,
                                          .shard = get.shard,
                                          .root = get.root,
                                          .depth = get.depth,
                                          .range_offset = get.range_offset,
                                          .range_bytes = get.range_bytes});
  if (valid.ok()) valid = CheckAnswerBy(get.answer_by_ms, call->deadline() - call->arrival());
  if (!valid.ok()) return valid;

  storage::GetRequest ask;
  ask.ns = (*ns)->id();
  const size_t count = get.handle.has_value() ? get.handle->count : get.keys.size();
  ask.keys = std::move(get.keys);
  ask.handle = get.handle;
  ask.group = static_cast<uint8_t>(get.group);
  ask.shard = static_cast<uint8_t>(get.shard);
  ask.prefix_only = get.prefix_only;
  const uint64_t answer_bytes = get.no_payload ? 0 : AnswerBytes(**ns, get.group, count);
  ask.answer_by = EffectiveAnswerBy(call->arrival(), get.answer_by_ms, call->deadline(),
                                    PredictedTransfer(answer_bytes));
  EncodeGetOptions encode = {.range_offset = get.range_offset,
                             .range_bytes = get.range_bytes,
                             .no_payload = get.no_payload,
                             .payload_bytes_max = wire::kPayloadBytesMax};
  call->StoreAsked();
  deps_.store->Get(ask, [this, call, response,
                         encode](absl::StatusOr<std::vector<storage::GetResult>> results) mutable {
    call->StoreAnswered();
    if (!results.ok()) return call->Finish(results.status());
    call->RecordWait(FarthestTier(*results));
    if (call->cancelled()) return call->Finish(absl::CancelledError("cancelled by the client"));
    // What others do not read must not keep this answer back: it has fewer values then.
    const auto grant = unsent_.Ask(call->peer(), PayloadBytes(*results, encode));
    if (!encode.no_payload) encode.payload_bytes_max = grant->bytes();
    const uint64_t sent = EncodeGetResponse(*results, encode, grant->gauge(), response);
    call->Finish(absl::OkStatus(), sent);
  });
  return absl::OkStatus();
}

// ---- Set ----

Reactor* KvCacheService::Set(Context* context, const grpc::ByteBuffer* request,
                             grpc::ByteBuffer* response) {
  GrpcCallRef call = NewCall(Rpc::kSet, context, BytesOf(*request));
  return Later(call, [&] { return StartSet(call, *request, response); });
}

absl::Status KvCacheService::StartSet(const GrpcCallRef& call, const grpc::ByteBuffer& request,
                                      grpc::ByteBuffer* response) {
  Slices slices;
  DecodedSet set;
  if (absl::Status s = slices.Take(request); !s.ok()) return s;
  if (absl::Status s = set.Decode(slices.views()); !s.ok()) return s;
  absl::StatusOr<NamespaceRef> ns = deps_.namespaces->Find(call->tenant(), set.ns);
  if (!ns.ok()) return ns.status();
  absl::Status valid = ValidateSet(**ns, {.items = set.items,
                                          .parent = set.parent,
                                          .root = set.root,
                                          .depth = set.depth,
                                          .group = set.group,
                                          .shard = set.shard});
  if (valid.ok()) valid = CheckAnswerBy(set.answer_by_ms, call->deadline() - call->arrival());
  if (!valid.ok()) return valid;
  absl::StatusOr<storage::SetMode> mode = SetModeFromWire(set.mode);
  if (!mode.ok()) return mode.status();
  absl::StatusOr<storage::Durability> durability = SetDurabilityFromWire(set.durability, **ns);
  if (!durability.ok()) return durability.status();

  // The last check: what it takes of a ticket's room stays taken.
  absl::StatusOr<std::shared_ptr<ReceiveBudget::Receipt>> receipt =
      budget_->Arrive({.bytes = request.Length(),
                       .payload_bytes = set.payload_bytes,
                       .ticket = set.ticket,
                       .producer = set.producer},
                      call->arrival());
  if (!receipt.ok()) return receipt.status();

  storage::SetRequest ask;
  ask.ns = (*ns)->id();
  ask.items = std::move(set.items);
  ask.mode = *mode;
  ask.parent = set.parent;
  ask.root = set.root;
  ask.depth = set.depth;
  ask.group = static_cast<uint8_t>(set.group);
  ask.shard = static_cast<uint8_t>(set.shard);
  ask.producer = set.producer;
  ask.ticket = set.ticket;
  ask.durability = *durability;
  ask.hints = set.hints;
  deps_.telemetry->RecordHints(set.hints);
  ask.answer_by =
      EffectiveAnswerBy(call->arrival(), set.answer_by_ms, call->deadline(), absl::ZeroDuration());
  call->StoreAsked();
  deps_.store->Set(ask, [call, response, counted = *std::move(receipt)](
                            absl::StatusOr<std::vector<storage::SetResult>> results) {
    call->StoreAnswered();
    if (!results.ok()) return call->Finish(results.status());
    v1::SetResponse message;
    SetToProto(*results, &message);
    const std::string bytes = message.SerializeAsString();
    grpc::Slice slice(bytes);
    *response = grpc::ByteBuffer(&slice, 1);
    call->Finish(absl::OkStatus(), bytes.size());
  });
  return absl::OkStatus();
}

// ---- Offer, Touch, Delete, pins ----

Reactor* KvCacheService::Offer(Context* context, const v1::OfferRequest* request,
                               v1::OfferResponse* response) {
  GrpcCallRef call = NewCall(Rpc::kOffer, context, request->ByteSizeLong());
  return Now(call, [&] { return DoOffer(*call, *request, response); });
}

absl::Status KvCacheService::DoOffer(const GrpcCall& call, const v1::OfferRequest& request,
                                     v1::OfferResponse* response) {
  absl::StatusOr<NamespaceRef> ns = deps_.namespaces->Find(call.tenant(), request.namespace_());
  if (!ns.ok()) return ns.status();
  storage::OfferRequest ask;
  ask.ns = (*ns)->id();
  ask.keys.assign(request.keys().begin(), request.keys().end());
  ask.value_bytes.assign(request.value_bytes().begin(), request.value_bytes().end());
  absl::Status valid = ValidateOffer(**ns, {.keys = ask.keys,
                                            .value_bytes = ask.value_bytes,
                                            .group = request.group(),
                                            .shard = request.shard(),
                                            .root = request.root(),
                                            .depth = request.depth()});
  if (!valid.ok()) return valid;
  ask.group = static_cast<uint8_t>(request.group());
  ask.shard = static_cast<uint8_t>(request.shard());
  ask.depth = request.depth();
  ask.producer = request.producer();
  absl::StatusOr<storage::OfferResult> result =
      OfferWithin(deps_.store, budget_.get(), std::move(ask), call.arrival());
  if (!result.ok()) return result.status();
  for (storage::OfferState state : result->states) {
    response->add_states(static_cast<v1::OfferState>(state));
  }
  response->set_ticket(result->ticket);
  return absl::OkStatus();
}

Reactor* KvCacheService::Touch(Context* context, const v1::TouchRequest* request,
                               v1::TouchResponse* response) {
  GrpcCallRef call = NewCall(Rpc::kTouch, context, request->ByteSizeLong());
  return Now(call, [&] { return DoTouch(*call, *request, response); });
}

absl::Status KvCacheService::DoTouch(const GrpcCall& call, const v1::TouchRequest& request,
                                     v1::TouchResponse* response) {
  absl::StatusOr<NamespaceRef> ns = deps_.namespaces->Find(call.tenant(), request.namespace_());
  if (!ns.ok()) return ns.status();
  if (absl::Status s = CheckKey(request.last_key(), "last_key"); !s.ok()) return s;
  if (absl::Status s = CheckGroup(**ns, request.group()); !s.ok()) return s;
  const storage::Hints hints = HintsFromProto(request.hints());
  deps_.telemetry->RecordHints(hints);
  response->set_found(deps_.store->Touch((*ns)->id(), request.last_key(),
                                         static_cast<uint8_t>(request.group()), hints));
  return absl::OkStatus();
}

Reactor* KvCacheService::Delete(Context* context, const v1::DeleteRequest* request,
                                v1::DeleteResponse* response) {
  GrpcCallRef call = NewCall(Rpc::kDelete, context, request->ByteSizeLong());
  return Later(call, [&] { return StartDelete(call, *request, response); });
}

absl::Status KvCacheService::StartDelete(const GrpcCallRef& call, const v1::DeleteRequest& request,
                                         v1::DeleteResponse* response) {
  absl::StatusOr<NamespaceRef> ns = deps_.namespaces->Find(call->tenant(), request.namespace_());
  if (!ns.ok()) return ns.status();
  storage::DeleteRequest ask;
  ask.ns = (*ns)->id();
  ask.keys.assign(request.keys().begin(), request.keys().end());
  std::optional<uint32_t> group, shard;
  if (request.has_group()) group = request.group();
  if (request.has_shard()) shard = request.shard();
  if (absl::Status s = ValidateDelete(**ns, ask.keys, group, shard); !s.ok()) return s;
  ask.group = group;
  ask.shard = shard;
  absl::StatusOr<storage::Durability> durability = DeleteDurabilityFromWire(request.durability());
  if (!durability.ok()) return durability.status();
  ask.durability = *durability;
  ask.answer_by = EffectiveAnswerBy(call->arrival(), 0, call->deadline(), absl::ZeroDuration());
  call->StoreAsked();
  deps_.store->Delete(ask, [call, response](absl::StatusOr<std::vector<bool>> found) {
    call->StoreAnswered();
    if (!found.ok()) return call->Finish(found.status());
    for (bool one : *found) response->add_found(one);
    call->Finish(absl::OkStatus());
  });
  return absl::OkStatus();
}

Reactor* KvCacheService::Pin(Context* context, const v1::PinRequest* request,
                             v1::PinResponse* response) {
  GrpcCallRef call = NewCall(Rpc::kPin, context, request->ByteSizeLong());
  return Now(call, [&] { return DoPin(*call, *request, response); });
}

absl::Status KvCacheService::DoPin(const GrpcCall& call, const v1::PinRequest& request,
                                   v1::PinResponse* response) {
  absl::StatusOr<NamespaceRef> ns = deps_.namespaces->Find(call.tenant(), request.namespace_());
  if (!ns.ok()) return ns.status();
  if (absl::Status s = CheckRenewMs(request.pin_ms()); !s.ok()) return s;
  response->set_pin_ms(deps_.store->Pin((*ns)->id(), request.pin_token(), request.pin_ms()));
  return absl::OkStatus();
}

Reactor* KvCacheService::Unpin(Context* context, const v1::UnpinRequest* request,
                               v1::UnpinResponse* response) {
  GrpcCallRef call = NewCall(Rpc::kUnpin, context, request->ByteSizeLong());
  return Now(call, [&]() -> absl::Status {
    absl::StatusOr<NamespaceRef> ns = deps_.namespaces->Find(call->tenant(), request->namespace_());
    if (!ns.ok()) return ns.status();
    response->set_found(deps_.store->Unpin((*ns)->id(), request->pin_token()));
    return absl::OkStatus();
  });
}

}  // namespace

std::shared_ptr<grpc::Service> MakeKvCacheService(const ServiceDeps& deps) {
  return std::make_shared<KvCacheService>(deps);
}

}  // namespace kvgate::gateway
