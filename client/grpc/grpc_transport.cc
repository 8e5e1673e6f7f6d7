// SPDX-License-Identifier: Apache-2.0
#include "client/grpc/grpc_transport.h"

#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/byte_buffer.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>

#include "client/grpc/messages.h"
#include "client/grpc/payload.h"
#include "client/grpc/shared_blocks.h"
#include "proto/kvgate/v1/kvgate.pb.h"
#include "proto/wire/key.h"

namespace kvgate::client {
namespace {

#define KVGATE_METHOD(name) "/kvgate.v1.KvCache/" name

template <typename Message>
grpc::ByteBuffer Serialized(const Message& message) {
  grpc::ByteBuffer buffer;
  bool own = false;
  // Cannot fail: it is written to memory.
  (void)grpc::SerializationTraits<Message>::Serialize(message, &buffer, &own);
  return buffer;
}

Outcome Malformed(const char* what) {
  return Outcome{wire::Code::kInternal, true, std::string(what) + " does not parse"};
}

class GrpcTransport final : public Transport {
 public:
  GrpcTransport(std::unique_ptr<GrpcConnection> connection, const Options& options)
      : client_name_(options.client_name),
        producer_(options.producer),
        connection_(std::move(connection)) {}

  const char* name() const override { return "grpc"; }
  bool broken() const override { return connection_->broken(); }
  uint64_t incarnation() const override { return incarnation_.load(std::memory_order_relaxed); }

  Outcome Open(const OpenRequest& request, Deadline deadline, OpenReply* reply) override;
  Outcome Lookup(const LookupRequest& request, Deadline deadline, LookupReply* reply) override;
  Outcome Get(const GetRequest& request, Deadline deadline, std::span<const uint8_t> verify,
              std::span<GetResult> results) override;
  Outcome Set(const SetRequest& request, Deadline deadline, std::span<SetResult> results) override;
  Outcome Offer(const OfferRequest& request, Deadline deadline, OfferReply* reply) override;
  Outcome Delete(const DeleteRequest& request, Deadline deadline, std::span<bool> found) override;
  Outcome Touch(uint64_t ns, std::string_view last_key, uint8_t group, const Hints& hints,
                Deadline deadline) override;
  Outcome Pin(uint64_t ns, uint64_t token, uint32_t pin_ms, Deadline deadline,
              uint32_t* granted_ms) override;
  Outcome Unpin(uint64_t ns, uint64_t token, Deadline deadline) override;
  Outcome Ping(Deadline deadline) override;

  std::byte* AllocStaging(size_t bytes) override { return blocks_.Alloc(bytes); }
  bool OwnsStaging(const std::byte* memory) const override {
    return blocks_.Find(memory, 1) != nullptr;
  }
  void FreeStaging(std::byte* memory) override { blocks_.Free(memory); }

 private:
  template <typename Request, typename Response>
  Outcome Call(const char* method, const Request& request, Deadline deadline, Response* response) {
    grpc::ByteBuffer sent = Serialized(request);
    grpc::ByteBuffer received;
    Outcome outcome = connection_->Call(method, &sent, deadline, &received);
    if (!outcome.ok()) return outcome;
    if (!grpc::SerializationTraits<Response>::Deserialize(&received, response).ok()) {
      return Malformed(method);
    }
    return outcome;
  }

  // Constant.
  const std::string client_name_;
  const uint64_t producer_;

  // Self-synchronised.
  const std::unique_ptr<GrpcConnection> connection_;
  SharedBlocks blocks_;
  std::atomic<uint64_t> incarnation_{0};
};

Outcome GrpcTransport::Open(const OpenRequest& request, Deadline deadline, OpenReply* reply) {
  v1::OpenRequest sent;
  std::string error;
  if (!ToIdentity(request.identity, sent.mutable_identity(), &error)) {
    return Outcome{wire::Code::kInvalidArgument, false, error};
  }
  for (int feature = 0; feature < 64; ++feature) {
    if ((request.required_features >> feature & 1) == 0) continue;
    sent.add_required_features(static_cast<v1::Feature>(feature));
  }
  sent.set_client_name(client_name_);
  sent.set_alias(request.alias);
  v1::OpenResponse response;
  Outcome outcome = Call(KVGATE_METHOD("Open"), sent, deadline, &response);
  if (!outcome.ok()) return outcome;
  *reply = FromOpen(response);
  incarnation_.store(reply->incarnation, std::memory_order_relaxed);
  return outcome;
}

Outcome GrpcTransport::Lookup(const LookupRequest& request, Deadline deadline, LookupReply* reply) {
  v1::LookupResponse response;
  Outcome outcome = Call(KVGATE_METHOD("Lookup"), ToLookup(request), deadline, &response);
  if (outcome.ok()) *reply = FromLookup(response);
  return outcome;
}

Outcome GrpcTransport::Get(const GetRequest& request, Deadline deadline,
                           std::span<const uint8_t> verify, std::span<GetResult> results) {
  grpc::ByteBuffer sent = Serialized(ToGet(request));
  grpc::ByteBuffer received;
  Outcome outcome = connection_->Call(KVGATE_METHOD("Get"), &sent, deadline, &received);
  if (!outcome.ok()) return outcome;
  return ReadGetMessage(received, deadline, request.targets, verify, results);
}

Outcome GrpcTransport::Set(const SetRequest& request, Deadline deadline,
                           std::span<SetResult> results) {
  v1::SetRequest head = ToSetHead(request);
  if (head.producer() == 0) head.set_producer(producer_);
  for (const v1::SetEntry& entry : head.entries()) {
    // gRPC itself would refuse the message without naming the field.
    if (entry.value_bytes() <= wire::kValueBytesMax) continue;
    return Outcome{wire::Code::kInvalidArgument, false,
                   "value_bytes: " + std::to_string(entry.value_bytes()) +
                       " is over the limit of " + std::to_string(wire::kValueBytesMax)};
  }
  grpc::ByteBuffer sent = BuildSetMessage(head.SerializeAsString(), request.entries, blocks_);
  grpc::ByteBuffer received;
  Outcome outcome = connection_->Call(KVGATE_METHOD("Set"), &sent, deadline, &received);
  if (!outcome.ok()) return outcome;
  v1::SetResponse response;
  if (!grpc::SerializationTraits<v1::SetResponse>::Deserialize(&received, &response).ok() ||
      static_cast<size_t>(response.results_size()) != results.size()) {
    return Malformed("SetResponse");
  }
  std::transform(response.results().begin(), response.results().end(), results.begin(),
                 FromSetResult);
  return outcome;
}

Outcome GrpcTransport::Offer(const OfferRequest& request, Deadline deadline, OfferReply* reply) {
  v1::OfferResponse response;
  Outcome outcome = Call(KVGATE_METHOD("Offer"), ToOffer(request, producer_), deadline, &response);
  if (!outcome.ok()) return outcome;
  reply->states.assign(response.states().begin(), response.states().end());
  reply->ticket = response.ticket();
  return outcome;
}

Outcome GrpcTransport::Delete(const DeleteRequest& request, Deadline deadline,
                              std::span<bool> found) {
  v1::DeleteResponse response;
  Outcome outcome = Call(KVGATE_METHOD("Delete"), ToDelete(request), deadline, &response);
  if (!outcome.ok()) return outcome;
  if (static_cast<size_t>(response.found_size()) != found.size()) {
    return Malformed("DeleteResponse");
  }
  std::copy(response.found().begin(), response.found().end(), found.begin());
  return outcome;
}

Outcome GrpcTransport::Touch(uint64_t ns, std::string_view last_key, uint8_t group,
                             const Hints& hints, Deadline deadline) {
  v1::TouchRequest sent;
  sent.set_namespace_(ns);
  sent.set_last_key(last_key.data(), last_key.size());
  sent.set_group(group);
  ToHints(hints, sent.mutable_hints());
  v1::TouchResponse response;
  return Call(KVGATE_METHOD("Touch"), sent, deadline, &response);
}

Outcome GrpcTransport::Pin(uint64_t ns, uint64_t token, uint32_t pin_ms, Deadline deadline,
                           uint32_t* granted_ms) {
  v1::PinRequest sent;
  sent.set_namespace_(ns);
  sent.set_pin_token(token);
  sent.set_pin_ms(pin_ms);
  v1::PinResponse response;
  Outcome outcome = Call(KVGATE_METHOD("Pin"), sent, deadline, &response);
  if (outcome.ok()) *granted_ms = response.pin_ms();
  return outcome;
}

Outcome GrpcTransport::Unpin(uint64_t ns, uint64_t token, Deadline deadline) {
  v1::UnpinRequest sent;
  sent.set_namespace_(ns);
  sent.set_pin_token(token);
  v1::UnpinResponse response;
  return Call(KVGATE_METHOD("Unpin"), sent, deadline, &response);
}

// The health service answers for the whole server; a server without it is alive too.
Outcome GrpcTransport::Ping(Deadline deadline) {
  grpc::Slice nothing;
  grpc::ByteBuffer sent(&nothing, 1);
  grpc::ByteBuffer received;
  Outcome outcome = connection_->Call("/grpc.health.v1.Health/Check", &sent, deadline, &received);
  if (outcome.code == wire::Code::kUnimplemented) return Outcome{wire::Code::kOk, true, ""};
  return outcome;
}

}  // namespace

std::unique_ptr<Transport> MakeGrpcTransport(std::unique_ptr<GrpcConnection> connection,
                                             const Options& options) {
  return std::make_unique<GrpcTransport>(std::move(connection), options);
}

}  // namespace kvgate::client
