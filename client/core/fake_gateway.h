// SPDX-License-Identifier: Apache-2.0
//
// FakeGateway: a gateway in the process, behind Transport, with a clock that tests turn. It keeps
// namespaces and values in maps; it can be absent, hung (calls take until their deadline), slow to
// connect, draining, or die under a call. A new incarnation forgets handles, tokens and
// attachments.
//
// It stands for the whole other side; that the real transports do the same is shown by their own
// tests against the daemon. Threads: thread-safe, with one lock.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "client/core/env.h"
#include "client/transport.h"

namespace kvgate::client {

class FakeGateway {
 public:
  enum class State { kUp, kAbsent, kHung };
  // What happens to one call, instead of its answer.
  enum class Fault { kNone, kBreakBeforeSending, kBreakAfterSending, kUnknownNamespace, kCorrupt };

  struct Call {
    std::string name;
    bool served = false;
    Deadline deadline = 0;
    int64_t ended = 0;  // by the manual clock
    std::vector<std::string> keys;
    std::string root, parent;
    uint32_t depth = 0, first = 0;
  };

  int64_t now = 1'000'000'000'000;
  State state = State::kUp;
  bool local_socket_there = true;
  bool local_door_hung = false;
  std::vector<Fault> faults;       // taken from the front, one a call other than Open and Ping
  size_t values_a_message = 1000;  // a Get answers NOT_SENT for what comes after
  std::vector<uint8_t> last_verify;
  std::vector<Call> calls;
  int connects = 0;
  int retired = 0;  // transports, each counted once
  uint64_t incarnation = 1;
  std::map<std::string, std::string> values;
  Outcome open_outcome;
  std::string wanted_token;  // empty: none. "local" asks at connect, "grpc" at each call

  void AdvanceMs(int64_t ms) { now += ms * 1'000'000; }
  Deadline In(int64_t ms) const { return now + ms * 1'000'000; }
  void Restart() {
    ++incarnation;
    state = State::kUp;
  }
  int Count(const std::string& name) const {
    int count = 0;
    for (const Call& call : calls) count += call.name == name;
    return count;
  }

  ClientEnv Env();

 private:
  friend class FakeTransport;
  std::mutex mutex_;
};

class FakeTransport final : public Transport {
 public:
  FakeTransport(FakeGateway& gateway, const char* name, std::string token = "")
      : gateway_(gateway),
        name_(name),
        incarnation_(gateway.incarnation),
        token_(std::move(token)) {}

  const char* name() const override { return name_; }
  bool broken() const override { return broken_; }
  uint64_t incarnation() const override { return incarnation_; }

  Outcome Open(const OpenRequest&, Deadline deadline, OpenReply* reply) override {
    Outcome outcome = Serve("open", 0, deadline, {}, false);
    if (!outcome.ok()) return outcome;
    if (!gateway_.open_outcome.ok()) return gateway_.open_outcome;
    reply->ns_handle = Handle();
    reply->incarnation = incarnation_;
    reply->root_group_keys = {4};
    reply->limits.payload_bytes_max = 1000;
    return outcome;
  }
  Outcome Lookup(const LookupRequest& request, Deadline deadline, LookupReply* reply) override {
    Outcome outcome = Serve("lookup", request.ns, deadline, request.queries[0].keys);
    if (!outcome.ok()) return outcome;
    GroupHeld held;
    for (std::string_view key : request.queries[0].keys) {
      if (!gateway_.values.contains(std::string(key))) break;
      ++held.held;
    }
    reply->groups.push_back(held);
    if (request.pin_ms > 0) reply->pin_token = 100 + incarnation_;
    return outcome;
  }
  Outcome Get(const GetRequest& request, Deadline deadline, std::span<const uint8_t> verify,
              std::span<GetResult> results) override {
    Outcome outcome = Serve("get", request.ns, deadline, request.keys);
    gateway_.calls.back().root = request.root;
    gateway_.calls.back().depth = request.depth;
    gateway_.calls.back().first = request.first;
    if (!outcome.ok()) return outcome;
    gateway_.last_verify.assign(verify.begin(), verify.end());
    const bool stale = request.pin_token != 0 && request.pin_token != 100 + incarnation_;
    for (size_t i = 0; i < results.size(); ++i) {
      const std::string key =
          request.pin_token != 0 ? std::to_string(request.first + i) : std::string(request.keys[i]);
      results[i] = stale ? GetResult{.reason = Reason::kStaleToken}
                         : GetOne(key, request.targets[i], i, verify[i] != 0);
    }
    return outcome;
  }
  Outcome Set(const SetRequest& request, Deadline deadline, std::span<SetResult> results) override {
    std::vector<std::string_view> keys;
    for (const SetEntry& entry : request.entries) keys.push_back(entry.key);
    Outcome outcome = Serve("set", request.ns, deadline, keys);
    gateway_.calls.back().root = request.root;
    gateway_.calls.back().depth = request.depth;
    gateway_.calls.back().parent = request.parent;
    if (!outcome.ok()) return outcome;
    for (size_t i = 0; i < results.size(); ++i) {
      std::string value;
      for (const auto& piece : request.entries[i].value) {
        value.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      }
      gateway_.values[std::string(request.entries[i].key)] = value;
      results[i] = SetResult{Reason::kOk, 2};
    }
    return outcome;
  }
  Outcome Offer(const OfferRequest& request, Deadline deadline, OfferReply* reply) override {
    Outcome outcome = Serve("offer", request.ns, deadline, request.keys);
    if (outcome.ok()) reply->states.assign(request.keys.size(), 1);
    return outcome;
  }
  Outcome Delete(const DeleteRequest& request, Deadline deadline, std::span<bool> found) override {
    Outcome outcome = Serve("delete", request.ns, deadline, request.keys);
    if (!outcome.ok()) return outcome;
    for (size_t i = 0; i < found.size(); ++i) {
      found[i] = gateway_.values.erase(std::string(request.keys[i])) != 0;
    }
    return outcome;
  }
  Outcome Touch(uint64_t ns, std::string_view, uint8_t, const Hints&, Deadline deadline) override {
    return Serve("touch", ns, deadline, {});
  }
  Outcome Pin(uint64_t ns, uint64_t token, uint32_t pin_ms, Deadline deadline,
              uint32_t* granted_ms) override {
    Outcome outcome = Serve("pin", ns, deadline, {});
    if (outcome.ok() && token == 100 + incarnation_) *granted_ms = pin_ms;
    return outcome;
  }
  Outcome Unpin(uint64_t ns, uint64_t, Deadline deadline) override {
    return Serve("unpin", ns, deadline, {});
  }
  Outcome Ping(Deadline deadline) override { return Serve("ping", 0, deadline, {}, false); }

  std::byte* AllocStaging(size_t) override { return nullptr; }
  bool OwnsStaging(const std::byte*) const override { return false; }
  void FreeStaging(std::byte*) override {}
  void Retire() override {
    std::lock_guard<std::mutex> lock(gateway_.mutex_);
    gateway_.retired += retired_ ? 0 : 1;
    retired_ = true;
  }

 private:
  uint64_t Handle() const { return 7000 + incarnation_; }

  GetResult GetOne(const std::string& key, Pieces target, size_t position, bool verified) const {
    const auto found = gateway_.values.find(key);
    if (found == gateway_.values.end()) return {.reason = Reason::kNotHeld};
    if (position >= gateway_.values_a_message) return {.reason = Reason::kNotSent};
    if (verified && corrupt_) return {.reason = Reason::kChecksum};
    size_t at = 0;
    for (const auto& piece : target) {
      std::memcpy(piece.data(), found->second.data() + at, piece.size());
      at += piece.size();
    }
    return {Reason::kOk, 1, found->second.size(), 0};
  }

  // Records the call and lets happen to it what must.
  Outcome Serve(const char* name, uint64_t handle, Deadline deadline,
                std::span<const std::string_view> keys, bool faulty = true) {
    std::lock_guard<std::mutex> lock(gateway_.mutex_);
    FakeGateway::Call& call = gateway_.calls.emplace_back();
    call.name = name;
    call.deadline = deadline;
    call.keys.assign(keys.begin(), keys.end());
    Outcome outcome = Happen(handle, deadline, faulty);
    call.served = outcome.ok();
    call.ended = gateway_.now;
    return outcome;
  }

  Outcome Happen(uint64_t handle, Deadline deadline, bool faulty) {
    using Fault = FakeGateway::Fault;
    if (broken_ || gateway_.incarnation != incarnation_ ||
        gateway_.state == FakeGateway::State::kAbsent) {
      broken_ = true;
      return {wire::Code::kUnavailable, true, "connection closed"};
    }
    if (!gateway_.wanted_token.empty() && token_ != gateway_.wanted_token) {
      return {wire::Code::kUnauthenticated, true, "token: not one"};
    }
    if (gateway_.state == FakeGateway::State::kHung) {
      if (gateway_.now < deadline) gateway_.now = deadline;
      return {wire::Code::kDeadlineExceeded, true, "no answer"};
    }
    Fault fault = Fault::kNone;
    if (faulty && !gateway_.faults.empty()) {
      fault = gateway_.faults.front();
      gateway_.faults.erase(gateway_.faults.begin());
    }
    corrupt_ = fault == Fault::kCorrupt;
    if (fault == Fault::kBreakBeforeSending || fault == Fault::kBreakAfterSending) {
      broken_ = true;
      return {wire::Code::kUnavailable, fault == Fault::kBreakAfterSending, "broken pipe"};
    }
    if (fault == Fault::kUnknownNamespace || (handle != 0 && handle != Handle())) {
      return {wire::Code::kFailedPrecondition, true, "namespace: unknown handle"};
    }
    return {wire::Code::kOk, true, ""};
  }

  FakeGateway& gateway_;
  const char* const name_;
  const uint64_t incarnation_;
  const std::string token_;
  bool broken_ = false;
  bool retired_ = false;
  bool corrupt_ = false;
};

inline ClientEnv FakeGateway::Env() {
  ClientEnv env;
  env.now = [this] { return now; };
  env.process_id = [] { return 1; };
  env.socket_exists = [this](const std::string& path) {
    return !path.empty() && local_socket_there;
  };
  const auto connect = [this](const char* name, const std::string& token, bool hung,
                              Deadline deadline, Outcome* outcome) -> std::unique_ptr<Transport> {
    ++connects;
    if (state == State::kAbsent) {
      *outcome = {wire::Code::kUnavailable, false, "connection refused"};
      return nullptr;
    }
    if (state == State::kHung || hung) {
      if (now < deadline) now = deadline;
      *outcome = {wire::Code::kDeadlineExceeded, false, "no HELLO"};
      return nullptr;
    }
    if (!wanted_token.empty() && std::strcmp(name, "local") == 0 && token != wanted_token) {
      *outcome = {wire::Code::kUnauthenticated, true, "token: not one"};
      return nullptr;
    }
    return std::make_unique<FakeTransport>(*this, name, token);
  };
  env.connect_local = [this, connect](const Options& options, Deadline deadline, Outcome* outcome) {
    return connect("local", options.token, local_door_hung, deadline, outcome);
  };
  env.connect_grpc = [connect](const Options& options, Deadline deadline, Outcome* outcome) {
    return connect("grpc", options.token, false, deadline, outcome);
  };
  env.seed = 42;
  return env;
}

}  // namespace kvgate::client
