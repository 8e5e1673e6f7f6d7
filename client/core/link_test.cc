// SPDX-License-Identifier: Apache-2.0
//
// What several callers see of one link. Threads are ordered by the connects that they wait in.
#include "client/core/link.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>
#include <vector>

#include "client/core/fake_gateway.h"

namespace kvgate::client {
namespace {

// A connect that tells when it began and ends when it is let go.
class SlowDoor {
 public:
  ClientEnv Env(FakeGateway& gateway) {
    ClientEnv env = gateway.Env();
    env.connect_local = [this, &gateway](const Options&, Deadline,
                                         Outcome* outcome) -> std::unique_ptr<Transport> {
      ++connects;
      began.set_value();
      if (let_go.get_future().get()) return std::make_unique<FakeTransport>(gateway, "local");
      *outcome = Outcome{wire::Code::kUnavailable, false, "refused"};
      return nullptr;
    };
    return env;
  }

  int connects = 0;
  std::promise<void> began;
  std::promise<bool> let_go;
};

Options LocalOptions() { return {.transport = "local", .local_socket = "/run/door"}; }

TEST(LinkTest, CallersShareTheFirstConnect) {
  FakeGateway gateway;
  SlowDoor door;
  Link link(LocalOptions(), door.Env(gateway));
  const Deadline deadline = gateway.In(60'000);
  std::vector<uint64_t> ids(8);
  std::vector<std::thread> threads;
  for (uint64_t& id : ids) {
    threads.emplace_back([&link, &id, deadline] {
      Outcome outcome;
      id = link.Acquire(deadline, &outcome).id;
    });
  }
  door.began.get_future().wait();
  door.let_go.set_value(true);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ids, std::vector<uint64_t>(8, 1));
  EXPECT_EQ(door.connects, 1);
}

TEST(LinkTest, OthersAreRefusedAtOnceWhileOneProbes) {
  FakeGateway gateway;
  SlowDoor door;
  Link link(LocalOptions(), door.Env(gateway));
  Outcome outcome;
  door.let_go.set_value(false);
  EXPECT_EQ(link.Acquire(gateway.In(1000), &outcome).transport, nullptr);
  door.began = {};
  door.let_go = {};
  gateway.AdvanceMs(200);

  const Deadline deadline = gateway.In(60'000);
  std::thread probe([&link, deadline] {
    Outcome probed;
    EXPECT_NE(link.Acquire(deadline, &probed).transport, nullptr);
  });
  door.began.get_future().wait();
  EXPECT_EQ(link.Acquire(deadline, &outcome).transport, nullptr);
  EXPECT_EQ(outcome.code, wire::Code::kUnavailable);
  door.let_go.set_value(true);
  probe.join();
  EXPECT_NE(link.Acquire(deadline, &outcome).transport, nullptr);
  EXPECT_EQ(door.connects, 2);
}

TEST(LinkTest, ACallerWhoseTimeIsOverDoesNotWaitForTheConnect) {
  FakeGateway gateway;
  SlowDoor door;
  Link link(LocalOptions(), door.Env(gateway));
  std::thread connecting([&link, deadline = gateway.In(60'000)] {
    Outcome outcome;
    link.Acquire(deadline, &outcome);
  });
  door.began.get_future().wait();
  Outcome outcome;
  EXPECT_EQ(link.Acquire(gateway.In(0), &outcome).transport, nullptr);
  EXPECT_EQ(outcome.code, wire::Code::kDeadlineExceeded);
  door.let_go.set_value(true);
  connecting.join();
}

TEST(LinkTest, ReportsAboutAnOldAttachmentAreIgnored) {
  FakeGateway gateway;
  Link link(LocalOptions(), gateway.Env());
  Outcome outcome;
  const Attachment old = link.Acquire(gateway.In(100), &outcome);
  gateway.Restart();
  static_cast<void>(old.transport->Ping(gateway.In(100)));  // notices that it broke
  const Attachment fresh = link.Acquire(gateway.In(100), &outcome);
  EXPECT_NE(fresh.id, old.id);
  for (int i = 0; i < 100; ++i) link.Report(old, false, gateway.now);
  EXPECT_EQ(link.breaker_opens(), 0u);
  EXPECT_EQ(link.Acquire(gateway.In(100), &outcome).id, fresh.id);
}

TEST(LinkTest, ABrokenAttachmentIsRetiredBeforeTheNextIsMade) {
  FakeGateway gateway;
  ClientEnv env = gateway.Env();
  std::vector<int> retired_at_connect;
  env.connect_local = [&, connect = env.connect_local](const Options& options, Deadline deadline,
                                                       Outcome* outcome) {
    retired_at_connect.push_back(gateway.retired);
    return connect(options, deadline, outcome);
  };
  Link link(LocalOptions(), env);
  Outcome outcome;
  // A caller that keeps it, as one does who holds staging memory.
  const Attachment old = link.Acquire(gateway.In(100), &outcome);
  gateway.Restart();
  static_cast<void>(old.transport->Ping(gateway.In(100)));  // notices that it broke
  EXPECT_NE(link.Acquire(gateway.In(100), &outcome).id, old.id);
  EXPECT_EQ(retired_at_connect, (std::vector<int>{0, 1}));
}

TEST(LinkTest, ABrokenAttachmentIsRetiredThoughTheGatewayStaysAway) {
  FakeGateway gateway;
  Link link(LocalOptions(), gateway.Env());
  Outcome outcome;
  const Attachment old = link.Acquire(gateway.In(100), &outcome);
  gateway.state = FakeGateway::State::kAbsent;
  static_cast<void>(old.transport->Ping(gateway.In(100)));
  link.Report(old, false, gateway.now);
  EXPECT_EQ(gateway.retired, 1);
}

TEST(LinkTest, AMoveToTheLocalDoorRetiresTheOtherWay) {
  FakeGateway gateway;
  gateway.local_socket_there = false;
  Link link({.transport = "auto", .local_socket = "/run/door", .grpc_target = "unix:/g"},
            gateway.Env());
  Outcome outcome;
  const Attachment grpc = link.Acquire(gateway.In(100), &outcome);
  ASSERT_STREQ(grpc.transport->name(), "grpc");
  gateway.local_socket_there = true;
  gateway.AdvanceMs(2000);
  ASSERT_STREQ(link.Acquire(gateway.In(100), &outcome).transport->name(), "local");
  EXPECT_EQ(gateway.retired, 1);
}

TEST(LinkTest, TheTokenIsReadAtEachConnect) {
  FakeGateway gateway;
  std::string in_file = "first";
  std::vector<std::string> shown;
  ClientEnv env = gateway.Env();
  env.read_token = [&](const std::string& path, std::string* token) {
    EXPECT_EQ(path, "/token");
    *token = in_file;
    return in_file.empty() ? std::string("token_file /token: cannot be read") : "";
  };
  env.connect_local = [&, connect = env.connect_local](const Options& options, Deadline deadline,
                                                       Outcome* outcome) {
    shown.push_back(options.token);
    return connect(options, deadline, outcome);
  };
  Options options = LocalOptions();
  options.token_file = "/token";
  Link link(options, env);
  Outcome outcome;
  Attachment attachment = link.Acquire(gateway.In(1000), &outcome);
  ASSERT_NE(attachment.transport, nullptr) << outcome.message;
  in_file = "second";
  gateway.Restart();
  static_cast<void>(attachment.transport->Ping(gateway.In(100)));  // notices that it broke
  EXPECT_NE(link.Acquire(gateway.In(1000), &outcome).transport, nullptr);
  EXPECT_EQ(shown, (std::vector<std::string>{"first", "second"}));
}

TEST(LinkTest, AFileWithoutATokenIsNoConnection) {
  FakeGateway gateway;
  ClientEnv env = gateway.Env();
  env.read_token = [](const std::string&, std::string*) { return std::string("no token there"); };
  Options options = LocalOptions();
  options.token_file = "/token";
  Link link(options, env);
  Outcome outcome;
  EXPECT_EQ(link.Acquire(gateway.In(1000), &outcome).transport, nullptr);
  EXPECT_EQ(outcome.code, wire::Code::kUnauthenticated);
  EXPECT_EQ(outcome.message, "no token there");
  EXPECT_EQ(gateway.connects, 0);
}

TEST(LinkTest, OptionsWithATokenThatCannotBeSentAreRefused) {
  Options options = LocalOptions();
  options.token = "0123456789abcdef";
  EXPECT_EQ(CheckOptions(options), "");
  options.token_file = "/token";
  EXPECT_NE(CheckOptions(options), "");
  options.token_file = "";
  for (const std::string& wrong : {std::string("a b"), std::string("a\n"), std::string(257, 'x')}) {
    options.token = wrong;
    EXPECT_NE(CheckOptions(options), "") << wrong;
  }
}

}  // namespace
}  // namespace kvgate::client
