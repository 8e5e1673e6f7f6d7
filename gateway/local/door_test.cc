// SPDX-License-Identifier: Apache-2.0
//
// The door against clients that keep no rule, over a raw socket.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <string>
#include <vector>

#include "gateway/local/raw_client.h"
#include "gateway/local/test_door.h"

namespace kvgate::gateway {
namespace {

using ::testing::HasSubstr;

class HostileClient : public ::testing::Test {
 protected:
  void SetUp() override {
    witness_.Greet();
    client_.Greet();
  }
  // The reply names what is wrong, the connection ends, and another client is served on.
  void ExpectRefusedAndClosed(const std::string& text) {
    const Packet packet = client_.Receive();
    ASSERT_FALSE(packet.ended);
    EXPECT_EQ(packet.code(), 3u);
    EXPECT_THAT(packet.rest, HasSubstr(text));
    Packet next = client_.Receive();
    while (!next.ended && next.header.magic == local::kMagic) next = client_.Receive();
    EXPECT_TRUE(next.ended);
    door_.AwaitCounter("local_messages_malformed_total", 1);
    ExpectWitnessServed();
  }
  void ExpectWitnessServed() {
    std::memcpy(witness_.staging(), "value", 5);
    const Packet set = witness_.Ask(Op::kCommit, witness_.CommitBody(0, 5));
    EXPECT_EQ(set.code(), 0u) << set.rest;
    const Packet ping = witness_.Ask(Op::kPing, "");
    EXPECT_EQ(ping.code(), 0u);
  }

  TestDoor door_;
  RawClient witness_{door_}, client_{door_};
};

TEST_F(HostileClient, StagingIsSealedAndGenerationsAreReadOnly) {
  EXPECT_EQ(client_.seals() & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
            F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  EXPECT_FALSE(client_.generations_writable());
}

TEST_F(HostileClient, ShortMessage) {
  client_.SendRaw("x");
  ExpectRefusedAndClosed("bytes: 1, must be at least 32");
}

TEST_F(HostileClient, WrongLength) {
  MsgHeader header = RawClient::Header(Op::kPing, 0);
  header.bytes = 40;
  client_.SendRaw(Raw(header));
  ExpectRefusedAndClosed("bytes: 40, must be 32");
}

TEST_F(HostileClient, TooLongMessage) {
  client_.SendRaw(std::string(local::kMessageBytesMax + 1, 'x'));
  ExpectRefusedAndClosed("bytes: 65537, at most 65536");
}

TEST_F(HostileClient, FarTooLongMessage) {
  client_.SendRaw(std::string(local::kMessageBytesMax * 2, 'x'));
  ExpectRefusedAndClosed("bytes: more than 65536");
}

TEST_F(HostileClient, BadMagic) {
  MsgHeader header = RawClient::Header(Op::kPing, 0);
  header.magic = 1;
  client_.SendRaw(Raw(header));
  ExpectRefusedAndClosed("magic: 1, must be");
}

TEST_F(HostileClient, WrongVersion) {
  MsgHeader header = RawClient::Header(Op::kPing, 0);
  header.version = 9;
  client_.SendRaw(Raw(header));
  ExpectRefusedAndClosed("version: 9, must be 1");
}

TEST_F(HostileClient, UnknownOp) {
  client_.Send(static_cast<Op>(99), "");
  ExpectRefusedAndClosed("op: 99, must be 1 to 14");
}

TEST_F(HostileClient, ReservedNotZero) {
  MsgHeader header = RawClient::Header(Op::kPing, 0);
  header.reserved = 5;
  client_.SendRaw(Raw(header));
  ExpectRefusedAndClosed("reserved: 5, must be 0");
}

TEST_F(HostileClient, SecondHello) {
  client_.Send(Op::kHello, Raw(RawClient::HelloOf()));
  ExpectRefusedAndClosed("op: 1 (HELLO)");
}

TEST_F(HostileClient, TruncatedStruct) {
  client_.Send(Op::kGet, "1234");
  ExpectRefusedAndClosed("4 bytes are left, 88 are needed");
}

TEST_F(HostileClient, TrailingBytes) {
  client_.Send(Op::kGet, client_.GetBody() + "x");
  ExpectRefusedAndClosed("bytes of the inline body: 4, must be 3");
}

TEST_F(HostileClient, KeyListLongerThanItsBody) {
  std::string body = client_.GetBody();
  body[body.size() - 3] = 2;
  client_.Send(Op::kGet, body);
  ExpectRefusedAndClosed("1 bytes are left, 2 are needed");
}

TEST_F(HostileClient, CountWithoutKeys) {
  local::Get get{};
  get.ns = client_.opened().ns;
  get.count = 0xffffffff;
  client_.Send(Op::kGet, Raw(get));
  ExpectRefusedAndClosed("body of GET: 0 bytes are left");
}

TEST_F(HostileClient, ValueOutsideStaging) {
  client_.Send(Op::kCommit, client_.CommitBody(client_.staging_bytes() - 4, 5));
  ExpectRefusedAndClosed("staging has");
}

TEST_F(HostileClient, ValueWhoseEndOverflows) {
  client_.Send(Op::kCommit, client_.CommitBody(8, ~0ull - 4));
  ExpectRefusedAndClosed("staging has");
}

TEST_F(HostileClient, AnswerRegionOutsideStaging) {
  local::Get get{};
  get.copy_out = {client_.staging_bytes(), 1};
  client_.Send(Op::kGet, client_.GetBody(get));
  ExpectRefusedAndClosed("get.copy_out: offset");
}

TEST_F(HostileClient, BodyOutsideStaging) {
  local::Get get{};
  get.ns = client_.opened().ns;
  get.count = 1;
  get.body = {client_.staging_bytes() - 1, 4, 1};
  client_.Send(Op::kGet, Raw(get));
  ExpectRefusedAndClosed("body: offset");
}

TEST_F(HostileClient, BodyOverItsLimit) {
  local::Get get{};
  get.ns = client_.opened().ns;
  get.count = 1;
  get.body = {0, 6u << 20, 1};
  client_.Send(Op::kGet, Raw(get));
  ExpectRefusedAndClosed("body.bytes: 6291456, at most 5242880");
}

TEST_F(HostileClient, CrcWithoutItsFlag) {
  local::EntryWire entry{};
  entry.producer_crc = 5;
  client_.Send(Op::kCommit, client_.CommitBody(0, 5, entry));
  ExpectRefusedAndClosed("entry.producer_crc: 5, must be 0");
}

TEST_F(HostileClient, SendsAnFd) {
  client_.SendWithFds(Raw(RawClient::Header(Op::kPing, 0)), 1);
  ExpectRefusedAndClosed("fds: 1, must be 0");
}

TEST_F(HostileClient, SendsMoreFdsThanAreTaken) {
  client_.SendWithFds(Raw(RawClient::Header(Op::kPing, 0)), 100);
  ExpectRefusedAndClosed("fds:");
}

TEST_F(HostileClient, SpeaksBeforeHello) {
  RawClient stranger(door_);
  stranger.Send(Op::kPing, "");
  const Packet packet = stranger.Receive();
  EXPECT_EQ(packet.code(), 3u);
  EXPECT_THAT(packet.rest, HasSubstr("before HELLO"));
  EXPECT_TRUE(stranger.Receive().ended);
  ExpectWitnessServed();
}

TEST_F(HostileClient, OtherVersionIsRefusedByNumber) {
  RawClient stranger(door_);
  local::Hello hello = RawClient::HelloOf();
  hello.version_min = hello.version_max = 7;
  const Packet packet = stranger.Ask(Op::kHello, Raw(hello));
  EXPECT_EQ(packet.code(), 9u);
  EXPECT_THAT(packet.rest, HasSubstr("7 to 7, this gateway speaks 1 to 2"));
}

TEST_F(HostileClient, NewerClientThatSpeaksOursIsGreeted) {
  RawClient stranger(door_);
  local::Hello hello = RawClient::HelloOf();
  hello.version_max = 7;
  const Packet packet = stranger.Ask(Op::kHello, Raw(hello));
  EXPECT_EQ(packet.code(), 0u) << packet.rest;
}

TEST_F(HostileClient, TokenNobodyAskedForIsTaken) {
  RawClient stranger(door_);
  local::Hello hello = RawClient::HelloOf();
  std::strcpy(hello.token, "secret");
  EXPECT_EQ(stranger.Ask(Op::kHello, Raw(hello)).code(), 0u);
}

TEST_F(HostileClient, ExtentNeedsTheCapability) {
  local::Extent extent{};
  Packet packet = client_.Ask(Op::kExtent, Raw(extent));
  EXPECT_EQ(packet.code(), 7u);
  std::memcpy(extent.capability, client_.hello().capability, sizeof(extent.capability));
  extent.extent = 1234567;
  packet = client_.Ask(Op::kExtent, Raw(extent));
  EXPECT_EQ(packet.code(), 5u);
  EXPECT_THAT(packet.rest, HasSubstr("1234567"));
}

TEST_F(HostileClient, DoubleCommitIsHeld) {
  std::memcpy(client_.staging(), "value", 5);
  const std::string body = client_.CommitBody(0, 5);
  const Packet first = client_.Ask(Op::kCommit, body), second = client_.Ask(Op::kCommit, body);
  ASSERT_EQ(first.code(), 0u) << first.rest;
  EXPECT_EQ(first.rest[sizeof(local::CommitOk)], 1);   // STORED
  EXPECT_EQ(second.rest[sizeof(local::CommitOk)], 2);  // HELD
}

TEST_F(HostileClient, StrangersLeaseIsIgnored) {
  local::Release release{1, 0};
  client_.Send(Op::kRelease, Raw(release) + Raw(uint64_t{99}));
  EXPECT_EQ(client_.Ask(Op::kPing, "").code(), 0u);
}

TEST_F(HostileClient, ExpiredDeadlineIsAnErrorOfTheCallAlone) {
  MsgHeader header = RawClient::Header(Op::kGet, client_.GetBody().size());
  header.timeout_us = 0;
  client_.SendRaw(Raw(header) + client_.GetBody());
  EXPECT_EQ(client_.Receive().code(), 4u);
  EXPECT_EQ(client_.Ask(Op::kPing, "").code(), 0u);
}

TEST_F(HostileClient, KeyOverItsLimitIsAnErrorOfTheCallAlone) {
  local::Get get{};
  get.ns = client_.opened().ns;
  get.count = 1;
  const std::string key(1025, 'k');
  get.body.bytes = static_cast<uint32_t>(2 + key.size());
  const Packet packet =
      client_.Ask(Op::kGet, Raw(get) + Raw(static_cast<uint16_t>(key.size())) + key);
  EXPECT_EQ(packet.code(), 3u);
  EXPECT_THAT(packet.rest, HasSubstr("1025"));
  EXPECT_EQ(client_.Ask(Op::kPing, "").code(), 0u);
}

TEST_F(HostileClient, ClientThatReadsNoRepliesIsClosed) {
  // Errors of 200 bytes each fill the socket, then the queue.
  const std::string body = client_.GetBody();
  for (int i = 0; i < 20'000; ++i) {
    MsgHeader header = RawClient::Header(Op::kGet, body.size());
    header.timeout_us = 0;
    const std::string message = Raw(header) + body;
    if (send(client_.socket_fd(), message.data(), message.size(), MSG_NOSIGNAL) < 0) break;
  }
  door_.AwaitCounter("local_reply_queue_overflows_total", 1);
  door_.AwaitCounter("local_clients", 1);
  ExpectWitnessServed();
}

TEST_F(HostileClient, SilentStrangersAreSentAway) {
  RawClient stranger(door_);
  door_.AwaitCounter("local_clients", 3);
  door_.clock().Advance(absl::Seconds(6));
  door_.door().RunTimers();
  EXPECT_TRUE(stranger.Receive().ended);
  ExpectWitnessServed();
}

TEST(LocalDoorFile, LiveDoorsSocketIsNotTaken) {
  TestDoor door;
  const auto second = LocalDoor::Start(door.door_options(), &door.clock(), &door.store(),
                                       &door.namespaces(), nullptr);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("in use by a running gateway"));
}

TEST(LocalDoorFile, DeadDoorsSocketIsReplaced) {
  TestDoor door;
  door.Stop();
  const int dead = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, door.socket_path().c_str());
  ASSERT_EQ(bind(dead, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  close(dead);
  door.Start();
  RawClient client(door);
  client.Greet();
}

TEST(LocalDoorFile, OtherFilesAreLeftAlone) {
  TestDoor door;
  door.Stop();
  close(open(door.socket_path().c_str(), O_CREAT | O_WRONLY, 0600));
  const auto second = LocalDoor::Start(door.door_options(), &door.clock(), &door.store(),
                                       &door.namespaces(), nullptr);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  unlink(door.socket_path().c_str());
  door.Start();
}

TEST(LocalDoorFile, TooLongPathIsRefused) {
  TestDoor door;
  LocalDoorOptions options = door.door_options();
  options.socket_path = "/tmp/" + std::string(120, 'x');
  EXPECT_THAT(std::string(LocalDoor::Start(options, &door.clock(), &door.store(),
                                           &door.namespaces(), nullptr)
                              .status()
                              .message()),
              HasSubstr("1 to 107 are allowed"));
}

TEST(LocalDoorFile, StopRemovesTheSocket) {
  TestDoor door;
  door.Stop();
  struct stat info;
  EXPECT_NE(stat(door.socket_path().c_str(), &info), 0);
}

}  // namespace
}  // namespace kvgate::gateway
