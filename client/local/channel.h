// SPDX-License-Identifier: Apache-2.0
//
// Channel: the socket to the local door, and who waits for which reply on it.
//
// Many threads call over one connection without a thread of its own: one of the waiting callers
// receives for all and hands each its reply by request id. Every wait ends at its deadline; a reply
// that comes later is dropped, a lease in it is given back, and staging that the call named is held
// until then (the daemon might still use it) or for as long as the arena lives.
// Threads: thread-safe. A forked child's calls answer kUnavailable and touch nothing.
// Errors: Outcome; broken() once the connection ended or the peer broke the protocol.
// Limits: `in_flight_max` calls, late ones included; others wait for a place.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "client/client.h"
#include "client/core/mutex.h"
#include "client/local/staging_arena.h"
#include "gateway/local/protocol.h"

namespace kvgate::client {

// Owns an fd. Move-only.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(other.Release()) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OwnedFd();
  int get() const { return fd_; }
  int Release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_ = -1;
};

int64_t MonotonicNs();

// What a channel did; for tests and figures.
struct ChannelCounters {
  std::atomic<uint64_t> sent{0}, received{0}, late{0}, releases{0};
};

struct Reply {
  std::vector<char> message;  // whole, header checked
  std::vector<OwnedFd> fds;
  std::string_view rest() const {
    return {message.data() + sizeof(local::MsgHeader), message.size() - sizeof(local::MsgHeader)};
  }
};

class Channel {
 public:
  // Connects; null with *outcome set when nobody answers by the deadline.
  static std::unique_ptr<Channel> Connect(const std::string& path, Deadline deadline,
                                          Outcome* outcome);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Sends header ‖ parts and waits for the reply. `held`: parts of staging that the request names;
  // given back to the caller with the reply, kept here when it is late. A reply with a code that is
  // not 0 becomes the outcome.
  Outcome Call(local::Op op, std::span<const std::string_view> parts, Deadline deadline,
               std::vector<StagingArena::Part>* held, Reply* reply);

  // One way. What a full socket does not take now goes with the next one.
  void Release(uint64_t lease);

  // What HELLO agreed on; before the second call.
  void Agree(uint16_t version, uint32_t in_flight_max) {
    version_ = version;
    in_flight_max_ = in_flight_max;
  }
  bool broken() const { return broken_.load(std::memory_order_acquire); }
  void Break(std::string why);
  const ChannelCounters& counters() const { return counters_; }

 private:
  struct Waiter {
    bool done = false;
    bool waiting = false;  // on `changed`
    Reply reply;
    CondVar changed;
  };
  struct Late {
    local::Op op;
    std::vector<StagingArena::Part> held;
  };

  explicit Channel(OwnedFd socket);

  Outcome TakePlace(Deadline deadline, Waiter* waiter, uint64_t* id);
  Outcome SendRequest(local::Op op, uint64_t id, std::span<const std::string_view> parts,
                      Deadline deadline);
  Outcome Await(local::Op op, uint64_t id, Waiter* waiter, Deadline deadline,
                std::vector<StagingArena::Part>* held);
  void Forget(uint64_t id);
  void SendReleases(std::vector<uint64_t> leases);
  void FlushReleases();  // of late replies
  // `waiter` null: one packet only.
  void ReceiveUntil(Deadline deadline, const Waiter* waiter);
  void Deliver(std::string_view message, std::vector<OwnedFd> fds) KVGATE_REQUIRES(mutex_);
  void BreakLocked(std::string why) KVGATE_REQUIRES(mutex_);
  Outcome BrokenOutcome(bool sent) const KVGATE_REQUIRES(mutex_);
  void WakeNextReceiver() KVGATE_REQUIRES(mutex_);
  bool Forked() const;

  // Constant.
  const OwnedFd socket_;
  const pid_t pid_;
  uint32_t in_flight_max_ = 1;             // set before the second call
  uint16_t version_ = local::kVersionMin;  // the same

  // Self-synchronised.
  std::atomic<bool> broken_{false};
  ChannelCounters counters_;

  // Owned by the caller that receives at the moment.
  std::vector<char> buffer_;

  mutable Mutex mutex_;
  CondVar place_free_;
  bool receiving_ KVGATE_GUARDED_BY(mutex_) = false;
  uint64_t next_id_ KVGATE_GUARDED_BY(mutex_) = 1;
  std::string why_broken_ KVGATE_GUARDED_BY(mutex_);
  std::unordered_map<uint64_t, Waiter*> waiters_ KVGATE_GUARDED_BY(mutex_);
  std::unordered_map<uint64_t, Late> late_ KVGATE_GUARDED_BY(mutex_);
  std::vector<uint64_t> to_release_ KVGATE_GUARDED_BY(mutex_);
};

}  // namespace kvgate::client
