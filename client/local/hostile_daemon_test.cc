// SPDX-License-Identifier: Apache-2.0
//
// A daemon that answers nonsense: the transport ends with a reason, and touches nothing outside
// what it mapped.
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "client/local/local_transport.h"

namespace kvgate::client {
namespace {

using local::MsgHeader;
using local::Op;

constexpr uint64_t kStaging = 2 << 20, kExtent = 1 << 20, kGenerations = 16;

template <typename T>
std::string Raw(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

Deadline Soon() { return MonotonicNs() + 20'000'000'000; }

int Memfd(uint64_t bytes) {
  const int fd = memfd_create("hostile", MFD_CLOEXEC);
  EXPECT_EQ(ftruncate(fd, static_cast<off_t>(bytes)), 0);
  return fd;
}

// Answers one client by a script; HELLO and EXTENT as agreed unless the script says otherwise.
class FakeDoor {
 public:
  struct Answer {
    uint64_t code = 0;
    std::string rest;
    std::vector<int> fds;
    bool mute = false;  // no reply
    std::string raw;    // instead of a reply
  };
  using Script = std::function<Answer(Op op, const std::string& body, Answer usual)>;

  explicit FakeDoor(Script script) : script_(std::move(script)) {
    char directory[] = "/tmp/kvgate-fake-XXXXXX";
    EXPECT_NE(mkdtemp(directory), nullptr);
    directory_ = directory;
    path_ = directory_ + "/s";
    listener_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path_.c_str());
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(listener_, 1), 0);
    thread_ = std::thread([this] { Serve(); });
  }
  ~FakeDoor() {
    shutdown(listener_, SHUT_RDWR);
    if (client_ >= 0) shutdown(client_, SHUT_RDWR);
    thread_.join();
    close(listener_);
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }

  std::unique_ptr<LocalTransport> Connect(Outcome* outcome) const {
    Options options;
    options.local_socket = path_;
    options.connect_timeout_ms = 20'000;
    return LocalTransport::Connect(options, Soon(), {}, outcome);
  }

 private:
  Answer Usual(Op op) {
    Answer answer;
    if (op == Op::kHello) {
      local::HelloOk ok{};
      ok.version = 1;
      ok.in_flight_max = 64;
      ok.incarnation = 5;
      ok.staging_bytes = kStaging;
      ok.generations = kGenerations;
      answer.rest = Raw(ok);
      answer.fds = {staging_, generations_};
    } else if (op == Op::kExtent) {
      answer.rest = Raw(local::ExtentOk{kExtent, 0, 0});
      answer.fds = {extent_};
    }
    return answer;
  }

  void Reply(const MsgHeader& request, const Answer& answer) {
    if (answer.mute) return;
    MsgHeader header = request;
    header.op |= local::kReplyBit;
    header.bytes = static_cast<uint32_t>(sizeof(header) + answer.rest.size());
    header.timeout_us = answer.code;
    const std::string message = answer.raw.empty() ? Raw(header) + answer.rest : answer.raw;
    iovec piece{const_cast<char*>(message.data()), message.size()};
    msghdr out{};
    out.msg_iov = &piece;
    out.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 2)] = {};
    if (!answer.fds.empty()) {
      out.msg_control = control;
      out.msg_controllen = CMSG_SPACE(sizeof(int) * answer.fds.size());
      cmsghdr* fds = CMSG_FIRSTHDR(&out);
      fds->cmsg_level = SOL_SOCKET;
      fds->cmsg_type = SCM_RIGHTS;
      fds->cmsg_len = CMSG_LEN(sizeof(int) * answer.fds.size());
      std::memcpy(CMSG_DATA(fds), answer.fds.data(), sizeof(int) * answer.fds.size());
    }
    (void)sendmsg(client_, &out, MSG_NOSIGNAL);
  }

  void Serve() {
    client_ = accept(listener_, nullptr, nullptr);
    std::vector<char> buffer(local::kMessageBytesMax);
    while (client_ >= 0) {
      const ssize_t got = recv(client_, buffer.data(), buffer.size(), 0);
      if (got < static_cast<ssize_t>(sizeof(MsgHeader))) break;
      MsgHeader header;
      std::memcpy(&header, buffer.data(), sizeof(header));
      const Op op = static_cast<Op>(header.op);
      if (op == Op::kRelease || op == Op::kBye) continue;
      const std::string body(buffer.data() + sizeof(header), got - sizeof(header));
      Reply(header, script_(op, body, Usual(op)));
    }
    if (client_ >= 0) close(client_);
    client_ = -1;
  }

  const Script script_;
  const int staging_ = Memfd(kStaging), generations_ = Memfd(kGenerations * 8),
            extent_ = Memfd(kExtent);
  std::string directory_, path_;
  int listener_ = -1;
  std::atomic<int> client_{-1};
  std::thread thread_;
};

FakeDoor::Script GetAnswers(local::PlaceWire place, uint32_t count = 1) {
  return [=](Op op, const std::string&, FakeDoor::Answer usual) {
    if (op != Op::kGet) return usual;
    local::GetOk ok{};
    ok.count = count;
    usual.rest = Raw(ok) + Raw(place);
    return usual;
  };
}

// One Get of `bytes` from a door with that script.
Outcome GetFrom(const FakeDoor& door, size_t bytes, GetResult* result, std::string* value = nullptr,
                bool* broken = nullptr, double ms = 20'000) {
  Outcome outcome;
  auto transport = door.Connect(&outcome);
  if (!transport) return outcome;
  std::string target(bytes, '\xAA');
  std::span<std::byte> out = std::as_writable_bytes(std::span(target.data(), bytes));
  const Pieces pieces(&out, 1);
  const std::string_view key = "k";
  GetRequest request;
  request.ns = 1;
  request.keys = std::span(&key, 1);
  request.targets = std::span(&pieces, 1);
  const uint8_t verify = 1;
  outcome = transport->Get(request, MonotonicNs() + static_cast<int64_t>(ms * 1e6), {&verify, 1},
                           {result, 1});
  if (value) *value = target;
  if (broken) *broken = transport->broken();
  return outcome;
}

local::PlaceWire GoodPlace(uint64_t bytes) {
  local::PlaceWire place{};
  place.state = 1;
  place.tier = 1;
  place.bytes = bytes;
  return place;
}

TEST(HostileDaemon, ExtentBeyondTheLastIsRefused) {
  local::PlaceWire place = GoodPlace(100'000);
  place.extent = 5'000'000;
  FakeDoor door(GetAnswers(place));
  GetResult result;
  EXPECT_EQ(GetFrom(door, 100'000, &result).code, wire::Code::kInternal);
  EXPECT_EQ(result.reason, Reason::kInternal);
}

TEST(HostileDaemon, PlaceBeyondItsExtentIsRefused) {
  for (const uint64_t offset : {kExtent - 99'999, kExtent + 1, ~uint64_t{0} - 5}) {
    local::PlaceWire place = GoodPlace(100'000);
    place.offset = offset;
    FakeDoor door(GetAnswers(place));
    GetResult result;
    EXPECT_EQ(GetFrom(door, 100'000, &result).code, wire::Code::kInternal) << offset;
  }
}

TEST(HostileDaemon, GenerationBeyondTheArrayIsRefused) {
  local::PlaceWire place = GoodPlace(100'000);
  place.generation_index = kGenerations;
  FakeDoor door(GetAnswers(place));
  GetResult result;
  EXPECT_EQ(GetFrom(door, 100'000, &result).code, wire::Code::kInternal);
}

TEST(HostileDaemon, OtherGenerationIsRevoked) {
  local::PlaceWire place = GoodPlace(100'000);
  place.generation = 3;
  place.crc32c = 0x12345678;
  FakeDoor door(GetAnswers(place));
  GetResult result;
  EXPECT_TRUE(GetFrom(door, 100'000, &result).ok());
  EXPECT_EQ(result.reason, Reason::kRevoked);
}

TEST(HostileDaemon, WrongBytesDoNotVerify) {
  local::PlaceWire place = GoodPlace(100'000);
  place.crc32c = 0x12345678;
  FakeDoor door(GetAnswers(place));
  GetResult result;
  EXPECT_TRUE(GetFrom(door, 100'000, &result).ok());
  EXPECT_EQ(result.reason, Reason::kChecksum);
}

TEST(HostileDaemon, CopyOutElsewhereBreaksTheTransport) {
  local::PlaceWire place = GoodPlace(100);
  place.flags = local::kPlaceCopiedOut;
  place.offset = kStaging - 100;
  FakeDoor door(GetAnswers(place));
  GetResult result;
  std::string value;
  bool broken = false;
  EXPECT_EQ(GetFrom(door, 100, &result, &value, &broken).code, wire::Code::kUnavailable);
  EXPECT_TRUE(broken);
  EXPECT_EQ(value, std::string(100, '\xAA'));
}

TEST(HostileDaemon, WrongCountBreaksTheTransport) {
  FakeDoor door(GetAnswers(GoodPlace(100), 2));
  GetResult result;
  bool broken = false;
  EXPECT_EQ(GetFrom(door, 100, &result, nullptr, &broken).code, wire::Code::kUnavailable);
  EXPECT_TRUE(broken);
}

TEST(HostileDaemon, UnknownStateIsInternal) {
  local::PlaceWire place = GoodPlace(100);
  place.state = 200;
  FakeDoor door(GetAnswers(place));
  GetResult result;
  EXPECT_TRUE(GetFrom(door, 100, &result).ok());
  EXPECT_EQ(result.reason, Reason::kInternal);
}

TEST(HostileDaemon, NoRoomForEverEndsByTheDeadline) {
  local::PlaceWire place = GoodPlace(100'000);
  place.state = 4;
  place.flags = local::kPlaceNoRoom;
  FakeDoor door(GetAnswers(place));
  GetResult result;
  const Outcome outcome = GetFrom(door, 100'000, &result, nullptr, nullptr, 50);
  EXPECT_FALSE(outcome.ok());
  EXPECT_TRUE(result.reason == Reason::kOverloaded || result.reason == Reason::kDeadline);
}

TEST(HostileDaemon, GarbageInsteadOfAReplyBreaksTheTransport) {
  for (const std::string& raw : {std::string("x"), std::string(200, 'x')}) {
    FakeDoor door([&](Op op, const std::string&, FakeDoor::Answer usual) {
      if (op == Op::kGet) usual.raw = raw;
      return usual;
    });
    GetResult result;
    bool broken = false;
    EXPECT_EQ(GetFrom(door, 100, &result, nullptr, &broken).code, wire::Code::kUnavailable);
    EXPECT_TRUE(broken);
  }
}

TEST(HostileDaemon, CodeOutsideTheTableIsUnknown) {
  FakeDoor door([](Op op, const std::string&, FakeDoor::Answer usual) {
    if (op == Op::kGet) usual.code = ~uint64_t{0};
    return usual;
  });
  GetResult result;
  EXPECT_EQ(GetFrom(door, 100, &result).code, wire::Code::kUnknown);
}

TEST(HostileDaemon, StagingShorterThanItSaysIsNotMapped) {
  FakeDoor door([](Op op, const std::string&, FakeDoor::Answer usual) {
    if (op != Op::kHello) return usual;
    local::HelloOk ok;
    std::memcpy(&ok, usual.rest.data(), sizeof(ok));
    ok.staging_bytes = kStaging * 2;
    usual.rest = Raw(ok);
    return usual;
  });
  Outcome outcome;
  EXPECT_EQ(door.Connect(&outcome), nullptr);
  EXPECT_EQ(outcome.code, wire::Code::kUnavailable);
}

TEST(HostileDaemon, ExtentShorterThanItSaysIsNotMapped) {
  const local::PlaceWire place = GoodPlace(100'000);
  FakeDoor door([&](Op op, const std::string& body, FakeDoor::Answer usual) {
    if (op == Op::kExtent) usual.rest = Raw(local::ExtentOk{kExtent * 2, 0, 0});
    return GetAnswers(place)(op, body, usual);
  });
  GetResult result;
  EXPECT_EQ(GetFrom(door, 100'000, &result).code, wire::Code::kResourceExhausted);
}

TEST(HostileDaemon, HelloWithoutFdsIsRefused) {
  FakeDoor door([](Op op, const std::string&, FakeDoor::Answer usual) {
    if (op == Op::kHello) usual.fds.clear();
    return usual;
  });
  Outcome outcome;
  EXPECT_EQ(door.Connect(&outcome), nullptr);
  EXPECT_EQ(outcome.code, wire::Code::kUnavailable);
}

TEST(HostileDaemon, OtherVersionIsRefused) {
  FakeDoor door([](Op op, const std::string&, FakeDoor::Answer usual) {
    if (op == Op::kHello) usual.rest[0] = 9;
    return usual;
  });
  Outcome outcome;
  EXPECT_EQ(door.Connect(&outcome), nullptr);
}

// Greets as version 2, and answers GROW_STAGING by `grow`.
FakeDoor::Script Growing(std::function<FakeDoor::Answer(const local::GrowStaging&)> grow) {
  return [grow](Op op, const std::string& body, FakeDoor::Answer usual) {
    if (op == Op::kHello) usual.rest[0] = 2;
    if (op == Op::kCommit) usual.rest = Raw(local::CommitOk{1, 0}) + std::string("\x01\x01", 2);
    if (op != Op::kGrowStaging) return usual;
    local::GrowStaging ask;
    std::memcpy(&ask, body.data(), sizeof(ask));
    return grow(ask);
  };
}

struct Stored {
  Outcome outcome;
  Reason reason = Reason::kInternal;
  bool broken = false;
};

// One Set of a value that needs more than the first part.
Stored SetLarge(const FakeDoor& door, double ms = 20'000) {
  Stored stored;
  auto transport = door.Connect(&stored.outcome);
  if (!transport) return stored;
  const std::string value(kStaging, 'v');
  const auto piece = std::as_bytes(std::span(value.data(), value.size()));
  SetEntry entry;
  entry.key = "k";
  entry.value = std::span(&piece, 1);
  SetRequest request;
  request.ns = 1;
  request.entries = std::span(&entry, 1);
  SetResult result;
  stored.outcome =
      transport->Set(request, MonotonicNs() + static_cast<int64_t>(ms * 1e6), {&result, 1});
  stored.reason = result.reason;
  stored.broken = transport->broken();
  return stored;
}

TEST(HostileDaemon, GrowthAsAgreedIsUsed) {
  const int part = Memfd(4 << 20);
  FakeDoor door(Growing([&](const local::GrowStaging& ask) {
    EXPECT_EQ(ask.have_bytes, kStaging);
    EXPECT_EQ(ask.value_bytes, kStaging);
    EXPECT_EQ(ask.bytes_min, local::kControlBytes);  // the rest of the first part is free
    return FakeDoor::Answer{
        0, Raw(local::GrowStagingOk{ask.have_bytes, 4 << 20}), {part}, false, ""};
  }));
  const Stored stored = SetLarge(door);
  EXPECT_TRUE(stored.outcome.ok()) << stored.outcome.message;
  EXPECT_EQ(stored.reason, Reason::kOk);
  close(part);
}

TEST(HostileDaemon, FalseGrowthBreaksTheTransport) {
  const int part = Memfd(1 << 20);
  const uint64_t mib = 1 << 20;
  using Ok = local::GrowStagingOk;
  const std::vector<FakeDoor::Answer> answers = {
      {0, Raw(Ok{kStaging + mib, mib}), {part}, false, ""},   // a hole
      {0, Raw(Ok{0, mib}), {part}, false, ""},                // over the first part
      {0, Raw(Ok{kStaging, 2 * mib}), {part}, false, ""},     // more than the file has
      {0, Raw(Ok{kStaging, 1ull << 40}), {part}, false, ""},  // more than was wished for
      {0, Raw(Ok{kStaging, mib - 1}), {part}, false, ""},     // no whole granules
      {0, Raw(Ok{kStaging, 0}), {part}, false, ""},           // nothing
      {0, Raw(Ok{kStaging, mib}), {}, false, ""},             // no file
      {0, Raw(Ok{kStaging, mib}), {part, part}, false, ""},   // two files
      {0, Raw(Ok{kStaging, mib}) + "x", {part}, false, ""},   // a byte too many
  };
  for (const FakeDoor::Answer& answer : answers) {
    FakeDoor door(Growing([&](const local::GrowStaging&) { return answer; }));
    const Stored stored = SetLarge(door);
    EXPECT_EQ(stored.outcome.code, wire::Code::kUnavailable) << stored.outcome.message;
    EXPECT_TRUE(stored.broken);
  }
  close(part);
}

TEST(HostileDaemon, RefusedGrowthIsOverloadedAndBreaksNothing) {
  FakeDoor door(Growing([](const local::GrowStaging&) {
    return FakeDoor::Answer{8, "staging is full", {}, false, ""};
  }));
  const Stored stored = SetLarge(door);
  EXPECT_EQ(stored.reason, Reason::kOverloaded);
  EXPECT_NE(stored.outcome.message.find("staging is full"), std::string::npos);
  EXPECT_FALSE(stored.outcome.sent);
  EXPECT_FALSE(stored.broken);
}

TEST(HostileDaemon, MuteGrowthEndsByTheDeadline) {
  FakeDoor door(Growing([](const local::GrowStaging&) {
    return FakeDoor::Answer{0, "", {}, true, ""};
  }));
  const Stored stored = SetLarge(door, 30);
  EXPECT_EQ(stored.reason, Reason::kDeadline);
  EXPECT_FALSE(stored.outcome.sent);
  EXPECT_FALSE(stored.broken);
}

TEST(HostileDaemon, DaemonOfVersionOneIsNotAskedForMore) {
  std::atomic<int> growths{0};
  FakeDoor door([&](Op op, const std::string&, FakeDoor::Answer usual) {
    growths += op == Op::kGrowStaging ? 1 : 0;
    return usual;
  });
  EXPECT_EQ(SetLarge(door).reason, Reason::kOverloaded);
  EXPECT_EQ(growths, 0);
}

TEST(HostileDaemon, MuteOneEndsByTheDeadline) {
  std::atomic<uint64_t> count{0};
  FakeDoor door([&](Op op, const std::string&, FakeDoor::Answer usual) {
    if (op == Op::kGet) {
      ++count;
      usual.mute = true;
    }
    return usual;
  });
  GetResult result;
  const Outcome outcome = GetFrom(door, 100, &result, nullptr, nullptr, 30);
  EXPECT_EQ(outcome.code, wire::Code::kDeadlineExceeded);
  EXPECT_TRUE(outcome.sent);
  EXPECT_EQ(count, 1u);
}

}  // namespace
}  // namespace kvgate::client
