// SPDX-License-Identifier: Apache-2.0
//
// The transport against a server of generated code in the same process.
#include "client/grpc/grpc_transport.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "proto/kvgate/v1/kvgate.grpc.pb.h"
#include "proto/wire/checksum.h"
#include "proto/wire/identity.h"

namespace kvgate::client {
namespace {

using wire::Code;

// Keeps values in a map; can hold every answer back until it is let go.
class Server final : public v1::KvCache::Service {
 public:
  explicit Server(const std::string& socket) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + socket, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    builder.SetMaxReceiveMessageSize(69 << 20);
    server_ = builder.BuildAndStart();
  }
  ~Server() override { Stop(); }

  void Stop() {
    Hold(false);
    if (server_) server_->Shutdown(std::chrono::system_clock::now());
    server_ = nullptr;
  }

  void Hold(bool held) {
    std::lock_guard<std::mutex> lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }

  grpc::Status Open(grpc::ServerContext*, const v1::OpenRequest* request,
                    v1::OpenResponse* response) override {
    if (request->identity().groups_size() == 0) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "identity.groups: empty"};
    }
    opened_model = request->identity().model();
    response->set_namespace_(5);
    response->set_incarnation(77);
    response->add_features(v1::FEATURE_PIN);
    response->add_root_group_keys(128);
    response->mutable_limits()->set_keys_max(1024);
    return grpc::Status::OK;
  }

  grpc::Status Set(grpc::ServerContext* context, const v1::SetRequest* request,
                   v1::SetResponse* response) override {
    has_deadline = context->deadline() < std::chrono::system_clock::now() + std::chrono::hours(1);
    Wait();
    std::lock_guard<std::mutex> lock(mutex_);
    for (int i = 0; i < request->entries_size(); ++i) {
      values_[request->entries(i).key()] = request->values(i);
      response->add_results()->set_state(v1::SET_STATE_STORED);
    }
    return grpc::Status::OK;
  }

  grpc::Status Get(grpc::ServerContext*, const v1::GetRequest* request,
                   v1::GetResponse* response) override {
    Wait();
    std::lock_guard<std::mutex> lock(mutex_);
    for (const std::string& key : request->keys()) {
      v1::GetResult* result = response->add_results();
      const auto found = values_.find(key);
      result->set_state(found == values_.end() ? v1::GET_STATE_MISS : v1::GET_STATE_OK);
      if (found == values_.end()) continue;
      result->set_value_bytes(found->second.size());
      result->set_crc32c(wire::Crc32c(0, found->second.data(), found->second.size()));
      response->add_values(found->second);
    }
    return grpc::Status::OK;
  }

  std::string opened_model;
  bool has_deadline = false;

 private:
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return !held_; });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  std::map<std::string, std::string> values_;
  std::unique_ptr<grpc::Server> server_;
};

class GrpcTransportTest : public ::testing::Test {
 protected:
  GrpcTransportTest() {
    char folder[] = "/tmp/kvgate_grpc_XXXXXX";
    folder_ = mkdtemp(folder);
    socket_ = folder_ + "/s";
    server_ = std::make_unique<Server>(socket_);
    options_.grpc_target = "unix:" + socket_;
    transport_ = Connect(10'000);
  }
  ~GrpcTransportTest() override {
    transport_ = nullptr;
    server_ = nullptr;
    unlink(socket_.c_str());
    rmdir(folder_.c_str());
  }

  std::unique_ptr<Transport> Connect(double ms) {
    auto connection =
        GrpcConnection::Connect(options_.grpc_target, options_.token, DeadlineIn(ms), &outcome_);
    return connection ? MakeGrpcTransport(std::move(connection), options_) : nullptr;
  }

  SetResult Set(std::string_view key, std::span<const std::byte> value, double ms = 10'000) {
    const SetEntry entry{.key = key, .value = {&value, 1}};
    SetRequest request;
    request.entries = {&entry, 1};
    SetResult result;
    outcome_ = transport_->Set(request, DeadlineIn(ms), {&result, 1});
    return result;
  }

  GetResult Get(std::string_view key, std::span<std::byte> target, double ms = 10'000) {
    const Pieces pieces(&target, 1);
    GetRequest request;
    request.keys = {&key, 1};
    request.targets = {&pieces, 1};
    const uint8_t verify = 1;
    GetResult result;
    outcome_ = transport_->Get(request, DeadlineIn(ms), {&verify, 1}, {&result, 1});
    return result;
  }

  std::string folder_, socket_;
  Options options_;
  Outcome outcome_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Transport> transport_;
};

TEST_F(GrpcTransportTest, OpenCarriesTheIdentityAndBringsTheAnswer) {
  wire::Identity identity;
  identity.model = "m";
  identity.groups.push_back({.kind = wire::GroupKind::kFullAttention, .block_tokens = 16});
  OpenReply reply;
  ASSERT_TRUE(
      transport_->Open({.identity = wire::EncodeIdentity(identity)}, DeadlineIn(10'000), &reply)
          .ok());
  EXPECT_EQ(server_->opened_model, "m");
  EXPECT_EQ(reply.ns_handle, 5u);
  EXPECT_EQ(reply.features, 1ull << v1::FEATURE_PIN);
  EXPECT_EQ(reply.root_group_keys, std::vector<uint32_t>{128});
  EXPECT_EQ(transport_->incarnation(), 77u);
}

TEST_F(GrpcTransportTest, ARefusalKeepsItsCodeAndText) {
  OpenReply reply;
  const std::string identity = wire::EncodeIdentity({.model = "m"});
  const Outcome outcome = transport_->Open({.identity = identity}, DeadlineIn(10'000), &reply);
  EXPECT_EQ(outcome.code, Code::kInvalidArgument);
  EXPECT_EQ(outcome.message, "identity.groups: empty");
}

TEST_F(GrpcTransportTest, BytesThatAreNoIdentityAreNotSent) {
  OpenReply reply;
  const Outcome outcome = transport_->Open({.identity = "junk"}, DeadlineIn(10'000), &reply);
  EXPECT_EQ(outcome.code, Code::kInvalidArgument);
  EXPECT_FALSE(outcome.sent);
}

TEST_F(GrpcTransportTest, ValuesOfAllSizesComeBack) {
  for (size_t bytes : {size_t{1}, size_t{65'535}, size_t{2} << 20, size_t{64} << 20}) {
    const std::vector<std::byte> value(bytes, std::byte{0x5a});
    EXPECT_EQ(Set("k", value).reason, Reason::kOk) << outcome_.message;
    std::vector<std::byte> target(bytes);
    EXPECT_EQ(Get("k", target).reason, Reason::kOk) << outcome_.message;
    EXPECT_EQ(target, value);
  }
  EXPECT_TRUE(server_->has_deadline);
}

TEST_F(GrpcTransportTest, StagingMemoryComesBackToo) {
  std::byte* memory = transport_->AllocStaging(1 << 20);
  ASSERT_NE(memory, nullptr);
  EXPECT_TRUE(transport_->OwnsStaging(memory));
  std::fill_n(memory, 1 << 20, std::byte{7});
  EXPECT_EQ(Set("k", {memory, 1 << 20}).reason, Reason::kOk);
  transport_->FreeStaging(memory);
  EXPECT_FALSE(transport_->OwnsStaging(memory));
  std::vector<std::byte> target(1 << 20);
  EXPECT_EQ(Get("k", target).reason, Reason::kOk);
  EXPECT_EQ(target, std::vector<std::byte>(1 << 20, std::byte{7}));
}

TEST_F(GrpcTransportTest, AValueOverTheLimitIsRefusedByName) {
  const std::vector<std::byte> value((64 << 20) + 1);
  Set("k", value);
  EXPECT_EQ(outcome_.code, Code::kInvalidArgument);
  EXPECT_EQ(outcome_.message, "value_bytes: 67108865 is over the limit of 67108864");
}

TEST_F(GrpcTransportTest, AHungServerCostsTheDeadlineAndTouchesNothingAfterwards) {
  const std::vector<std::byte> value(4096, std::byte{1});
  EXPECT_EQ(Set("k", value).reason, Reason::kOk);
  server_->Hold(true);
  std::vector<std::byte> target(4096, std::byte{'#'});
  Get("k", target, 50);
  EXPECT_EQ(outcome_.code, Code::kDeadlineExceeded);
  server_->Hold(false);
  // The late answer has certainly been dealt with once a later call has its own.
  std::vector<std::byte> other(4096);
  EXPECT_EQ(Get("k", other).reason, Reason::kOk);
  EXPECT_EQ(target, std::vector<std::byte>(4096, std::byte{'#'}));
}

TEST_F(GrpcTransportTest, ASetThatTimedOutMayLoseItsStagingMemory) {
  std::byte* memory = transport_->AllocStaging(32 << 20);
  std::fill_n(memory, 32 << 20, std::byte{7});
  server_->Hold(true);
  Set("k", {memory, 32 << 20}, 50);
  EXPECT_EQ(outcome_.code, Code::kDeadlineExceeded);
  transport_->FreeStaging(memory);  // under asan: nothing reads it after this
  server_->Hold(false);
  std::vector<std::byte> target(1);
  Get("other", target);
  EXPECT_TRUE(outcome_.ok()) << outcome_.message;
}

TEST_F(GrpcTransportTest, AStoppedServerBreaksTheTransport) {
  EXPECT_FALSE(transport_->broken());
  server_->Stop();
  std::vector<std::byte> target(1);
  Get("k", target);
  EXPECT_EQ(outcome_.code, Code::kUnavailable);
  EXPECT_TRUE(transport_->broken());
  EXPECT_EQ(Connect(10'000), nullptr);
  EXPECT_EQ(outcome_.code, Code::kUnavailable);
}

TEST_F(GrpcTransportTest, PingIsAnsweredByAServerWithoutHealthService) {
  EXPECT_TRUE(transport_->Ping(DeadlineIn(10'000)).ok());
}

TEST_F(GrpcTransportTest, ManyThreadsShareOneTransport) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([this, t] {
      const std::string key = "k" + std::to_string(t);
      const std::vector<std::byte> value(100'000, std::byte(t));
      const std::span<const std::byte> piece(value);
      const SetEntry entry{.key = key, .value = {&piece, 1}};
      SetRequest set;
      set.entries = {&entry, 1};
      SetResult stored;
      EXPECT_TRUE(transport_->Set(set, DeadlineIn(10'000), {&stored, 1}).ok());
      for (int i = 0; i < 50; ++i) {
        std::vector<std::byte> target(100'000);
        std::span<std::byte> into(target);
        const Pieces pieces(&into, 1);
        const std::string_view view = key;
        GetRequest get;
        get.keys = {&view, 1};
        get.targets = {&pieces, 1};
        const uint8_t verify = 1;
        GetResult result;
        EXPECT_TRUE(transport_->Get(get, DeadlineIn(10'000), {&verify, 1}, {&result, 1}).ok());
        EXPECT_EQ(target, value);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace kvgate::client
