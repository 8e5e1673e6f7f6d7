// SPDX-License-Identifier: Apache-2.0
//
// The operations of a Client: checks of arguments, results, counters. How a call is carried out is
// in caller.cc, where it goes in link.cc.
#include "client/client.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <utility>

#include "client/core/batches.h"
#include "client/core/caller.h"
#include "client/core/env.h"
#include "client/core/reasons.h"
#include "client/core/staging.h"
#include "proto/wire/error_id.h"

namespace kvgate::client {
namespace {

using Counter = std::atomic<uint64_t>;

constexpr uint32_t kSampleOneOf = 64;

void Add(Counter& counter, uint64_t amount = 1) {
  counter.fetch_add(amount, std::memory_order_relaxed);
}
uint64_t Load(const Counter& counter) { return counter.load(std::memory_order_relaxed); }

Outcome Invalid(std::string message) {
  return Outcome{wire::Code::kInvalidArgument, false, std::move(message)};
}

// splitmix64: spreads a counter, so that sampling does not fall into step with batches.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

class ClientImpl final : public Client {
 public:
  ClientImpl(const Options& options, const ClientEnv& env)
      : options_(options),
        env_(env),
        process_id_(env.process_id()),
        caller_(std::make_unique<Caller>(options, env)),
        staging_(std::make_unique<Staging>(options.staging_bytes)) {}

  ~ClientImpl() override {
    if (!Forked()) return;
    // The connection is the parent's: ending it here would speak on it. Left behind on purpose.
    (void)caller_.release();
    (void)staging_.release();
  }

  Outcome Open(const OpenRequest& request, Deadline deadline, uint64_t* ns,
               OpenReply* reply) override;
  Outcome Lookup(const LookupRequest& request, Deadline deadline, LookupReply* reply) override;
  Outcome Get(const GetRequest& request, Deadline deadline, std::span<GetResult> results) override;
  Outcome Set(const SetRequest& request, Deadline deadline, std::span<SetResult> results) override;
  Outcome Offer(const OfferRequest& request, Deadline deadline, OfferReply* reply) override;
  Outcome Delete(const DeleteRequest& request, Deadline deadline, std::span<bool> found) override;
  Outcome Touch(uint64_t ns, std::string_view last_key, uint8_t group, const Hints& hints,
                Deadline deadline) override;
  Outcome Pin(uint64_t ns, uint64_t token, uint32_t pin_ms, Deadline deadline,
              uint32_t* granted_ms) override;
  Outcome Unpin(uint64_t ns, uint64_t token, Deadline deadline) override;
  Outcome Ping(Deadline deadline) override;
  std::byte* AllocStaging(size_t bytes) override;
  void FreeStaging(std::byte* memory) override;
  Stats stats() const override;

 private:
  bool Forked() const { return env_.process_id() != process_id_; }
  Outcome Call(const CallRule& rule, uint64_t ns, Deadline deadline,
               const Caller::Operation& operation);
  Outcome GetMessage(const GetRequest& request, Deadline deadline, std::span<GetResult> results);
  Outcome SetMessage(const SetRequest& request, Deadline deadline, std::span<SetResult> results);
  void ChooseVerified(const Transport& transport, std::span<uint8_t> verify);
  void CountGet(std::span<const GetResult> results, std::span<const uint8_t> verify);
  void CountSet(const SetRequest& request, std::span<const SetResult> results);

  // Constant.
  const Options options_;
  const ClientEnv env_;
  const int process_id_;

  // Self-synchronised.
  std::unique_ptr<Caller> caller_;
  std::unique_ptr<Staging> staging_;
  Counter blocks_seen_{0};  // of sampling
  Counter loaded_blocks_{0}, loaded_bytes_{0}, stored_blocks_{0}, stored_bytes_{0};
  Counter verified_blocks_{0}, checksum_failures_{0}, revoked_{0};
  std::array<Counter, 32> misses_{};
};

Outcome ClientImpl::Call(const CallRule& rule, uint64_t ns, Deadline deadline,
                         const Caller::Operation& operation) {
  if (Forked()) {
    return Outcome{
        wire::Code::kUnavailable, false,
        wire::Tagged(wire::ErrorId::kUsedAfterFork, "a client does not work in a forked child")};
  }
  Outcome outcome = caller_->Call(rule, ns, deadline, operation);
  if (!outcome.ok()) {
    outcome.message = wire::Tagged(wire::ErrorOf(outcome.code), std::move(outcome.message));
  }
  return outcome;
}

Outcome ClientImpl::Open(const OpenRequest& request, Deadline deadline, uint64_t* ns,
                         OpenReply* reply) {
  *ns = 0;
  *reply = OpenReply{};
  if (request.identity.empty()) return Invalid("identity: empty");
  if (Forked()) return Call({}, 0, deadline, nullptr);
  bool fresh = false;
  const uint64_t number = caller_->namespaces().Number(request, &fresh);
  if (number == 0) {
    return Outcome{
        wire::Code::kResourceExhausted, false,
        "namespaces: a client has at most " + std::to_string(Namespaces::kNamespacesMax)};
  }
  const CallRule rule{.needs_namespace = false};
  Outcome outcome = Call(rule, 0, deadline, [&](Try& attempt) {
    *reply = OpenReply{};
    Outcome opened = attempt.transport.Open(request, deadline, reply);
    if (opened.ok()) caller_->namespaces().Opened(number, attempt.attachment, *reply);
    return opened;
  });
  if (fresh && ReasonOf(outcome.code) == Reason::kRefused) {
    caller_->namespaces().Forget(number);
    return outcome;
  }
  *ns = number;
  reply->ns_handle = number;  // the server's own number is of no use to callers
  return outcome;
}

Outcome ClientImpl::Lookup(const LookupRequest& request, Deadline deadline, LookupReply* reply) {
  LookupRequest sent = request;
  const Outcome outcome = Call({}, request.ns, deadline, [&](Try& attempt) {
    *reply = LookupReply{};
    sent.ns = attempt.handle;
    return attempt.transport.Lookup(sent, deadline, reply);
  });
  if (!outcome.ok()) *reply = LookupReply{};
  return outcome;
}

Outcome ClientImpl::Get(const GetRequest& request, Deadline deadline,
                        std::span<GetResult> results) {
  const size_t keys = request.pin_token != 0 ? request.count : request.keys.size();
  std::fill(results.begin(), results.end(), GetResult{.reason = Reason::kRefused});
  if (results.size() != keys || request.targets.size() != keys || keys == 0) {
    return Invalid("keys: " + std::to_string(keys) +
                   ", but targets: " + std::to_string(request.targets.size()) + ", results: " +
                   std::to_string(results.size()) + "; they must be equal and not 0");
  }
  const uint32_t group_keys =
      Forked() ? 0 : caller_->namespaces().RootGroupKeys(request.ns, request.group);
  Outcome outcome;
  for (size_t from = 0; from < keys;) {
    GetRequest part = request;
    part.targets = request.targets.subspan(from);
    if (request.pin_token != 0) {
      part.first = request.first + static_cast<uint32_t>(from);
      part.count = static_cast<uint32_t>(keys - from);
    } else {
      const auto key = [&](uint32_t i) { return request.keys[i]; };
      const ChainPlace place =
          PlaceOf({request.depth, request.root}, static_cast<uint32_t>(from), group_keys, key);
      part.keys = request.keys.subspan(from);
      part.depth = place.depth;
      part.root = place.root;
    }
    outcome = GetMessage(part, deadline, results.subspan(from));
    if (!outcome.ok()) break;
    const size_t next = from + NextUnsent(results.subspan(from), request.prefix_only);
    if (next >= keys) break;
    from = next;
  }
  for (const GetResult& result : results) {
    if (result.reason != Reason::kOk) Add(misses_[static_cast<size_t>(result.reason) % 32]);
  }
  return outcome;
}

// One message. Fills every result.
Outcome ClientImpl::GetMessage(const GetRequest& request, Deadline deadline,
                               std::span<GetResult> results) {
  GetRequest sent = request;
  std::vector<uint8_t> verify(results.size());
  const CallRule rule{.by_token = request.pin_token != 0};
  const Outcome outcome = Call(rule, request.ns, deadline, [&](Try& attempt) {
    if (attempt.fenced) {
      std::fill(results.begin(), results.end(), GetResult{.reason = Reason::kStaleToken});
      return Outcome{};
    }
    std::fill(results.begin(), results.end(), GetResult{.reason = Reason::kInternal});
    ChooseVerified(attempt.transport, verify);
    sent.ns = attempt.handle;
    Outcome got = attempt.transport.Get(sent, deadline, verify, results);
    attempt.used = std::any_of(results.begin(), results.end(), [](const GetResult& result) {
      return result.reason == Reason::kOk;
    });
    return got;
  });
  if (!outcome.ok()) {
    for (GetResult& result : results) {
      if (result.reason != Reason::kOk) result = GetResult{.reason = ReasonOf(outcome.code)};
    }
  }
  CountGet(results, verify);
  return outcome;
}

void ClientImpl::ChooseVerified(const Transport& transport, std::span<uint8_t> verify) {
  Verify mode = options_.verify;
  if (mode == Verify::kDefault) {
    mode = std::strcmp(transport.name(), "local") == 0 ? Verify::kSampled : Verify::kAlways;
  }
  if (mode != Verify::kSampled) {
    std::fill(verify.begin(), verify.end(), mode == Verify::kAlways ? 1 : 0);
    return;
  }
  uint64_t number = blocks_seen_.fetch_add(verify.size(), std::memory_order_relaxed) + env_.seed;
  for (uint8_t& wanted : verify) wanted = Mix(number++) % kSampleOneOf == 0;
}

void ClientImpl::CountGet(std::span<const GetResult> results, std::span<const uint8_t> verify) {
  for (size_t i = 0; i < results.size(); ++i) {
    const Reason reason = results[i].reason;
    if (reason == Reason::kOk) {
      Add(loaded_blocks_);
      Add(loaded_bytes_, results[i].value_bytes);
    }
    if (verify[i] != 0 && (reason == Reason::kOk || reason == Reason::kChecksum)) {
      Add(verified_blocks_);
    }
    if (reason == Reason::kChecksum) Add(checksum_failures_);
    if (reason == Reason::kRevoked) Add(revoked_);
  }
}

Outcome ClientImpl::Set(const SetRequest& request, Deadline deadline,
                        std::span<SetResult> results) {
  const std::span<const SetEntry> entries = request.entries;
  std::fill(results.begin(), results.end(), SetResult{.reason = Reason::kRefused});
  if (entries.size() != results.size() || entries.empty()) {
    return Invalid("entries: " + std::to_string(entries.size()) + ", but results: " +
                   std::to_string(results.size()) + "; they must be equal and not 0");
  }
  const uint32_t group_keys =
      Forked() ? 0 : caller_->namespaces().RootGroupKeys(request.ns, request.group);
  const uint64_t payload_max = Forked() ? 0 : caller_->namespaces().PayloadBytesMax(request.ns);
  Outcome outcome;
  for (size_t from = 0; from < entries.size();) {
    const size_t count = EntriesOfMessage(entries.subspan(from), payload_max);
    SetRequest part = request;
    part.entries = entries.subspan(from, count);
    const auto key = [&](uint32_t i) { return entries[i].key; };
    const ChainPlace place =
        PlaceOf({request.depth, request.root}, static_cast<uint32_t>(from), group_keys, key);
    part.depth = place.depth;
    part.root = place.root;
    if (from > 0) part.parent = entries[from - 1].key;
    outcome = SetMessage(part, deadline, results.subspan(from, count));
    if (!outcome.ok()) {
      // What comes later in the chain has no parent: it is not sent.
      std::fill(results.begin() + from + count, results.end(),
                SetResult{.reason = ReasonOf(outcome.code)});
      break;
    }
    from += count;
  }
  CountSet(request, results);
  return outcome;
}

Outcome ClientImpl::SetMessage(const SetRequest& request, Deadline deadline,
                               std::span<SetResult> results) {
  SetRequest sent = request;
  if (sent.producer == 0) sent.producer = options_.producer;
  const CallRule rule{.idempotent = request.mode != 2};
  const Outcome outcome = Call(rule, request.ns, deadline, [&](Try& attempt) {
    std::fill(results.begin(), results.end(), SetResult{.reason = Reason::kInternal});
    sent.ns = attempt.handle;
    return attempt.transport.Set(sent, deadline, results);
  });
  if (!outcome.ok()) {
    for (SetResult& result : results) {
      if (result.reason != Reason::kOk && result.reason != Reason::kAlreadyHeld) {
        result = SetResult{.reason = ReasonOf(outcome.code)};
      }
    }
  }
  return outcome;
}

void ClientImpl::CountSet(const SetRequest& request, std::span<const SetResult> results) {
  for (size_t i = 0; i < results.size(); ++i) {
    if (results[i].reason != Reason::kOk) continue;
    Add(stored_blocks_);
    Add(stored_bytes_, ValueBytes(request.entries[i]));
  }
}

Outcome ClientImpl::Offer(const OfferRequest& request, Deadline deadline, OfferReply* reply) {
  if (request.keys.size() != request.value_bytes.size()) {
    return Invalid("keys: " + std::to_string(request.keys.size()) +
                   ", but value_bytes: " + std::to_string(request.value_bytes.size()));
  }
  OfferRequest sent = request;
  return Call({}, request.ns, deadline, [&](Try& attempt) {
    *reply = OfferReply{};
    sent.ns = attempt.handle;
    return attempt.transport.Offer(sent, deadline, reply);
  });
}

Outcome ClientImpl::Delete(const DeleteRequest& request, Deadline deadline, std::span<bool> found) {
  std::fill(found.begin(), found.end(), false);
  if (request.keys.size() != found.size()) {
    return Invalid("keys: " + std::to_string(request.keys.size()) +
                   ", but found: " + std::to_string(found.size()));
  }
  DeleteRequest sent = request;
  return Call({}, request.ns, deadline, [&](Try& attempt) {
    sent.ns = attempt.handle;
    return attempt.transport.Delete(sent, deadline, found);
  });
}

Outcome ClientImpl::Touch(uint64_t ns, std::string_view last_key, uint8_t group, const Hints& hints,
                          Deadline deadline) {
  return Call({}, ns, deadline, [&](Try& attempt) {
    return attempt.transport.Touch(attempt.handle, last_key, group, hints, deadline);
  });
}

Outcome ClientImpl::Pin(uint64_t ns, uint64_t token, uint32_t pin_ms, Deadline deadline,
                        uint32_t* granted_ms) {
  *granted_ms = 0;
  return Call({.by_token = true}, ns, deadline, [&](Try& attempt) {
    if (attempt.fenced) return Outcome{};
    return attempt.transport.Pin(attempt.handle, token, pin_ms, deadline, granted_ms);
  });
}

Outcome ClientImpl::Unpin(uint64_t ns, uint64_t token, Deadline deadline) {
  return Call({.by_token = true}, ns, deadline, [&](Try& attempt) {
    if (attempt.fenced) return Outcome{};
    return attempt.transport.Unpin(attempt.handle, token, deadline);
  });
}

Outcome ClientImpl::Ping(Deadline deadline) {
  return Call({.needs_namespace = false}, 0, deadline,
              [&](Try& attempt) { return attempt.transport.Ping(deadline); });
}

std::byte* ClientImpl::AllocStaging(size_t bytes) {
  if (Forked()) return nullptr;
  std::shared_ptr<Transport> transport = caller_->link().Current();
  if (transport && transport->broken()) transport = nullptr;
  return staging_->Alloc(bytes, transport);
}

void ClientImpl::FreeStaging(std::byte* memory) {
  if (!Forked()) staging_->Free(memory);
}

Stats ClientImpl::stats() const {
  Stats stats;
  stats.calls = caller_->calls();
  stats.retries = caller_->retries();
  stats.reconnects = caller_->link().reconnects();
  stats.breaker_opens = caller_->link().breaker_opens();
  stats.loaded_blocks = Load(loaded_blocks_);
  stats.loaded_bytes = Load(loaded_bytes_);
  stats.stored_blocks = Load(stored_blocks_);
  stats.stored_bytes = Load(stored_bytes_);
  stats.verified_blocks = Load(verified_blocks_);
  stats.checksum_failures = Load(checksum_failures_);
  stats.revoked = Load(revoked_);
  for (size_t i = 0; i < misses_.size(); ++i) stats.misses_by_reason[i] = Load(misses_[i]);
  std::shared_ptr<Transport> transport;
  if (!Forked()) {
    caller_->link().ReadBreaker(&stats);
    stats.staging_in_use = staging_->bytes_in_use();
    transport = caller_->link().Current();
  }
  const bool attached = transport && !transport->broken();
  std::strncpy(stats.transport, attached ? transport->name() : "none", sizeof(stats.transport) - 1);
  return stats;
}

}  // namespace

std::unique_ptr<Client> CreateClient(const Options& options, const ClientEnv& env,
                                     std::string* error) {
  *error = CheckOptions(options);
  if (!error->empty()) return nullptr;
  Options drawn = options;
  if (drawn.producer == 0) drawn.producer = Mix(env.seed) | 1;
  return std::make_unique<ClientImpl>(drawn, env);
}

}  // namespace kvgate::client
