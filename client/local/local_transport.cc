// SPDX-License-Identifier: Apache-2.0
#include "client/local/local_transport.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "client/local/codec.h"
#include "proto/wire/error_id.h"
#include "proto/wire/key.h"

namespace kvgate::client {
namespace {

using local::BodyRef;
using local::Op;

constexpr int64_t kNsPerMs = 1'000'000;
constexpr int64_t kGrowPauseNs = 1'000'000'000;

size_t MessageBytes(size_t fixed, size_t body) { return sizeof(local::MsgHeader) + fixed + body; }

local::Hello HelloOf(const Options& options) {
  local::Hello hello{};
  hello.version_min = local::kVersionMin;
  hello.version_max = local::kVersionMax;
  hello.producer = options.producer;
  hello.staging_bytes = std::min(options.staging_bytes, local::kStagingBytesMax);
  std::memcpy(hello.client_name, options.client_name.data(),
              std::min(options.client_name.size(), sizeof(hello.client_name) - 1));
  if (options.token.size() <= sizeof(hello.token)) {
    std::memcpy(hello.token, options.token.data(), options.token.size());
  } else {
    hello.token_bytes = static_cast<uint32_t>(options.token.size());
  }
  return hello;
}

Outcome Unusable(std::string what) {
  return Outcome{wire::Code::kUnavailable, true,
                 wire::Tagged(wire::ErrorId::kConnectionLost, "local door: " + std::move(what))};
}

// What HELLO gave.
struct Greeting {
  local::HelloOk ok{};
  std::shared_ptr<StagingArena> staging;
  Mapping generations;
};

Outcome Greet(Channel& channel, const Options& options, Deadline deadline, Greeting* greeting) {
  const local::Hello hello = HelloOf(options);
  const std::string_view long_token = hello.token_bytes > 0 ? options.token : std::string_view();
  const std::string_view parts[] = {StructBytes(hello), long_token};
  Reply reply;
  Outcome outcome = channel.Call(Op::kHello, parts, deadline, nullptr, &reply);
  if (!outcome.ok()) return outcome;
  std::string_view rest = reply.rest();
  local::HelloOk& ok = greeting->ok;
  if (!TakeStruct(&rest, &ok) || !rest.empty() || reply.fds.empty() || ok.in_flight_max == 0) {
    return Unusable("an invalid HELLO reply");
  }
  if (ok.version < local::kVersionMin || ok.version > local::kVersionMax) {
    return Unusable("version " + std::to_string(ok.version) + " was chosen");
  }
  const uint64_t most = ok.version >= local::kVersionWithGrow
                            ? hello.staging_bytes + local::kStagingGranule + local::kControlBytes
                            : ok.staging_bytes;
  greeting->staging =
      StagingArena::Map(reply.fds[0].get(), ok.staging_bytes, local::kControlBytes, most);
  if (!greeting->staging) return Unusable("cannot map the staging memory");
  if (ok.generations > 0) {
    if (reply.fds.size() != 2 || ok.generations > (uint64_t{1} << 40)) {
      return Unusable("an invalid HELLO reply");
    }
    greeting->generations =
        Mapping::Of(reply.fds[1].get(), ok.generations * sizeof(uint64_t), /*writable=*/false);
    if (greeting->generations.bytes().empty()) return Unusable("cannot map the generations");
  }
  return outcome;
}

}  // namespace

std::unique_ptr<LocalTransport> LocalTransport::Connect(const Options& options, Deadline deadline,
                                                        const LocalHooks& hooks, Outcome* outcome) {
  deadline = std::min(deadline, MonotonicNs() + options.connect_timeout_ms * kNsPerMs);
  std::unique_ptr<Channel> channel = Channel::Connect(options.local_socket, deadline, outcome);
  if (!channel) return nullptr;
  Greeting greeting;
  *outcome = Greet(*channel, options, deadline, &greeting);
  if (!outcome->ok()) return nullptr;
  channel->Agree(greeting.ok.version, greeting.ok.in_flight_max);
  PoolView::Capability capability;
  std::memcpy(capability.data(), greeting.ok.capability, capability.size());
  auto pool =
      std::make_shared<PoolView>(channel.get(), capability, std::move(greeting.generations));
  return std::unique_ptr<LocalTransport>(new LocalTransport(
      std::move(channel), std::move(greeting.staging), std::move(pool), greeting.ok, hooks));
}

LocalTransport::LocalTransport(std::unique_ptr<Channel> channel,
                               std::shared_ptr<StagingArena> arena, std::shared_ptr<PoolView> pool,
                               const local::HelloOk& hello, const LocalHooks& hooks)
    : channel_(std::move(channel)),
      arena_(std::move(arena)),
      incarnation_(hello.incarnation),
      can_grow_(hello.version >= local::kVersionWithGrow),
      hooks_(hooks),
      pool_(std::move(pool)) {}

LocalTransport::~LocalTransport() = default;

std::shared_ptr<PoolView> LocalTransport::pool() {
  std::shared_ptr<PoolView> dropped;  // unmapped outside the lock
  MutexLock lock(mutex_);
  if (broken()) dropped.swap(pool_);
  return pool_;
}

void LocalTransport::Retire() {
  channel_->Break("this attachment was given up");
  std::shared_ptr<PoolView> dropped;  // unmapped outside the lock
  MutexLock lock(mutex_);
  dropped.swap(pool_);
  if (dropped) dropped->Void();
}

Outcome LocalTransport::ProtocolError(std::string what) {
  channel_->Break("an invalid reply: " + what);
  return Unusable("an invalid reply: " + std::move(what));
}

Outcome LocalTransport::CallWithBody(Op op, void* fixed, size_t fixed_bytes, BodyRef* ref,
                                     std::string_view body, Deadline deadline,
                                     std::vector<StagingArena::Part> held, Reply* reply) {
  const std::string_view fixed_view(static_cast<const char*>(fixed), fixed_bytes);
  *ref = BodyRef{0, static_cast<uint32_t>(body.size()), 0};
  if (MessageBytes(fixed_bytes, body.size()) <= local::kMessageBytesMax) {
    const std::string_view parts[] = {fixed_view, body};
    return channel_->Call(op, parts, deadline, &held, reply);
  }
  std::optional<StagingArena::Part> part = arena_->AllocControl(body.size());
  if (!part) {
    return Outcome{
        wire::Code::kResourceExhausted, false,
        wire::Tagged(wire::ErrorId::kStagingFull, "no staging memory for a request of " +
                                                      std::to_string(body.size()) + " bytes")};
  }
  std::memcpy(part->data(), body.data(), body.size());
  ref->offset = part->offset();
  ref->in_staging = 1;
  held.push_back(*std::move(part));
  const std::string_view parts[] = {fixed_view};
  return channel_->Call(op, parts, deadline, &held, reply);
}

template <typename Fixed>
Outcome LocalTransport::CallFixed(Op op, const Fixed& fixed, std::string_view tail,
                                  Deadline deadline, Reply* reply) {
  const std::string_view parts[] = {StructBytes(fixed), tail};
  return channel_->Call(op, parts, deadline, nullptr, reply);
}

Outcome LocalTransport::Open(const OpenRequest& request, Deadline deadline, OpenReply* reply) {
  if (request.identity.size() + request.alias.size() > local::kBodyBytesMax) {
    return InvalidArgument("identity: " + std::to_string(request.identity.size()) + " bytes");
  }
  local::Open open{};
  open.required_features = request.required_features;
  open.identity_bytes = static_cast<uint32_t>(request.identity.size());
  open.alias_bytes = static_cast<uint32_t>(request.alias.size());
  Reply answer;
  Outcome outcome = CallWithBody(Op::kOpen, &open, sizeof(open), &open.body,
                                 request.identity + request.alias, deadline, {}, &answer);
  if (!outcome.ok()) return outcome;
  std::string_view rest = answer.rest();
  local::OpenOk ok;
  if (!TakeStruct(&rest, &ok) || !rest.empty()) return ProtocolError("OPEN");
  ReadOpen(ok, reply);
  MutexLock lock(mutex_);
  root_group_keys_[reply->ns_handle] = reply->root_group_keys;
  return outcome;
}

uint32_t LocalTransport::RootGroupKeys(uint64_t ns, uint32_t group) const {
  MutexLock lock(mutex_);
  const auto found = root_group_keys_.find(ns);
  if (found == root_group_keys_.end() || group >= found->second.size()) return 0;
  return found->second[group];
}

Outcome LocalTransport::Lookup(const LookupRequest& request, Deadline deadline,
                               LookupReply* reply) {
  if (request.queries.size() > local::kGroupsMax) {
    return InvalidArgument("queries: " + std::to_string(request.queries.size()) + ", at most " +
                           std::to_string(local::kGroupsMax) + " are allowed");
  }
  local::Lookup lookup{};
  std::string body;
  size_t keys = 0;
  for (const GroupQuery& query : request.queries) {
    if (Outcome o = CheckKeyList(query.keys, wire::kLookupKeysMax); !o.ok()) return o;
    keys += query.keys.size();
    const local::QueryWire wire_query{query.group,
                                      query.match,
                                      query.window_blocks,
                                      query.block_tokens,
                                      static_cast<uint32_t>(query.keys.size()),
                                      0};
    body.append(StructBytes(wire_query));
  }
  for (const GroupQuery& query : request.queries) AppendKeys(query.keys, &body);
  if (keys > wire::kLookupKeysMax || body.size() > local::kBodyBytesMax) {
    return InvalidArgument("queries.keys: " + std::to_string(keys) + " keys in " +
                           std::to_string(body.size()) + " bytes, at most 65536 in 4 MiB");
  }
  lookup.ns = request.ns;
  lookup.recompute_ms_per_token = request.recompute_ms_per_token;
  lookup.first_wanted_tokens = request.first_wanted_tokens;
  lookup.shards = request.shards;
  lookup.pin_ms = request.pin_ms;
  lookup.stage = request.stage ? 1 : 0;
  lookup.answer_by_ms = request.answer_by_ms;
  lookup.queries = static_cast<uint32_t>(request.queries.size());

  // An answer that might not fit a message needs room in staging.
  std::vector<StagingArena::Part> held;
  const uint64_t longest = LookupAnswerBytesMax(request);
  if (MessageBytes(sizeof(local::LookupOk), longest) > local::kMessageBytesMax) {
    std::optional<StagingArena::Part> room = arena_->AllocControl(longest);
    if (room) {
      lookup.answer = {room->offset(), longest};
      held.push_back(*std::move(room));
    }
  }
  // A late answer may still be written there, so a hold of our own would end too early: the call
  // keeps `held`, and gives it back only with the reply.
  const uint64_t answer_offset = lookup.answer.offset;
  std::optional<StagingArena::Part> reading;
  if (!held.empty()) reading = arena_->HoldOf(arena_->At(answer_offset, longest));
  Reply answer;
  Outcome outcome = CallWithBody(Op::kLookup, &lookup, sizeof(lookup), &lookup.body, body, deadline,
                                 std::move(held), &answer);
  if (!outcome.ok()) return outcome;
  std::string_view rest = answer.rest();
  local::LookupOk ok;
  if (!TakeStruct(&rest, &ok)) return ProtocolError("LOOKUP");
  std::string copy;
  if (ok.body_in_region != 0) {
    if (!reading || !rest.empty() || ok.body_bytes > longest) return ProtocolError("LOOKUP");
    copy.assign(reinterpret_cast<const char*>(reading->data()), ok.body_bytes);
    rest = copy;
  }
  if (rest.size() != ok.body_bytes || !ReadLookup(ok, rest, reply)) {
    return ProtocolError("LOOKUP");
  }
  return outcome;
}

Outcome LocalTransport::Offer(const OfferRequest& request, Deadline deadline, OfferReply* reply) {
  if (Outcome o = CheckKeyList(request.keys, wire::kKeysMax); !o.ok()) return o;
  if (Outcome o = CheckKeyBytes(request.root, "root"); !o.ok()) return o;
  if (request.value_bytes.size() != request.keys.size()) {
    return InvalidArgument("value_bytes: " + std::to_string(request.value_bytes.size()) +
                           " lengths for " + std::to_string(request.keys.size()) + " keys");
  }
  local::Reserve reserve{};
  reserve.ns = request.ns;
  reserve.count = static_cast<uint32_t>(request.keys.size());
  reserve.depth = request.depth;
  reserve.group = request.group;
  reserve.shard = request.shard;
  reserve.root_bytes = static_cast<uint16_t>(request.root.size());
  std::string body(reinterpret_cast<const char*>(request.value_bytes.data()),
                   request.value_bytes.size_bytes());
  body.append(request.root);
  AppendKeys(request.keys, &body);
  Reply answer;
  Outcome outcome = CallWithBody(Op::kReserve, &reserve, sizeof(reserve), &reserve.body, body,
                                 deadline, {}, &answer);
  if (!outcome.ok()) return outcome;
  std::string_view rest = answer.rest();
  local::ReserveOk ok;
  if (!TakeStruct(&rest, &ok) || ok.count != reserve.count || rest.size() != ok.count) {
    return ProtocolError("RESERVE");
  }
  reply->states.assign(rest.begin(), rest.end());
  reply->ticket = ok.ticket;
  return outcome;
}

Outcome LocalTransport::Delete(const DeleteRequest& request, Deadline deadline,
                               std::span<bool> found) {
  if (Outcome o = CheckKeyList(request.keys, wire::kKeysMax); !o.ok()) return o;
  local::Delete ask{};
  ask.ns = request.ns;
  ask.count = static_cast<uint32_t>(request.keys.size());
  ask.group = request.group ? static_cast<int16_t>(*request.group) : int16_t{-1};
  ask.shard = request.shard ? static_cast<int16_t>(*request.shard) : int16_t{-1};
  ask.durability = request.durability;
  std::string body;
  AppendKeys(request.keys, &body);
  Reply answer;
  Outcome outcome =
      CallWithBody(Op::kDelete, &ask, sizeof(ask), &ask.body, body, deadline, {}, &answer);
  if (!outcome.ok()) return outcome;
  std::string_view rest = answer.rest();
  local::DeleteOk ok;
  if (!TakeStruct(&rest, &ok) || ok.count != ask.count || rest.size() != ok.count) {
    return ProtocolError("DELETE");
  }
  for (size_t i = 0; i < std::min(found.size(), rest.size()); ++i) found[i] = rest[i] != 0;
  return outcome;
}

Outcome LocalTransport::Touch(uint64_t ns, std::string_view last_key, uint8_t group,
                              const Hints& hints, Deadline deadline) {
  if (Outcome o = CheckKeyBytes(last_key, "last_key"); !o.ok()) return o;
  local::Touch touch{};
  touch.ns = ns;
  touch.hints = WireHints(hints);
  touch.group = group;
  touch.key_bytes = static_cast<uint16_t>(last_key.size());
  Reply reply;
  return CallFixed(Op::kTouch, touch, last_key, deadline, &reply);
}

Outcome LocalTransport::Pin(uint64_t ns, uint64_t token, uint32_t pin_ms, Deadline deadline,
                            uint32_t* granted_ms) {
  Reply reply;
  Outcome outcome = CallFixed(Op::kPin, local::Pin{ns, token, pin_ms, 0}, {}, deadline, &reply);
  if (!outcome.ok()) return outcome;
  std::string_view rest = reply.rest();
  local::PinOk ok;
  if (!TakeStruct(&rest, &ok)) return ProtocolError("PIN");
  *granted_ms = ok.pin_ms;
  return outcome;
}

Outcome LocalTransport::Unpin(uint64_t ns, uint64_t token, Deadline deadline) {
  Reply reply;
  return CallFixed(Op::kUnpin, local::Unpin{ns, token}, {}, deadline, &reply);
}

Outcome LocalTransport::Ping(Deadline deadline) {
  Reply reply;
  return channel_->Call(Op::kPing, {}, deadline, nullptr, &reply);
}

std::byte* LocalTransport::AllocStaging(size_t bytes) {
  if (broken()) return nullptr;
  std::byte* memory = arena_->AllocOwned(bytes);
  // Asking the daemon would wait for it: the next Set does that.
  if (memory == nullptr && can_grow_) wished_.store(bytes, std::memory_order_relaxed);
  return memory;
}

void LocalTransport::GrowAsWished(uint64_t value_bytes, Deadline deadline) {
  const uint64_t wished = wished_.exchange(0, std::memory_order_relaxed);
  if (wished == 0) return;
  // A refusal is no matter of this call's: it goes on with what there is.
  (void)GrowStaging({arena_->bytes(), value_bytes, wished, wished, /*urgent=*/false}, deadline);
}

Outcome LocalTransport::GrowStaging(const Shortage& shortage, Deadline deadline) {
  const Outcome none{wire::Code::kResourceExhausted, false, "staging has no room"};
  {
    MutexLock lock(mutex_);
    while (growing_) {
      const int64_t left = deadline - MonotonicNs();
      if (left <= 0) {
        return Outcome{wire::Code::kDeadlineExceeded, false, "staging is still being asked for"};
      }
      grown_.WaitFor(mutex_, left);
    }
    if (arena_->bytes() != shortage.seen) return {};
    if (!can_grow_ || arena_->MissingFor(shortage.needed) > arena_->room_to_grow()) return none;
    if (!shortage.urgent && MonotonicNs() < grow_again_ns_) return none;
    growing_ = true;
  }
  Outcome outcome = AskForStaging(shortage, deadline);
  MutexLock lock(mutex_);
  growing_ = false;
  grow_again_ns_ = outcome.ok() ? 0 : MonotonicNs() + kGrowPauseNs;
  grown_.NotifyAll();
  return outcome;
}

// Called by the one caller that set growing_.
Outcome LocalTransport::AskForStaging(const Shortage& shortage, Deadline deadline) {
  local::GrowStaging ask{};
  ask.have_bytes = arena_->bytes();
  ask.value_bytes = shortage.value_bytes;
  ask.bytes_min = arena_->MissingFor(shortage.needed);
  if (ask.bytes_min == 0) return {};  // something was freed meanwhile
  growths_asked_.fetch_add(1, std::memory_order_relaxed);
  // At least twice as much as before: few parts, whatever the sizes are.
  const uint64_t wanted = std::max(shortage.wanted, ask.have_bytes);
  ask.bytes_wanted = std::max(ask.bytes_min, std::min(wanted, arena_->room_to_grow()));
  Reply reply;
  Outcome outcome = CallFixed(Op::kGrowStaging, ask, {}, deadline, &reply);
  outcome.sent = false;  // of the call that needs it
  if (!outcome.ok()) return outcome;
  std::string_view rest = reply.rest();
  local::GrowStagingOk ok;
  if (!TakeStruct(&rest, &ok) || !rest.empty() || reply.fds.size() != 1 ||
      ok.offset != ask.have_bytes || ok.bytes == 0 || ok.bytes % local::kStagingGranule != 0) {
    return ProtocolError("GROW_STAGING");
  }
  if (!arena_->Grow(reply.fds[0].get(), ok.bytes)) {
    return ProtocolError("GROW_STAGING: a part of " + std::to_string(ok.bytes) +
                         " bytes cannot be mapped");
  }
  return outcome;
}

std::unique_ptr<Transport> ConnectLocal(const Options& options, Deadline deadline,
                                        Outcome* outcome) {
  return LocalTransport::Connect(options, deadline, {}, outcome);
}

}  // namespace kvgate::client
