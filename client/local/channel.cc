// SPDX-License-Identifier: Apache-2.0
#include "client/local/channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "proto/wire/error_id.h"

namespace kvgate::client {
namespace {

using local::MsgHeader;
using local::Op;

constexpr int64_t kNsPerUs = 1000;
constexpr int64_t kMilliNs = 1'000'000;
constexpr size_t kPartsMax = 4;
constexpr size_t kFdsMax = 4;

Outcome Fail(wire::Code code, bool sent, std::string message) {
  return Outcome{code, sent, std::move(message)};
}

Outcome TooLate(bool sent) {
  return Fail(wire::Code::kDeadlineExceeded, sent,
              wire::Tagged(wire::ErrorId::kGatewaySilent, "the local door did not answer in time"));
}

// Waits for `events`; false at the deadline.
bool PollUntil(int fd, short events, Deadline deadline) {
  while (true) {
    const int64_t left = deadline - MonotonicNs();
    if (left <= 0) return false;
    pollfd item{fd, events, 0};
    timespec wait{left / 1'000'000'000, left % 1'000'000'000};
    const int ready = ppoll(&item, 1, &wait, nullptr);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return true;  // the next call on the socket says why
  }
}

void SleepNs(int64_t ns) {
  timespec wait{ns / 1'000'000'000, ns % 1'000'000'000};
  nanosleep(&wait, nullptr);
}

template <typename T>
std::string_view AsBytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

enum class Sent { kYes, kFull, kGone };

Sent TrySend(int socket, std::span<const std::string_view> parts) {
  iovec pieces[kPartsMax + 1];
  size_t count = 0;
  for (std::string_view part : parts) {
    pieces[count++] = {const_cast<char*>(part.data()), part.size()};
  }
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = count;
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return Sent::kYes;
  const bool full = errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ENOMEM;
  return full ? Sent::kFull : Sent::kGone;
}

MsgHeader HeaderOf(uint16_t version, Op op, uint64_t id, size_t body_bytes, int64_t left_ns) {
  MsgHeader header{};
  header.magic = local::kMagic;
  header.version = version;
  header.op = static_cast<uint16_t>(op);
  header.bytes = static_cast<uint32_t>(sizeof(header) + body_bytes);
  header.request_id = id;
  header.timeout_us = static_cast<uint64_t>(std::max<int64_t>(left_ns / kNsPerUs, 1));
  return header;
}

bool ValidReply(std::string_view message) {
  if (message.size() < sizeof(MsgHeader)) return false;
  MsgHeader header;
  std::memcpy(&header, message.data(), sizeof(header));
  return header.magic == local::kMagic && header.version >= local::kVersionMin &&
         header.version <= local::kVersionMax && header.bytes == message.size() &&
         (header.op & local::kReplyBit) != 0;
}

// Receives one packet without blocking: bytes, 0 for the end, -1 for nothing or an error.
ssize_t ReceiveOne(int socket, std::span<char> buffer, std::vector<OwnedFd>* fds) {
  iovec piece{buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kFdsMax)];
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t got;
  do {
    got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return got;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
      fds->emplace_back(fd);
    }
  }
  return got;
}

}  // namespace

int64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

OwnedFd::~OwnedFd() {
  if (fd_ >= 0) close(fd_);
}

std::unique_ptr<Channel> Channel::Connect(const std::string& path, Deadline deadline,
                                          Outcome* outcome) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    *outcome = Fail(wire::Code::kInvalidArgument, false,
                    "local_socket: a path of 1 to 107 bytes is needed, not \"" + path + "\"");
    return nullptr;
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  OwnedFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  while (true) {
    if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
      return std::unique_ptr<Channel>(new Channel(std::move(socket)));
    }
    const int error = errno;
    if (error == EINTR) continue;
    // EAGAIN: its backlog is full; there is nothing to poll for.
    if (error != EAGAIN || MonotonicNs() + kMilliNs >= deadline) {
      *outcome =
          Fail(error == EAGAIN ? wire::Code::kDeadlineExceeded : wire::Code::kUnavailable, false,
               wire::Tagged(wire::ErrorId::kNoGateway,
                            "local socket " + path + ": " + std::strerror(error)));
      return nullptr;
    }
    SleepNs(kMilliNs);
  }
}

Channel::Channel(OwnedFd socket)
    : socket_(std::move(socket)), pid_(getpid()), buffer_(local::kMessageBytesMax) {}

Channel::~Channel() = default;

bool Channel::Forked() const { return getpid() != pid_; }

void Channel::Break(std::string why) {
  MutexLock lock(mutex_);
  BreakLocked(std::move(why));
}

void Channel::BreakLocked(std::string why) {
  if (broken()) return;
  why_broken_ = std::move(why);
  broken_.store(true, std::memory_order_release);
  // The daemon gives back at once what we hold there, even while staging keeps this object.
  shutdown(socket_.get(), SHUT_RDWR);
  for (auto& [id, waiter] : waiters_) waiter->changed.NotifyAll();
  place_free_.NotifyAll();
}

Outcome Channel::BrokenOutcome(bool sent) const {
  return Fail(wire::Code::kUnavailable, sent,
              wire::Tagged(wire::ErrorId::kConnectionLost, "local door: " + why_broken_));
}

Outcome Channel::TakePlace(Deadline deadline, Waiter* waiter, uint64_t* id) {
  MutexLock lock(mutex_);
  while (true) {
    if (broken()) return BrokenOutcome(false);
    const int64_t left = deadline - MonotonicNs();
    if (left <= 0) return TooLate(false);
    if (waiters_.size() + late_.size() < in_flight_max_) break;
    if (!receiving_ && waiters_.empty()) {
      // Only late calls hold places: nobody else would take their replies.
      receiving_ = true;
      mutex_.Unlock();
      ReceiveUntil(deadline, nullptr);
      mutex_.Lock();
      receiving_ = false;
      // Others may have to go on receiving.
      place_free_.NotifyAll();
      WakeNextReceiver();
      continue;
    }
    place_free_.WaitFor(mutex_, left);
  }
  *id = next_id_++;
  waiters_[*id] = waiter;
  return {};
}

Outcome Channel::SendRequest(Op op, uint64_t id, std::span<const std::string_view> parts,
                             Deadline deadline) {
  size_t bytes = 0;
  for (std::string_view part : parts) bytes += part.size();
  std::string_view all[kPartsMax + 1];
  while (true) {
    const int64_t left = deadline - MonotonicNs();
    if (left <= 0) return TooLate(false);
    const MsgHeader header = HeaderOf(version_, op, id, bytes, left);
    all[0] = AsBytes(header);
    std::copy(parts.begin(), parts.end(), all + 1);
    switch (TrySend(socket_.get(), {all, parts.size() + 1})) {
      case Sent::kYes:
        counters_.sent.fetch_add(1, std::memory_order_relaxed);
        return {};
      case Sent::kGone: {
        MutexLock lock(mutex_);
        BreakLocked("the connection ended");
        return BrokenOutcome(false);
      }
      case Sent::kFull:
        // Woken early by room or by the end; both are found out by sending again.
        if (!PollUntil(socket_.get(), POLLOUT, deadline)) return TooLate(false);
    }
  }
}

void Channel::Forget(uint64_t id) {
  MutexLock lock(mutex_);
  waiters_.erase(id);
  place_free_.NotifyAll();
  WakeNextReceiver();
}

void Channel::WakeNextReceiver() {
  if (receiving_) return;
  // One that is still sending takes over by itself when it comes to wait.
  for (auto& [id, waiter] : waiters_) {
    if (!waiter->waiting) continue;
    waiter->changed.NotifyAll();
    return;
  }
}

Outcome Channel::Call(Op op, std::span<const std::string_view> parts, Deadline deadline,
                      std::vector<StagingArena::Part>* held, Reply* reply) {
  if (Forked())
    return Fail(wire::Code::kUnavailable, false,
                wire::Tagged(wire::ErrorId::kUsedAfterFork, "local door: used after fork"));
  Waiter waiter;
  uint64_t id = 0;
  if (Outcome o = TakePlace(deadline, &waiter, &id); !o.ok()) return o;
  FlushReleases();
  if (Outcome o = SendRequest(op, id, parts, deadline); !o.ok()) {
    Forget(id);
    return o;
  }
  if (Outcome o = Await(op, id, &waiter, deadline, held); !o.ok()) return o;
  *reply = std::move(waiter.reply);
  MsgHeader header;
  std::memcpy(&header, reply->message.data(), sizeof(header));
  if (header.timeout_us == 0) return Outcome{wire::Code::kOk, true, {}};
  return Fail(wire::CodeFromWire(static_cast<uint32_t>(std::min<uint64_t>(header.timeout_us, 255))),
              true, std::string(reply->rest()));
}

Outcome Channel::Await(Op op, uint64_t id, Waiter* waiter, Deadline deadline,
                       std::vector<StagingArena::Part>* held) {
  MutexLock lock(mutex_);
  Outcome outcome;
  while (!waiter->done) {
    const int64_t left = deadline - MonotonicNs();
    if (broken() || left <= 0) {
      outcome = broken() ? BrokenOutcome(true) : TooLate(true);
      // From here on the reply is late: what the request named stays held.
      Late& late = late_[id];
      late.op = op;
      if (held != nullptr) late.held = std::move(*held);
      break;
    }
    if (receiving_) {
      waiter->waiting = true;
      waiter->changed.WaitFor(mutex_, left);
      waiter->waiting = false;
      continue;
    }
    receiving_ = true;
    mutex_.Unlock();
    ReceiveUntil(deadline, waiter);
    mutex_.Lock();
    receiving_ = false;
  }
  waiters_.erase(id);
  if (waiter->done) place_free_.NotifyAll();
  WakeNextReceiver();
  return outcome;
}

// Runs without the lock, by the one caller that set receiving_. Returns when something that the
// caller may wait for has changed: its reply came, a packet was handed on, or the deadline passed.
void Channel::ReceiveUntil(Deadline deadline, const Waiter* waiter) {
  while (true) {
    std::vector<OwnedFd> fds;
    const ssize_t got = ReceiveOne(socket_.get(), buffer_, &fds);
    const bool nothing = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (nothing) {
      if (!PollUntil(socket_.get(), POLLIN, deadline)) return;
      continue;
    }
    MutexLock lock(mutex_);
    if (got <= 0) {
      BreakLocked(got == 0 ? "the connection ended" : std::strerror(errno));
      return;
    }
    counters_.received.fetch_add(1, std::memory_order_relaxed);
    Deliver({buffer_.data(), static_cast<size_t>(got)}, std::move(fds));
    if (broken() || waiter == nullptr || waiter->done) return;
  }
}

void Channel::Deliver(std::string_view message, std::vector<OwnedFd> fds) {
  if (!ValidReply(message)) return BreakLocked("an invalid reply");
  MsgHeader header;
  std::memcpy(&header, message.data(), sizeof(header));
  if (header.request_id == 0) {
    // The daemon could not even read our message.
    return BreakLocked(std::string(message.substr(sizeof(header))));
  }
  if (const auto waiter = waiters_.find(header.request_id); waiter != waiters_.end()) {
    if (waiter->second->done) return;
    waiter->second->reply.message.assign(message.begin(), message.end());
    waiter->second->reply.fds = std::move(fds);
    waiter->second->done = true;
    waiter->second->changed.NotifyAll();
    return;
  }
  const auto late = late_.find(header.request_id);
  if (late == late_.end()) return;
  counters_.late.fetch_add(1, std::memory_order_relaxed);
  if (late->second.op == Op::kGet && header.timeout_us == 0 &&
      message.size() >= sizeof(header) + sizeof(local::GetOk)) {
    local::GetOk ok;
    std::memcpy(&ok, message.data() + sizeof(header), sizeof(ok));
    if (ok.lease != 0) to_release_.push_back(ok.lease);
  }
  late_.erase(late);
  place_free_.NotifyAll();
}

void Channel::Release(uint64_t lease) {
  if (Forked() || broken()) return;
  SendReleases({lease});
}

void Channel::FlushReleases() {
  std::vector<uint64_t> leases;
  {
    MutexLock lock(mutex_);
    leases.swap(to_release_);
  }
  if (!leases.empty()) SendReleases(std::move(leases));
}

void Channel::SendReleases(std::vector<uint64_t> leases) {
  while (!leases.empty()) {
    const size_t count = std::min<size_t>(leases.size(), local::kReleaseMax);
    const local::Release release{static_cast<uint32_t>(count), 0};
    const std::string_view list{reinterpret_cast<const char*>(leases.data()),
                                count * sizeof(uint64_t)};
    const MsgHeader header =
        HeaderOf(version_, Op::kRelease, 1, sizeof(release) + list.size(), kMilliNs);
    const std::string_view parts[] = {AsBytes(header), AsBytes(release), list};
    const Sent sent = TrySend(socket_.get(), parts);
    if (sent == Sent::kGone) return;  // the leases ended with the connection
    if (sent == Sent::kFull) break;   // at worst they end by their time limit
    counters_.sent.fetch_add(1, std::memory_order_relaxed);
    counters_.releases.fetch_add(count, std::memory_order_relaxed);
    leases.erase(leases.begin(), leases.begin() + static_cast<ptrdiff_t>(count));
  }
  if (leases.empty()) return;
  MutexLock lock(mutex_);
  to_release_.insert(to_release_.end(), leases.begin(), leases.end());
}

}  // namespace kvgate::client
