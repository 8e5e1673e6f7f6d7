// SPDX-License-Identifier: Apache-2.0
//
// RawClient: a client of a TestDoor that speaks bytes and keeps no rule. Test-only; one thread.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "gateway/local/protocol.h"
#include "gateway/local/test_door.h"
#include "gtest/gtest.h"
#include "proto/wire/identity.h"

namespace kvgate::gateway {

using local::MsgHeader;
using local::Op;

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

  static MsgHeader Header(Op op, size_t body, uint16_t version = 1) {
    MsgHeader header{};
    header.magic = local::kMagic;
    header.version = version;
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
  void Send(Op op, const std::string& body) {
    SendRaw(Raw(Header(op, body.size(), version_)) + body);
  }
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
  void Greet(uint16_t version = 1, uint64_t wanted_staging = 1 << 20) {
    local::Hello hello = HelloOf(wanted_staging);
    hello.version_max = version;
    const Packet packet = Ask(Op::kHello, Raw(hello));
    ASSERT_EQ(packet.code(), 0u) << packet.rest;
    ASSERT_EQ(packet.rest.size(), sizeof(hello_));
    std::memcpy(&hello_, packet.rest.data(), sizeof(hello_));
    ASSERT_EQ(hello_.version, version);
    version_ = version;
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
  uint16_t version_ = 1;
  local::HelloOk hello_{};
  local::OpenOk open_{};
  char* staging_ = nullptr;
  uint64_t staging_bytes_ = 0;
  int seals_ = 0;
  bool generations_writable_ = false;
};

}  // namespace kvgate::gateway
