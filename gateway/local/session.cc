// SPDX-License-Identifier: Apache-2.0
#include "gateway/local/session.h"

#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "gateway/local/protocol.h"
#include "storage/base/check.h"

namespace kvgate::gateway {

Session::Session(uint64_t id, int socket, std::shared_ptr<DoorState> state)
    : id_(id), state_(std::move(state)), socket_(socket) {
  const ssize_t got = getrandom(capability_.data(), capability_.size(), 0);
  KVGATE_CHECK(got == static_cast<ssize_t>(capability_.size()));
  state_->counters.clients.fetch_add(1);
}

Session::~Session() {
  Close();
  if (!staging_) return;
  state_->counters.staging_bytes.fetch_sub(staging_->bytes().size() - local::kControlBytes);
}

void Session::Greeted(std::unique_ptr<StagingMemory> staging, uint64_t producer, uint16_t version,
                      Tokens::Shown shown) {
  staging_ = std::move(staging);
  producer_ = producer;
  version_ = version;
  shown_ = std::move(shown);
}

bool Session::TryBeginCall() {
  if (in_flight_.fetch_add(1, std::memory_order_relaxed) < local::kInFlightMax) return true;
  EndCall();
  return false;
}

Session::SendOutcome Session::TrySend(const Outgoing& outgoing) {
  iovec piece{const_cast<char*>(outgoing.message.data()), outgoing.message.size()};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 2)] = {};
  if (!outgoing.fds.empty()) {
    const size_t bytes = sizeof(int) * outgoing.fds.size();
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* fds = CMSG_FIRSTHDR(&header);
    fds->cmsg_level = SOL_SOCKET;
    fds->cmsg_type = SCM_RIGHTS;
    fds->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(fds), outgoing.fds.data(), bytes);
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket_, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) {
    state_->counters.messages_out.fetch_add(1, std::memory_order_relaxed);
    return SendOutcome::kSent;
  }
  // ETOOMANYREFS: too many fds in flight to readers that do not read.
  const bool later = errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ||
                     errno == ENOMEM || errno == ETOOMANYREFS;
  return later ? SendOutcome::kWouldBlock : SendOutcome::kFailed;
}

void Session::WatchWritable(bool on) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | (on ? EPOLLOUT : 0u);
  event.data.u64 = id_;
  // Fails only for a socket that was taken out already, and then nothing needs watching.
  (void)epoll_ctl(state_->epoll, EPOLL_CTL_MOD, socket_, &event);
}

void Session::Send(std::string message, std::vector<int> fds) {
  KVGATE_CHECK(message.size() <= local::kMessageBytesMax && fds.size() <= 2);
  Outgoing outgoing{std::move(message), std::move(fds)};
  absl::MutexLock lock(&mu_);
  if (socket_ < 0) return;
  if (queue_.empty()) {
    // A failed send means that the client is gone, which epoll reports as well.
    if (TrySend(outgoing) != SendOutcome::kWouldBlock) return;
    WatchWritable(true);
  }
  if (queue_.size() >= state_->options.reply_queue_max) {
    state_->counters.reply_queue_overflows.fetch_add(1);
    queue_.clear();
    shutdown(socket_, SHUT_RDWR);  // epoll reports it; the door closes the session
    return;
  }
  queue_.push_back(std::move(outgoing));
}

void Session::FlushQueue() {
  absl::MutexLock lock(&mu_);
  if (socket_ < 0) return;
  while (!queue_.empty()) {
    if (TrySend(queue_.front()) == SendOutcome::kWouldBlock) return;
    queue_.pop_front();
  }
  WatchWritable(false);
}

bool Session::ChargeLease(uint64_t bytes) {
  absl::MutexLock lock(&mu_);
  if (socket_ < 0 || leases_.size() >= state_->options.leases_max ||
      bytes > state_->options.lease_bytes_max - lease_bytes_) {
    return false;
  }
  lease_bytes_ += bytes;
  return true;
}

uint64_t Session::Lease(std::vector<storage::BlockRef> blocks, uint64_t charged_bytes,
                        absl::Time now) {
  // Dropped after the lock when the session was closed meanwhile: nobody will read the answer.
  LeaseEntry entry;
  absl::MutexLock lock(&mu_);
  entry.id = next_lease_++;
  entry.expires = now + absl::Milliseconds(state_->options.lease_ms);
  entry.bytes = charged_bytes;
  entry.blocks = std::move(blocks);
  const uint64_t id = entry.id;
  if (socket_ < 0) {
    lease_bytes_ -= charged_bytes;
    return id;
  }
  DoorCounters& counters = state_->counters;
  counters.leases.fetch_add(1);
  counters.leases_total.fetch_add(1);
  counters.lease_bytes.fetch_add(charged_bytes);
  leases_.push_back(std::move(entry));
  return id;
}

void Session::Uncharge(const LeaseEntry& entry) {
  lease_bytes_ -= entry.bytes;
  state_->counters.leases.fetch_sub(1);
  state_->counters.lease_bytes.fetch_sub(entry.bytes);
}

void Session::ReleaseLease(uint64_t lease) {
  LeaseEntry gone;  // its blocks are given back outside the lock
  absl::MutexLock lock(&mu_);
  for (auto it = leases_.begin(); it != leases_.end(); ++it) {
    if (it->id != lease) continue;
    gone = std::move(*it);
    leases_.erase(it);
    Uncharge(gone);
    return;
  }
  // Unknown: it expired, which is the client's loss alone.
}

void Session::ExpireLeases(absl::Time now) {
  std::vector<LeaseEntry> gone;
  absl::MutexLock lock(&mu_);
  while (!leases_.empty() && leases_.front().expires <= now) {
    gone.push_back(std::move(leases_.front()));
    leases_.pop_front();
    Uncharge(gone.back());
    state_->counters.leases_expired.fetch_add(1);
  }
}

absl::Time Session::NextExpiry() const {
  absl::MutexLock lock(&mu_);
  return leases_.empty() ? absl::InfiniteFuture() : leases_.front().expires;
}

void Session::AddPin(storage::NamespaceId ns, uint64_t token) {
  {
    absl::MutexLock lock(&mu_);
    if (socket_ >= 0) {
      // One that falls out of the table ends by its own time limit.
      if (pins_.size() >= kPinsMax) pins_.erase(pins_.begin());
      pins_[token] = ns;
      return;
    }
  }
  state_->store->Unpin(ns, token);
}

void Session::RemovePin(uint64_t token) {
  absl::MutexLock lock(&mu_);
  pins_.erase(token);
}

void Session::Close() {
  std::deque<LeaseEntry> leases;
  std::unordered_map<uint64_t, storage::NamespaceId> pins;
  {
    absl::MutexLock lock(&mu_);
    if (socket_ < 0) return;
    (void)epoll_ctl(state_->epoll, EPOLL_CTL_DEL, socket_, nullptr);
    close(socket_);
    socket_ = -1;
    queue_.clear();
    for (const LeaseEntry& entry : leases_) Uncharge(entry);
    leases.swap(leases_);
    pins.swap(pins_);
  }
  state_->counters.clients.fetch_sub(1);
  for (const auto& [token, ns] : pins) state_->store->Unpin(ns, token);
}

}  // namespace kvgate::gateway
