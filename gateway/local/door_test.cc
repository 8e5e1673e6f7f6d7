// SPDX-License-Identifier: Apache-2.0
//
// The door against clients that keep no rule, over a raw socket.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "gateway/local/protocol.h"
#include "gateway/local/test_door.h"
#include "proto/wire/identity.h"

namespace kvgate::gateway {
namespace {

using local::MsgHeader;
using local::Op;
using ::testing::HasSubstr;

template <typename T>
std::string Raw(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

struct Packet {
  bool ended = false;
  MsgHeader header{};
  std::string rest;
  std::vector<int> fds;
  uint64_t code() const { return header.timeout_us; }
};

// Speaks bytes.
class RawClient {
 public:
  explicit RawClient(const TestDoor& door) {
    socket_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, door.socket_path().c_str());
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~RawClient() {
    if (staging_ != nullptr) munmap(staging_, staging_bytes_);
    close(socket_);
  }

  static MsgHeader Header(Op op, size_t body) {
    MsgHeader header{};
    header.magic = local::kMagic;
    header.version = 1;
    header.op = static_cast<uint16_t>(op);
    header.bytes = static_cast<uint32_t>(sizeof(header) + body);
    header.request_id = 1;
    header.timeout_us = 20'000'000;
    return header;
  }

  void SendRaw(const std::string& message) {
    EXPECT_EQ(send(socket_, message.data(), message.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(message.size()));
  }
  void Send(Op op, const std::string& body) { SendRaw(Raw(Header(op, body.size())) + body); }
  void SendWithFds(const std::string& message, int count) {
    iovec piece{const_cast<char*>(message.data()), message.size()};
    std::vector<char> control(CMSG_SPACE(sizeof(int) * count));
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* fds = CMSG_FIRSTHDR(&header);
    fds->cmsg_level = SOL_SOCKET;
    fds->cmsg_type = SCM_RIGHTS;
    fds->cmsg_len = CMSG_LEN(sizeof(int) * count);
    for (int i = 0; i < count; ++i)
      std::memcpy(CMSG_DATA(fds) + i * sizeof(int), &socket_, sizeof(int));
    EXPECT_GT(sendmsg(socket_, &header, MSG_NOSIGNAL), 0);
  }

  Packet Receive() {
    Packet packet;
    pollfd item{socket_, POLLIN, 0};
    EXPECT_EQ(poll(&item, 1, 30'000), 1) << "no reply";
    std::vector<char> buffer(local::kMessageBytesMax);
    iovec piece{buffer.data(), buffer.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 4)];
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    const ssize_t got = recvmsg(socket_, &header, 0);
    if (got <= 0) {
      packet.ended = true;
      return packet;
    }
    EXPECT_GE(got, static_cast<ssize_t>(sizeof(MsgHeader)));
    std::memcpy(&packet.header, buffer.data(), sizeof(MsgHeader));
    packet.rest.assign(buffer.data() + sizeof(MsgHeader), got - sizeof(MsgHeader));
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
      const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
        packet.fds.push_back(fd);
      }
    }
    return packet;
  }
  Packet Ask(Op op, const std::string& body) {
    Send(op, body);
    return Receive();
  }

  static local::Hello HelloOf(uint64_t staging_bytes = 1 << 20) {
    local::Hello hello{};
    hello.version_min = hello.version_max = 1;
    hello.staging_bytes = staging_bytes;
    return hello;
  }

  // Greets, maps staging, opens a namespace.
  void Greet() {
    const Packet packet = Ask(Op::kHello, Raw(HelloOf()));
    ASSERT_EQ(packet.code(), 0u) << packet.rest;
    ASSERT_EQ(packet.rest.size(), sizeof(hello_));
    std::memcpy(&hello_, packet.rest.data(), sizeof(hello_));
    ASSERT_EQ(packet.fds.size(), 2u);
    staging_bytes_ = hello_.staging_bytes;
    void* memory =
        mmap(nullptr, staging_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, packet.fds[0], 0);
    ASSERT_NE(memory, MAP_FAILED);
    staging_ = static_cast<char*>(memory);
    seals_ = fcntl(packet.fds[0], F_GET_SEALS);
    generations_writable_ =
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, packet.fds[1], 0) != MAP_FAILED;
    for (int fd : packet.fds) close(fd);
    const std::string identity = wire::EncodeIdentity(TestDoor::Identity());
    local::Open open{};
    open.identity_bytes = static_cast<uint32_t>(identity.size());
    open.body.bytes = open.identity_bytes;
    const Packet opened = Ask(Op::kOpen, Raw(open) + identity);
    ASSERT_EQ(opened.code(), 0u) << opened.rest;
    std::memcpy(&open_, opened.rest.data(), sizeof(open_));
  }

  // A well-formed COMMIT of `value_bytes` at `offset` of staging under "k".
  std::string CommitBody(uint64_t offset, uint64_t value_bytes, local::EntryWire entry = {}) const {
    entry.offset = offset;
    entry.value_bytes = value_bytes;
    entry.key_bytes = 1;
    local::Commit commit{};
    commit.ns = open_.ns;
    commit.count = 1;
    commit.mode = 1;
    commit.body.bytes = sizeof(entry) + 1;
    return Raw(commit) + Raw(entry) + "k";
  }
  std::string GetBody(local::Get get = {}) const {
    get.ns = open_.ns;
    get.count = 1;
    get.body.bytes = 3;
    return Raw(get) + std::string("\x01\x00k", 3);
  }

  const local::HelloOk& hello() const { return hello_; }
  const local::OpenOk& opened() const { return open_; }
  char* staging() { return staging_; }
  uint64_t staging_bytes() const { return staging_bytes_; }
  int seals() const { return seals_; }
  bool generations_writable() const { return generations_writable_; }
  int socket_fd() const { return socket_; }

 private:
  int socket_ = -1;
  local::HelloOk hello_{};
  local::OpenOk open_{};
  char* staging_ = nullptr;
  uint64_t staging_bytes_ = 0;
  int seals_ = 0;
  bool generations_writable_ = false;
};

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
  EXPECT_THAT(packet.rest, HasSubstr("7 to 7, this gateway speaks 1 to 1"));
}

TEST_F(HostileClient, NewerClientThatSpeaksOursIsGreeted) {
  RawClient stranger(door_);
  local::Hello hello = RawClient::HelloOf();
  hello.version_max = 7;
  const Packet packet = stranger.Ask(Op::kHello, Raw(hello));
  EXPECT_EQ(packet.code(), 0u) << packet.rest;
}

TEST_F(HostileClient, TokenNobodyAskedForIsRefused) {
  RawClient stranger(door_);
  local::Hello hello = RawClient::HelloOf();
  std::strcpy(hello.token, "secret");
  EXPECT_EQ(stranger.Ask(Op::kHello, Raw(hello)).code(), 16u);
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

TEST(LocalDoorFile, TokenIsDemanded) {
  TestDoor::Options options = TestDoor::DefaultOptions();
  options.door.token = "secret";
  TestDoor door(options);
  RawClient without(door), with(door);
  local::Hello hello = RawClient::HelloOf();
  EXPECT_EQ(without.Ask(Op::kHello, Raw(hello)).code(), 16u);
  std::strcpy(hello.token, "secret");
  EXPECT_EQ(with.Ask(Op::kHello, Raw(hello)).code(), 0u);
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
