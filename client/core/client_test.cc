// SPDX-License-Identifier: Apache-2.0
#include "client/client.h"

#include <gmock/gmock.h>

#include <array>
#include <numeric>

#include "client/core/batches.h"
#include "client/core/fake_gateway.h"

namespace kvgate::client {
namespace {

using Fault = FakeGateway::Fault;
using State = FakeGateway::State;
using wire::Code;

class ClientTest : public ::testing::Test {
 protected:
  void SetUp() override { Make({.transport = "local", .local_socket = "/run/door"}); }

  void Make(const Options& options) {
    std::string error;
    client_ = CreateClient(options, gateway_.Env(), &error);
    ASSERT_NE(client_, nullptr) << error;
  }

  uint64_t Open(int64_t ms = 200) {
    uint64_t ns = 0;
    OpenReply reply;
    outcome_ = client_->Open({.identity = "model"}, gateway_.In(ms), &ns, &reply);
    return ns;
  }

  Reason Set(uint64_t ns, std::string_view key, std::string_view value, uint8_t mode = 1) {
    const std::span<const std::byte> piece(reinterpret_cast<const std::byte*>(value.data()),
                                           value.size());
    const SetEntry entry{.key = key, .value = {&piece, 1}};
    SetRequest request;
    request.ns = ns;
    request.entries = {&entry, 1};
    request.mode = mode;
    SetResult result;
    outcome_ = client_->Set(request, gateway_.In(100), {&result, 1});
    return result.reason;
  }

  // Gets `keys`, one byte each; `bytes_` has them.
  std::vector<Reason> Get(uint64_t ns, const std::vector<std::string_view>& keys,
                          GetRequest request = {}, int64_t ms = 100) {
    const size_t count = request.pin_token != 0 ? request.count : keys.size();
    bytes_.assign(count, std::byte{0});
    std::vector<std::span<std::byte>> pieces;
    for (std::byte& byte : bytes_) pieces.emplace_back(&byte, 1);
    std::vector<Pieces> targets;
    for (auto& piece : pieces) targets.emplace_back(&piece, 1);
    request.ns = ns;
    request.keys = keys;
    request.targets = targets;
    std::vector<GetResult> results(count);
    outcome_ = client_->Get(request, gateway_.In(ms), results);
    std::vector<Reason> reasons;
    for (const GetResult& result : results) reasons.push_back(result.reason);
    return reasons;
  }

  uint64_t Held(uint64_t ns, std::string_view key, int64_t ms = 10, uint64_t* token = nullptr) {
    const GroupQuery query{.keys = {&key, 1}};
    LookupRequest request;
    request.ns = ns;
    request.queries = {&query, 1};
    request.pin_ms = token != nullptr ? 1000 : 0;
    LookupReply reply;
    outcome_ = client_->Lookup(request, gateway_.In(ms), &reply);
    if (token != nullptr) *token = reply.pin_token;
    return reply.groups.empty() ? 0 : reply.groups[0].held;
  }

  uint64_t Misses(Reason reason) {
    return client_->stats().misses_by_reason[static_cast<size_t>(reason)];
  }

  FakeGateway gateway_;
  std::unique_ptr<Client> client_;
  Outcome outcome_;
  std::vector<std::byte> bytes_;
};

TEST_F(ClientTest, ValuesComeBackAndAreCounted) {
  const uint64_t ns = Open();
  EXPECT_EQ(Set(ns, "a", "x"), Reason::kOk);
  EXPECT_EQ(Get(ns, {"a", "b"}), (std::vector{Reason::kOk, Reason::kNotHeld}));
  EXPECT_TRUE(outcome_.ok());
  EXPECT_EQ(bytes_[0], std::byte{'x'});
  const Stats stats = client_->stats();
  EXPECT_EQ(stats.stored_blocks, 1u);
  EXPECT_EQ(stats.loaded_blocks, 1u);
  EXPECT_EQ(stats.loaded_bytes, 1u);
  EXPECT_EQ(Misses(Reason::kNotHeld), 1u);
  EXPECT_STREQ(stats.transport, "local");
}

TEST_F(ClientTest, TheSameIdentityHasTheSameNumber) {
  const uint64_t first = Open();
  EXPECT_NE(first, 0u);
  EXPECT_EQ(Open(), first);
}

// ---- the gateway is away ----

TEST_F(ClientTest, AnAbsentGatewayStillGivesANumberThatWorksLater) {
  gateway_.state = State::kAbsent;
  const uint64_t ns = Open();
  EXPECT_EQ(outcome_.code, Code::kUnavailable);
  ASSERT_NE(ns, 0u);
  EXPECT_EQ(Get(ns, {"a"}), (std::vector{Reason::kUnavailable}));
  EXPECT_STREQ(client_->stats().transport, "none");

  gateway_.state = State::kUp;
  gateway_.AdvanceMs(800);
  EXPECT_EQ(Set(ns, "a", "x"), Reason::kOk);
}

TEST_F(ClientTest, NoCallTriesAnAbsentGatewayDuringThePause) {
  gateway_.state = State::kAbsent;
  const uint64_t ns = Open();
  const int connects = gateway_.connects;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Get(ns, {"a"}), (std::vector{Reason::kUnavailable}));
  EXPECT_EQ(gateway_.connects, connects);
  EXPECT_EQ(client_->stats().breaker_opens, 1u);
}

TEST_F(ClientTest, AReturnedGatewayIsUsedWithinASecondHoweverLongItWasAway) {
  gateway_.state = State::kAbsent;
  const uint64_t ns = Open();
  for (int i = 0; i < 1000; ++i) {
    gateway_.AdvanceMs(20);
    Get(ns, {"a"});
  }
  gateway_.Restart();
  const int64_t returned = gateway_.now;
  do {
    gateway_.AdvanceMs(10);
    Held(ns, "a");
  } while (!outcome_.ok() && gateway_.now - returned < 10'000'000'000);
  EXPECT_LT(gateway_.now - returned, 1'000'000'000);
}

TEST_F(ClientTest, AHungGatewayCostsNoCallMoreThanItsDeadline) {
  const uint64_t ns = Open();
  gateway_.state = State::kHung;
  for (int i = 0; i < 50; ++i) {
    const Deadline deadline = gateway_.In(10);
    Held(ns, "a", 10);
    EXPECT_FALSE(outcome_.ok());
    EXPECT_LE(gateway_.now, deadline);
    gateway_.AdvanceMs(5);
  }
  for (const FakeGateway::Call& call : gateway_.calls) EXPECT_LE(call.ended, call.deadline);
}

TEST_F(ClientTest, FiveSilentCallsOpenTheBreaker) {
  const uint64_t ns = Open();
  gateway_.state = State::kHung;
  for (int i = 0; i < 5; ++i) {
    Held(ns, "a");
    EXPECT_EQ(outcome_.code, Code::kDeadlineExceeded);
  }
  const int64_t before = gateway_.now;
  Held(ns, "a");
  EXPECT_EQ(outcome_.code, Code::kUnavailable);
  EXPECT_FALSE(outcome_.sent);
  EXPECT_EQ(gateway_.now, before);
  EXPECT_EQ(client_->stats().breaker_opens, 1u);
}

TEST_F(ClientTest, OneSecondOfSilenceOpensTheBreaker) {
  const uint64_t ns = Open();
  gateway_.state = State::kHung;
  Get(ns, {"a"}, {}, 1000);
  const size_t calls = gateway_.calls.size();
  Held(ns, "a");
  EXPECT_EQ(outcome_.code, Code::kUnavailable);
  EXPECT_EQ(gateway_.calls.size(), calls);
}

TEST_F(ClientTest, CallsWithHardlyAnyTimeSayNothingAboutTheGateway) {
  const uint64_t ns = Open();
  gateway_.state = State::kHung;
  for (int i = 0; i < 20; ++i) Held(ns, "a", 1);
  EXPECT_EQ(client_->stats().breaker_opens, 0u);
}

TEST_F(ClientTest, TheProbeOfAHungGatewayIsShort) {
  const uint64_t ns = Open();
  gateway_.state = State::kHung;
  for (int i = 0; i < 5; ++i) Held(ns, "a");
  gateway_.AdvanceMs(200);
  const int64_t before = gateway_.now;
  Get(ns, {"a"}, {}, 5000);
  EXPECT_LE(gateway_.now - before, 80'000'000);
}

TEST_F(ClientTest, AWokenGatewayIsUsedOnItsOldConnection) {
  const uint64_t ns = Open();
  EXPECT_EQ(Set(ns, "a", "x"), Reason::kOk);
  gateway_.state = State::kHung;
  for (int i = 0; i < 5; ++i) Held(ns, "a");
  gateway_.state = State::kUp;
  gateway_.AdvanceMs(200);
  EXPECT_EQ(Held(ns, "a"), 1u);
  EXPECT_EQ(gateway_.connects, 1);
}

TEST_F(ClientTest, AnExpiredDeadlineSendsNothing) {
  const uint64_t ns = Open();
  const size_t calls = gateway_.calls.size();
  EXPECT_EQ(Get(ns, {"a"}, {}, 0), (std::vector{Reason::kDeadline}));
  EXPECT_EQ(gateway_.calls.size(), calls);
}

// ---- restart ----

TEST_F(ClientTest, ACallSurvivesARestartInOneGo) {
  const uint64_t ns = Open();
  EXPECT_EQ(Set(ns, "a", "x"), Reason::kOk);
  gateway_.Restart();
  EXPECT_EQ(Get(ns, {"a"}), (std::vector{Reason::kOk}));
  const Stats stats = client_->stats();
  EXPECT_EQ(stats.reconnects, 1u);
  EXPECT_EQ(stats.retries, 1u);
  EXPECT_EQ(gateway_.Count("open"), 2);
}

TEST_F(ClientTest, APinTokenOfAnOldIncarnationIsStale) {
  const uint64_t ns = Open();
  EXPECT_EQ(Set(ns, "0", "x"), Reason::kOk);
  uint64_t token = 0;
  EXPECT_EQ(Held(ns, "0", 10, &token), 1u);
  ASSERT_NE(token, 0u);
  GetRequest by_handle;
  by_handle.pin_token = token;
  by_handle.count = 1;
  EXPECT_EQ(Get(ns, {}, by_handle), (std::vector{Reason::kOk}));
  gateway_.Restart();
  EXPECT_EQ(Get(ns, {}, by_handle), (std::vector{Reason::kStaleToken}));
  EXPECT_TRUE(outcome_.ok());
  EXPECT_EQ(Get(ns, {}, by_handle), (std::vector{Reason::kStaleToken}));
  uint32_t granted = 9;
  EXPECT_TRUE(client_->Pin(ns, token, 1000, gateway_.In(10), &granted).ok());
  EXPECT_EQ(granted, 0u);
}

TEST_F(ClientTest, ANamespaceThatTheServerForgotIsOpenedAgain) {
  const uint64_t ns = Open();
  EXPECT_EQ(Set(ns, "a", "x"), Reason::kOk);
  gateway_.faults = {Fault::kUnknownNamespace};
  EXPECT_EQ(Get(ns, {"a"}), (std::vector{Reason::kOk}));
  EXPECT_EQ(gateway_.Count("open"), 2);
}

TEST_F(ClientTest, ANamespaceThatStaysUnknownIsRefusedAndNotTriedForEver) {
  const uint64_t ns = Open();
  gateway_.faults = {Fault::kUnknownNamespace, Fault::kUnknownNamespace, Fault::kUnknownNamespace};
  EXPECT_EQ(Get(ns, {"a"}), (std::vector{Reason::kRefused}));
  EXPECT_EQ(gateway_.Count("get"), 2);
}

// ---- retries ----

TEST_F(ClientTest, AnIdempotentCallIsRepeatedAfterItsConnectionBroke) {
  const uint64_t ns = Open();
  gateway_.faults = {Fault::kBreakAfterSending};
  EXPECT_EQ(Set(ns, "a", "x"), Reason::kOk);
  EXPECT_EQ(gateway_.Count("set"), 2);
}

TEST_F(ClientTest, AnOverwriteThatWasSentIsNotRepeated) {
  const uint64_t ns = Open();
  gateway_.faults = {Fault::kBreakAfterSending};
  EXPECT_EQ(Set(ns, "a", "x", 2), Reason::kUnavailable);
  EXPECT_EQ(gateway_.Count("set"), 1);
}

TEST_F(ClientTest, AnOverwriteThatWasNotSentIsRepeated) {
  const uint64_t ns = Open();
  gateway_.faults = {Fault::kBreakBeforeSending};
  EXPECT_EQ(Set(ns, "a", "x", 2), Reason::kOk);
}

TEST_F(ClientTest, OneCallIsTriedThreeTimesAtMost) {
  const uint64_t ns = Open();
  gateway_.faults.assign(10, Fault::kBreakAfterSending);
  EXPECT_EQ(Get(ns, {"a"}), (std::vector{Reason::kUnavailable}));
  EXPECT_EQ(gateway_.Count("get"), 3);
}

TEST_F(ClientTest, RetriesStayWithinATenthOfTheCalls) {
  const uint64_t ns = Open();
  constexpr int kCalls = 1000;
  for (int i = 0; i < kCalls; ++i) {
    gateway_.faults = {Fault::kBreakAfterSending, Fault::kNone};
    Get(ns, {"a"});
    gateway_.AdvanceMs(1000);
  }
  const Stats stats = client_->stats();
  EXPECT_LE(stats.retries, kCalls / 10 + 10u);
  EXPECT_GE(stats.retries, kCalls / 10 - 10u);
}

// ---- transports ----

TEST_F(ClientTest, AutoTakesTheLocalDoorWhenItIsThere) {
  Make({.local_socket = "/run/door", .grpc_target = "unix:/run/grpc"});
  Open();
  EXPECT_STREQ(client_->stats().transport, "local");
}

TEST_F(ClientTest, AutoTakesGrpcWhenThereIsNoLocalSocket) {
  gateway_.local_socket_there = false;
  Make({.local_socket = "/run/door", .grpc_target = "unix:/run/grpc"});
  Open();
  EXPECT_STREQ(client_->stats().transport, "grpc");
}

TEST_F(ClientTest, AutoTakesGrpcWhenTheLocalDoorDoesNotAnswer) {
  gateway_.local_door_hung = true;
  Make({.local_socket = "/run/door", .grpc_target = "unix:/run/grpc"});
  Open();
  EXPECT_TRUE(outcome_.ok()) << outcome_.message;
  EXPECT_STREQ(client_->stats().transport, "grpc");
}

TEST_F(ClientTest, AutoMovesToTheLocalDoorOnceItIsThere) {
  gateway_.local_socket_there = false;
  Make({.local_socket = "/run/door", .grpc_target = "unix:/run/grpc"});
  const uint64_t ns = Open();
  EXPECT_EQ(Set(ns, "a", "x"), Reason::kOk);
  gateway_.local_socket_there = true;
  EXPECT_EQ(Get(ns, {"a"}), (std::vector{Reason::kOk}));
  EXPECT_STREQ(client_->stats().transport, "grpc");  // not looked for at every call
  gateway_.AdvanceMs(1000);
  EXPECT_EQ(Get(ns, {"a"}), (std::vector{Reason::kOk}));
  EXPECT_STREQ(client_->stats().transport, "local");
}

TEST_F(ClientTest, ALocalDoorThatHangsCostsCallsOverGrpcLittle) {
  gateway_.local_door_hung = true;
  Make({.local_socket = "/run/door", .grpc_target = "unix:/run/grpc"});
  const uint64_t ns = Open();
  gateway_.AdvanceMs(1000);
  const int64_t before = gateway_.now;
  EXPECT_EQ(Held(ns, "a", 10), 0u);
  EXPECT_TRUE(outcome_.ok()) << outcome_.message;
  EXPECT_LE(gateway_.now - before, 5'000'000);
  Held(ns, "a", 10);
  EXPECT_LE(gateway_.now - before, 5'000'000);  // not again so soon
}

TEST_F(ClientTest, APinTokenOutlivesAConnectionButNotItsServer) {
  const uint64_t ns = Open();
  EXPECT_EQ(Set(ns, "0", "x"), Reason::kOk);
  uint64_t token = 0;
  Held(ns, "0", 10, &token);
  GetRequest by_handle;
  by_handle.pin_token = token;
  by_handle.count = 1;
  gateway_.faults = {Fault::kBreakAfterSending};
  EXPECT_EQ(Get(ns, {}, by_handle), (std::vector{Reason::kOk}));
  EXPECT_EQ(client_->stats().reconnects, 1u);
}

TEST_F(ClientTest, WrongOptionsAreNamed) {
  std::string error;
  EXPECT_EQ(CreateClient({.transport = "tcp"}, gateway_.Env(), &error), nullptr);
  EXPECT_EQ(error, "transport: 'tcp' is none of auto, local, grpc");
  EXPECT_EQ(CreateClient({}, gateway_.Env(), &error), nullptr);
  EXPECT_EQ(error, "local_socket and grpc_target: both are empty");
  EXPECT_EQ(CreateClient({.local_socket = "/s", .client_name = std::string(64, 'n')},
                         gateway_.Env(), &error),
            nullptr);
  EXPECT_EQ(error, "client_name bytes: 64 is over the limit of 63");
}

// ---- what is verified ----

TEST_F(ClientTest, OneOf64BlocksIsVerifiedOnSharedMemory) {
  const uint64_t ns = Open();
  const std::vector<std::string_view> keys(64, "a");
  int verified = 0;
  for (int i = 0; i < 100; ++i) {
    Get(ns, keys);
    verified += std::accumulate(gateway_.last_verify.begin(), gateway_.last_verify.end(), 0);
  }
  EXPECT_GT(verified, 50);
  EXPECT_LT(verified, 200);
}

TEST_F(ClientTest, EveryBlockIsVerifiedOverGrpc) {
  Make({.transport = "grpc", .grpc_target = "unix:/run/grpc"});
  const uint64_t ns = Open();
  Get(ns, {"a", "b", "c"});
  EXPECT_EQ(gateway_.last_verify, (std::vector<uint8_t>{1, 1, 1}));
}

TEST_F(ClientTest, BadBytesAreAMissAndCounted) {
  Make({.transport = "local", .local_socket = "/run/door", .verify = Verify::kAlways});
  const uint64_t ns = Open();
  EXPECT_EQ(Set(ns, "a", "x"), Reason::kOk);
  gateway_.faults = {Fault::kCorrupt};
  EXPECT_EQ(Get(ns, {"a"}), (std::vector{Reason::kChecksum}));
  const Stats stats = client_->stats();
  EXPECT_EQ(stats.checksum_failures, 1u);
  EXPECT_EQ(stats.loaded_blocks, 0u);
  EXPECT_EQ(stats.verified_blocks, 1u);
}

// ---- several messages for one call ----

TEST_F(ClientTest, AGetAsksAgainForWhatDidNotFitTheAnswer) {
  const uint64_t ns = Open();
  const std::vector<std::string_view> keys = {"a", "b", "c", "d", "e", "f", "g"};
  for (std::string_view key : keys) EXPECT_EQ(Set(ns, key, key), Reason::kOk);
  gateway_.values_a_message = 3;
  gateway_.calls.clear();
  GetRequest request;
  request.depth = 1;
  request.root = "r";
  EXPECT_EQ(Get(ns, keys, request), std::vector<Reason>(7, Reason::kOk));
  for (size_t i = 0; i < keys.size(); ++i) EXPECT_EQ(bytes_[i], std::byte(keys[i][0]));
  ASSERT_EQ(gateway_.calls.size(), 3u);
  EXPECT_EQ(gateway_.calls[0].root, "r");
  EXPECT_EQ(gateway_.calls[1].depth, 4u);  // begins a root group of 4 keys
  EXPECT_EQ(gateway_.calls[1].root, "");
  EXPECT_EQ(gateway_.calls[2].depth, 7u);
  EXPECT_EQ(gateway_.calls[2].root, "d");
}

TEST_F(ClientTest, AGetAsksAgainWhenTheAnswerEndsInAMiss) {
  const uint64_t ns = Open();
  for (std::string_view key : {"a", "b", "d"}) EXPECT_EQ(Set(ns, key, key), Reason::kOk);
  gateway_.values_a_message = 1;
  const std::vector expected = {Reason::kOk, Reason::kOk, Reason::kNotHeld, Reason::kOk,
                                Reason::kNotHeld};
  gateway_.calls.clear();
  EXPECT_EQ(Get(ns, {"a", "b", "c", "d", "e"}), expected);
  for (size_t i : {0, 1, 3}) EXPECT_EQ(bytes_[i], std::byte("abcde"[i]));
  EXPECT_EQ(gateway_.calls.size(), 3u);  // from a, from b, from d
  EXPECT_EQ(client_->stats().loaded_blocks, 3u);
}

TEST(NextUnsentTest, IsTheFirstKeyThatWasNotSent) {
  const auto next = [](const std::vector<Reason>& reasons, bool prefix_only) {
    std::vector<GetResult> results;
    for (Reason reason : reasons) results.push_back({.reason = reason});
    return NextUnsent(results, prefix_only);
  };
  constexpr Reason kOk = Reason::kOk, kNotSent = Reason::kNotSent, kMiss = Reason::kNotHeld;
  EXPECT_EQ(next({kOk, kNotSent, kMiss}, false), 1u);
  EXPECT_EQ(next({kMiss, kNotSent, kOk, kNotSent}, false), 1u);
  EXPECT_EQ(next({kOk, kMiss}, false), 2u);              // all was answered
  EXPECT_EQ(next({kNotSent, kMiss}, false), 2u);         // no progress
  EXPECT_EQ(next({kOk, kMiss, kNotSent}, false), 2u);    // goes on behind the miss
  EXPECT_EQ(next({kOk, kMiss, kNotSent}, true), 3u);     // the miss ended it
  EXPECT_EQ(next({kOk, kNotSent, kNotSent}, true), 1u);  // the message was full
}

TEST_F(ClientTest, AGetOfWhichNothingFitsEnds) {
  const uint64_t ns = Open();
  for (std::string_view key : {"a", "b"}) EXPECT_EQ(Set(ns, key, key), Reason::kOk);
  gateway_.values_a_message = 0;
  EXPECT_EQ(Get(ns, {"a", "b"}), std::vector<Reason>(2, Reason::kNotSent));
}

TEST_F(ClientTest, ASetOverTheMessageLimitIsSplitAlongTheChain) {
  const uint64_t ns = Open();
  const std::vector<std::byte> value(400);
  const std::span<const std::byte> piece(value);
  const std::vector<std::string_view> keys = {"a", "b", "c", "d", "e"};
  std::vector<SetEntry> entries;
  for (std::string_view key : keys) entries.push_back({.key = key, .value = {&piece, 1}});
  SetRequest request;
  request.ns = ns;
  request.entries = entries;
  gateway_.calls.clear();
  std::vector<SetResult> results(keys.size());
  EXPECT_TRUE(client_->Set(request, gateway_.In(100), results).ok());
  for (const SetResult& result : results) EXPECT_EQ(result.reason, Reason::kOk);
  ASSERT_EQ(gateway_.calls.size(), 3u);  // 2 + 2 + 1 of 400 bytes in messages of 1,000
  EXPECT_EQ(gateway_.calls[1].parent, "b");
  EXPECT_EQ(gateway_.calls[1].depth, 2u);
  EXPECT_EQ(gateway_.calls[1].root, "a");
  EXPECT_EQ(gateway_.calls[2].depth, 4u);
  EXPECT_EQ(gateway_.calls[2].root, "");
}

TEST_F(ClientTest, TheRestOfAChainIsNotSentAfterAFailedPart) {
  const uint64_t ns = Open();
  const std::vector<std::byte> value(900);
  const std::span<const std::byte> piece(value);
  std::vector<SetEntry> entries(3, {.key = "k", .value = {&piece, 1}});
  SetRequest request;
  request.ns = ns;
  request.entries = entries;
  request.mode = 2;
  gateway_.faults = {Fault::kNone, Fault::kBreakAfterSending};
  std::vector<SetResult> results(3);
  EXPECT_EQ(client_->Set(request, gateway_.In(100), results).code, Code::kUnavailable);
  EXPECT_EQ(results[0].reason, Reason::kOk);
  EXPECT_EQ(results[1].reason, Reason::kUnavailable);
  EXPECT_EQ(results[2].reason, Reason::kUnavailable);
  EXPECT_EQ(gateway_.Count("set"), 2);
}

// ---- arguments, staging, fork ----

TEST_F(ClientTest, WrongCountsAreRefusedBeforeAnythingIsSent) {
  const uint64_t ns = Open();
  const size_t calls = gateway_.calls.size();
  std::vector<GetResult> results(2);
  EXPECT_EQ(client_->Get({.ns = ns}, gateway_.In(10), results).code, Code::kInvalidArgument);
  EXPECT_EQ(results[1].reason, Reason::kRefused);
  EXPECT_EQ(client_->Set({.ns = ns}, gateway_.In(10), {}).code, Code::kInvalidArgument);
  EXPECT_EQ(gateway_.calls.size(), calls);
}

TEST_F(ClientTest, AnUnknownNumberIsRefused) {
  Open();
  EXPECT_EQ(Get(77, {"a"}), (std::vector{Reason::kRefused}));
  EXPECT_EQ(outcome_.code, Code::kInvalidArgument);
}

TEST_F(ClientTest, ARefusedIdentityGetsNoNumber) {
  gateway_.open_outcome = {Code::kInvalidArgument, true, "identity field groups: missing"};
  EXPECT_EQ(Open(), 0u);
  EXPECT_EQ(outcome_.message, "identity field groups: missing [KVG200]");
}

TEST_F(ClientTest, StagingIsBoundedAndAligned) {
  Make({.transport = "local", .local_socket = "/s", .staging_bytes = 1000});
  std::byte* first = client_->AllocStaging(600);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0u);
  EXPECT_EQ(client_->AllocStaging(600), nullptr);
  EXPECT_EQ(client_->stats().staging_in_use, 600u);
  client_->FreeStaging(first);
  EXPECT_EQ(client_->stats().staging_in_use, 0u);
  std::byte* again = client_->AllocStaging(1000);
  EXPECT_NE(again, nullptr);
  client_->FreeStaging(again);
}

TEST_F(ClientTest, AForkedChildGetsMissesAndSpeaksOnNoConnection) {
  int process = 1;
  ClientEnv env = gateway_.Env();
  env.process_id = [&process] { return process; };
  std::string error;
  client_ = CreateClient({.transport = "local", .local_socket = "/s"}, env, &error);
  const uint64_t ns = Open();
  const size_t calls = gateway_.calls.size();
  process = 2;
  EXPECT_EQ(Get(ns, {"a"}), (std::vector{Reason::kUnavailable}));
  EXPECT_EQ(Open(), 0u);
  EXPECT_EQ(client_->AllocStaging(64), nullptr);
  EXPECT_EQ(gateway_.calls.size(), calls);
  process = 1;  // the connection is given back here
  client_ = nullptr;
}

TEST_F(ClientTest, TheBreakersStateIsInTheStats) {
  EXPECT_EQ(client_->stats().breaker_state, BreakerState::kClosed);
  EXPECT_EQ(client_->stats().breaker_reason, BreakerReason::kNone);
  gateway_.state = State::kAbsent;
  client_->Ping(gateway_.In(100));
  EXPECT_EQ(client_->stats().breaker_state, BreakerState::kOpen);
  EXPECT_EQ(client_->stats().breaker_reason, BreakerReason::kNoGateway);
  EXPECT_EQ(client_->stats().breaker_opens, 1u);
  gateway_.Restart();
  gateway_.AdvanceMs(1000);
  EXPECT_TRUE(client_->Ping(gateway_.In(100)).ok());
  EXPECT_EQ(client_->stats().breaker_state, BreakerState::kClosed);
  EXPECT_EQ(client_->stats().breaker_reason, BreakerReason::kNoGateway);
}

// The local door refuses a token when it is connected to, gRPC at each call.
class RefusedTokenTest : public ClientTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    ClientEnv env = gateway_.Env();
    env.read_token = [this](const std::string&, std::string* token) {
      ++looks_;
      *token = in_file_;
      return std::string();
    };
    gateway_.wanted_token = "good";
    std::string error;
    client_ = CreateClient({.transport = GetParam(),
                            .local_socket = "/run/door",
                            .grpc_target = "unix:/g",
                            .token_file = "/token"},
                           env, &error);
    ASSERT_NE(client_, nullptr) << error;
  }
  std::string in_file_ = "bad";
  int looks_ = 0;
};

TEST_P(RefusedTokenTest, IsNoOutageAndNotAskedAboutAgainAtOnce) {
  const uint64_t ns = Open();
  EXPECT_NE(ns, 0u);  // it works once the token is good
  EXPECT_EQ(outcome_.code, Code::kUnauthenticated);
  const int connects = gateway_.connects;
  const size_t calls = gateway_.calls.size();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(Get(ns, {"a"}), std::vector<Reason>{Reason::kUnauthenticated});
    EXPECT_THAT(outcome_.message, ::testing::EndsWith("[KVG215]"));
  }
  EXPECT_EQ(Misses(Reason::kUnauthenticated), 20u);
  EXPECT_EQ(gateway_.connects, connects);
  EXPECT_EQ(gateway_.calls.size(), calls);
  EXPECT_EQ(client_->stats().breaker_state, BreakerState::kClosed);
  EXPECT_EQ(client_->stats().breaker_opens, 0u);
}

TEST_P(RefusedTokenTest, AnotherTokenInTheFileIsTriedWithinASecondOrTwo) {
  const uint64_t ns = Open();
  const int connects = gateway_.connects;
  gateway_.AdvanceMs(1000);
  Held(ns, "a");
  EXPECT_EQ(outcome_.code, Code::kUnauthenticated);
  EXPECT_EQ(gateway_.connects, connects) << "the same token was shown again";
  const int looks = looks_;
  Held(ns, "a");
  EXPECT_EQ(looks_, looks) << "the file is read once a second at most";
  in_file_ = "good";
  gateway_.AdvanceMs(1000);
  EXPECT_EQ(Set(ns, "a", "x"), Reason::kOk) << outcome_.message;
}

TEST_P(RefusedTokenTest, TheSameTokenIsTriedAgainAfterHalfAMinute) {
  const uint64_t ns = Open();
  gateway_.wanted_token = "bad";
  gateway_.AdvanceMs(29'000);
  EXPECT_EQ(Set(ns, "a", "x"), Reason::kUnauthenticated);
  gateway_.AdvanceMs(1000);
  EXPECT_EQ(Set(ns, "a", "x"), Reason::kOk) << outcome_.message;
}

TEST_P(RefusedTokenTest, AProbeThatIsRefusedClosesTheBreaker) {
  gateway_.state = State::kAbsent;
  const uint64_t ns = Open();
  EXPECT_EQ(client_->stats().breaker_state, BreakerState::kOpen);
  gateway_.Restart();
  gateway_.AdvanceMs(1000);
  EXPECT_EQ(Set(ns, "a", "x"), Reason::kUnauthenticated);
  EXPECT_EQ(client_->stats().breaker_state, BreakerState::kClosed);
}

INSTANTIATE_TEST_SUITE_P(Doors, RefusedTokenTest, ::testing::Values("local", "grpc", "auto"));

TEST_F(ClientTest, EveryReasonHasAName) {
  for (uint8_t i = 0; i <= static_cast<uint8_t>(Reason::kInternal); ++i) {
    EXPECT_NE(ReasonName(static_cast<Reason>(i)), "unknown");
  }
  EXPECT_EQ(ReasonName(static_cast<Reason>(99)), "unknown");
}

}  // namespace
}  // namespace kvgate::client
