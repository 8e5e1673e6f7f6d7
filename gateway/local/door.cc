// SPDX-License-Identifier: Apache-2.0
#include "gateway/local/door.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gateway/core/tokens.h"
#include "gateway/local/calls.h"
#include "gateway/local/door_state.h"
#include "gateway/local/listen.h"
#include "gateway/local/protocol.h"
#include "gateway/local/session.h"
#include "gateway/local/workers.h"
#include "proto/wire/key.h"
#include "storage/base/thread_name.h"

namespace kvgate::gateway {
namespace {

constexpr uint64_t kListenerId = 0;
constexpr uint64_t kWakeId = 1;
constexpr uint64_t kFirstSessionId = 2;
constexpr absl::Duration kGreetingTime = absl::Seconds(5);
constexpr int kTimerTickMs = 20;   // while leases are out
constexpr int kIdleTickMs = 1000;  // for clients that never greet

// One message with what came along; fds that a client sends are closed and reported.
struct Received {
  ssize_t bytes = 0;
  int error = 0;
  int fds = 0;
  bool truncated = false;
};

Received Receive(int socket, std::span<char> buffer) {
  iovec piece{buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 16)];
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  Received received;
  do {
    received.bytes = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (received.bytes < 0 && errno == EINTR);
  if (received.bytes < 0) {
    received.error = errno;
    return received;
  }
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
      close(fd);
      ++received.fds;
    }
  }
  if (header.msg_flags & MSG_CTRUNC) received.fds += 1;
  received.truncated = (header.msg_flags & MSG_TRUNC) != 0;
  return received;
}

class LocalDoorImpl final : public LocalDoor {
 public:
  LocalDoorImpl(std::shared_ptr<DoorState> state, int listener, int wake)
      : state_(std::move(state)),
        workers_(state_->options.worker_threads),
        listener_(listener),
        wake_(wake),
        socket_inode_(SocketInode(state_->options.socket_path)) {
    state_->work = &workers_;
  }

  ~LocalDoorImpl() override { Stop(absl::ZeroDuration()); }

  absl::Status Run() {
    for (const auto& [fd, id] : {std::pair(listener_, kListenerId), std::pair(wake_, kWakeId)}) {
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u64 = id;
      if (epoll_ctl(state_->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        return absl::ErrnoToStatus(errno, "local door: epoll_ctl");
      }
    }
    thread_ = std::thread([this] { Loop(); });
    return absl::OkStatus();
  }

  void Stop(absl::Duration limit) override;
  void RunTimers() override;
  void RecheckTokens() override;
  void VisitCounters(const storage::CounterVisitor& visitor) const override;

 private:
  struct Peer {
    std::shared_ptr<Session> session;
    int socket = -1;  // the session's own; valid while it is in the map
    absl::Time since;
  };

  void Loop();
  void Handle(const epoll_event& event);
  void Woken();
  void Wake();
  void Accept();
  void WatchListener(bool on);
  // False when the session is over.
  bool ReadOne(const Peer& peer);
  void CloseSession(uint64_t id);
  std::vector<Peer> Peers() const;

  const std::shared_ptr<DoorState> state_;
  Workers workers_;
  const int listener_, wake_;
  const uint64_t socket_inode_;
  std::thread thread_;
  std::atomic<bool> stop_{false}, recheck_{false};
  bool stopped_ = false;  // Stop's caller

  // Owned by the epoll thread.
  std::array<char, local::kMessageBytesMax + 1> buffer_;
  uint64_t next_id_ = kFirstSessionId;
  bool listening_ = true;

  mutable absl::Mutex mu_;
  std::unordered_map<uint64_t, Peer> peers_ ABSL_GUARDED_BY(mu_);
};

void LocalDoorImpl::Loop() {
  storage::SetThreadName("kv-local-door");
  std::array<epoll_event, 64> events;
  while (!stop_) {
    const int tick = state_->counters.leases.load() > 0 ? kTimerTickMs : kIdleTickMs;
    const int count = epoll_wait(state_->epoll, events.data(), events.size(), tick);
    if (!listening_) WatchListener(true);
    for (int i = 0; i < count; ++i) Handle(events[i]);
    RunTimers();
  }
}

void LocalDoorImpl::Handle(const epoll_event& event) {
  const uint64_t id = event.data.u64;
  if (id == kWakeId) return Woken();
  if (id == kListenerId) return Accept();
  Peer peer;
  {
    absl::MutexLock lock(&mu_);
    const auto found = peers_.find(id);
    if (found == peers_.end()) return;
    peer = found->second;
  }
  if (event.events & EPOLLOUT) peer.session->FlushQueue();
  // One message a turn, so that no client keeps the others waiting. What a client sent before it
  // hung up is not served: nobody would read the answers.
  const bool gone = (event.events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0;
  if (gone || ((event.events & EPOLLIN) != 0 && !ReadOne(peer))) CloseSession(id);
}

void LocalDoorImpl::Wake() {
  const uint64_t one = 1;
  (void)!write(wake_, &one, sizeof(one));
}

void LocalDoorImpl::RecheckTokens() {
  recheck_ = true;
  Wake();
}

// stop_ says the rest.
void LocalDoorImpl::Woken() {
  uint64_t count = 0;
  (void)!read(wake_, &count, sizeof(count));
  if (!recheck_.exchange(false) || state_->options.tokens == nullptr) return;
  for (const Peer& peer : Peers()) {
    if (peer.session->greeted() && !state_->options.tokens->Stands(peer.session->shown())) {
      CloseSession(peer.session->id());
    }
  }
}

void LocalDoorImpl::Accept() {
  const int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (socket < 0) {
    // Short of fds or memory: listening would wake us for ever, so not before the next tick.
    const bool later = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    if (later) WatchListener(false);
    return;
  }
  DoorCounters& counters = state_->counters;
  if (state_->draining || counters.clients.load() >= state_->options.clients_max) {
    counters.clients_refused.fetch_add(1);
    close(socket);
    return;
  }
  const uint64_t id = next_id_++;
  auto session = std::make_shared<Session>(id, socket, state_);
  counters.clients_total.fetch_add(1);
  {
    absl::MutexLock lock(&mu_);
    peers_[id] = {session, socket, state_->clock->Now()};
  }
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP;
  event.data.u64 = id;
  if (epoll_ctl(state_->epoll, EPOLL_CTL_ADD, socket, &event) != 0) CloseSession(id);
}

void LocalDoorImpl::WatchListener(bool on) {
  epoll_event event{};
  event.events = on ? EPOLLIN : 0u;
  event.data.u64 = kListenerId;
  listening_ = epoll_ctl(state_->epoll, EPOLL_CTL_MOD, listener_, &event) == 0 && on;
}

bool LocalDoorImpl::ReadOne(const Peer& peer) {
  const Received received = Receive(peer.socket, buffer_);
  if (received.bytes < 0) return received.error == EAGAIN || received.error == EWOULDBLOCK;
  if (received.bytes == 0) return false;  // hung up, or an empty packet, which is no message
  state_->counters.messages_in.fetch_add(1, std::memory_order_relaxed);
  absl::Status status;
  if (received.fds != 0 || received.truncated) {
    status = absl::InvalidArgumentError(
        received.truncated
            ? absl::StrCat("local message: bytes: more than ", local::kMessageBytesMax)
            : absl::StrCat("local message: fds: ", received.fds, ", must be 0"));
    RefuseMessage(*peer.session, status);
  } else {
    status = HandleMessage(peer.session, {buffer_.data(), static_cast<size_t>(received.bytes)});
  }
  if (status.ok()) return true;
  if (absl::IsInvalidArgument(status)) state_->counters.malformed.fetch_add(1);
  // Unread messages would turn our reply into a connection reset on the other side.
  for (uint32_t i = 0; i < 2 * local::kInFlightMax; ++i) {
    if (Receive(peer.socket, buffer_).bytes <= 0) break;
  }
  return false;
}

void LocalDoorImpl::CloseSession(uint64_t id) {
  std::shared_ptr<Session> session;
  {
    absl::MutexLock lock(&mu_);
    const auto found = peers_.find(id);
    if (found == peers_.end()) return;
    session = std::move(found->second.session);
    peers_.erase(found);
  }
  session->Close();
}

std::vector<LocalDoorImpl::Peer> LocalDoorImpl::Peers() const {
  std::vector<Peer> peers;
  absl::MutexLock lock(&mu_);
  for (const auto& [id, peer] : peers_) peers.push_back(peer);
  return peers;
}

void LocalDoorImpl::RunTimers() {
  const absl::Time now = state_->clock->Now();
  for (const Peer& peer : Peers()) {
    peer.session->ExpireLeases(now);
    if (!peer.session->greeted() && now - peer.since > kGreetingTime) {
      CloseSession(peer.session->id());
    }
  }
}

void LocalDoorImpl::Stop(absl::Duration limit) {
  if (stopped_) return;
  stopped_ = true;
  state_->draining = true;
  RemoveSocket(state_->options.socket_path, socket_inode_);
  // Calls that do not end in time answer nobody: their sessions are closed below.
  (void)state_->AwaitNoCalls(limit);
  stop_ = true;
  Wake();
  if (thread_.joinable()) thread_.join();
  for (const Peer& peer : Peers()) CloseSession(peer.session->id());
  workers_.Stop();
  close(listener_);
  close(wake_);
  // Nothing uses the epoll set any more: all sessions are closed.
  close(state_->epoll);
}

void LocalDoorImpl::VisitCounters(const storage::CounterVisitor& visitor) const {
  const DoorCounters& c = state_->counters;
  const std::pair<const char*, const std::atomic<uint64_t>*> counters[] = {
      {"local_clients", &c.clients},
      {"local_clients_total", &c.clients_total},
      {"local_clients_refused_total", &c.clients_refused},
      {"local_messages_in_total", &c.messages_in},
      {"local_messages_out_total", &c.messages_out},
      {"local_messages_malformed_total", &c.malformed},
      {"local_calls_overloaded_total", &c.overloaded},
      {"local_reply_queue_overflows_total", &c.reply_queue_overflows},
      {"local_staging_bytes", &c.staging_bytes},
      {"local_staging_granted_bytes_total", &c.staging_granted_bytes},
      {"local_staging_refused_total", &c.staging_refused},
      {"local_staging_refused_bytes_total", &c.staging_refused_bytes},
      {"local_request_bytes", &c.request_bytes},
      {"local_leases", &c.leases},
      {"local_lease_bytes", &c.lease_bytes},
      {"local_leases_total", &c.leases_total},
      {"local_leases_expired_total", &c.leases_expired},
      {"local_leased_values_total", &c.leased_values},
      {"local_copied_out_values_total", &c.copied_out_values},
      {"local_copied_out_bytes_total", &c.copied_out_bytes},
      {"local_committed_values_total", &c.committed_values},
      {"local_committed_bytes_total", &c.committed_bytes},
  };
  for (const auto& [name, value] : counters) visitor(name, static_cast<double>(value->load()));
}

}  // namespace

absl::Status LocalDoorOptions::Validate() const {
  const auto bad = [](const char* field, uint64_t value, const char* limit) {
    return absl::InvalidArgumentError(
        absl::StrCat("local door: ", field, ": ", value, ", must be ", limit));
  };
  if (clients_max == 0 || clients_max > 1024) return bad("clients_max", clients_max, "1 to 1024");
  if (worker_threads == 0 || worker_threads > 64) {
    return bad("worker_threads", worker_threads, "1 to 64");
  }
  if (lease_ms == 0 || lease_ms > 30000) return bad("lease_ms", lease_ms, "1 to 30000");
  if (leases_max == 0 || leases_max > 65536) return bad("leases_max", leases_max, "1 to 65536");
  if (lease_bytes_max < wire::kValueBytesMax) {
    return bad("lease_bytes_max", lease_bytes_max, "at least one value, 67108864");
  }
  if (request_bytes_max < local::kBodyBytesMax) {
    return bad("request_bytes_max", request_bytes_max, "at least one request, 5242880");
  }
  if (reply_queue_max == 0) return bad("reply_queue_max", reply_queue_max, "at least 1");
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<LocalDoor>> LocalDoor::Start(const LocalDoorOptions& options,
                                                            storage::Clock* clock,
                                                            storage::Store* store,
                                                            NamespaceTable* namespaces,
                                                            Telemetry* telemetry) {
  if (absl::Status s = options.Validate(); !s.ok()) return s;
  auto state = std::make_shared<DoorState>(options, clock, store, namespaces, telemetry);
  absl::StatusOr<int> listener = ListenLocal(options.socket_path, options.socket_mode);
  if (!listener.ok()) return listener.status();
  state->epoll = epoll_create1(EPOLL_CLOEXEC);
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const int error = errno;
  auto door = std::make_unique<LocalDoorImpl>(std::move(state), *listener, wake);
  if (wake < 0) return absl::ErrnoToStatus(error, "local door: eventfd or epoll");
  if (absl::Status s = door->Run(); !s.ok()) return s;
  return door;
}

}  // namespace kvgate::gateway
