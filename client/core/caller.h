// SPDX-License-Identifier: Apache-2.0
//
// Caller: runs one call to its end: attachment, namespace handle, attempt, and again where that is
// safe. Every rule about retries is here.
//
//  1. A call is tried again when the attachment broke under it, and it is idempotent or no byte of
//     it was sent, and nothing of an answer was used, and deadline and budget allow it; at most
//     kAttemptsMax times in all.
//  2. A server that does not know the handle of a namespace refused the call before doing anything:
//     the namespace is opened again and the call repeated, once.
//  3. A pin token belongs to the incarnation of the server on which the call began: a repeated call
//     does not ask another one for it (`Try::fenced`).
//
// Threads: thread-safe. None of its own.
#pragma once

#include <atomic>
#include <functional>

#include "client/core/breaker.h"
#include "client/core/env.h"
#include "client/core/link.h"
#include "client/core/mutex.h"
#include "client/core/namespaces.h"

namespace kvgate::client {

// One attempt, as the operation sees it.
struct Try {
  Transport& transport;
  uint64_t attachment;
  uint64_t handle;    // of the namespace at this server; 0 when the call has none
  bool fenced;        // the incarnation of the token is gone: answer "stale", send nothing
  bool used = false;  // set by the operation: bytes of an answer were used
};

struct CallRule {
  bool idempotent = true;
  bool by_token = false;
  bool needs_namespace = true;
};

class Caller {
 public:
  static constexpr int kAttemptsMax = 3;
  // A call that had less than this from the start says nothing about the gateway.
  static constexpr int64_t kFairNs = 2'000'000;

  using Operation = std::function<Outcome(Try&)>;

  Caller(const Options& options, const ClientEnv& env);

  Outcome Call(const CallRule& rule, uint64_t ns, Deadline deadline, const Operation& operation);

  Namespaces& namespaces() { return namespaces_; }
  const Link& link() const { return link_; }
  uint64_t calls() const { return calls_.load(std::memory_order_relaxed); }
  uint64_t retries() const { return retries_.load(std::memory_order_relaxed); }

 private:
  Outcome FindHandle(const Attachment& attachment, uint64_t ns, Deadline deadline,
                     uint64_t* handle);
  bool MayRetry(const CallRule& rule, const Outcome& outcome, const Try& attempt, int attempts,
                Deadline deadline);
  void CountCall();
  bool TakeRetry();

  // Constant.
  const ClientEnv env_;

  // Self-synchronised.
  Link link_;
  Namespaces namespaces_;
  std::atomic<uint64_t> calls_{0};
  std::atomic<uint64_t> retries_{0};

  Mutex mutex_;
  RetryBudget budget_ KVGATE_GUARDED_BY(mutex_);
};

}  // namespace kvgate::client
