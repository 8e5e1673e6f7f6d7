// SPDX-License-Identifier: Apache-2.0
#include "client/core/caller.h"

#include <string>

namespace kvgate::client {
namespace {

bool IsAnswer(wire::Code code) {
  return code != wire::Code::kUnavailable && code != wire::Code::kDeadlineExceeded &&
         code != wire::Code::kCancelled;
}

}  // namespace

Caller::Caller(const Options& options, const ClientEnv& env) : env_(env), link_(options, env) {}

Outcome Caller::Call(const CallRule& rule, uint64_t ns, Deadline deadline,
                     const Operation& operation) {
  CountCall();
  const int64_t began = env_.now();
  uint64_t first_incarnation = 0;
  bool reopened = false;
  for (int attempts = 1;; ++attempts) {
    Outcome outcome;
    const Attachment attachment = link_.Acquire(deadline, &outcome);
    if (!attachment.transport) return outcome;

    const int64_t started = env_.now();
    Try attempt{*attachment.transport, attachment.id, 0, false};
    if (rule.needs_namespace) outcome = FindHandle(attachment, ns, deadline, &attempt.handle);
    const bool reached = outcome.ok();
    // Known by now: by the handshake, or by the opening of the namespace.
    const uint64_t incarnation = attachment.transport->incarnation();
    if (first_incarnation == 0) first_incarnation = incarnation;
    attempt.fenced = rule.by_token && incarnation != first_incarnation;
    if (reached) outcome = operation(attempt);

    const bool answered = IsAnswer(outcome.code) || attempt.used;
    if (outcome.code == wire::Code::kUnauthenticated) link_.OnRefused(attachment, outcome);
    if (answered || deadline - began >= kFairNs) link_.Report(attachment, answered, started);

    if (reached && rule.needs_namespace && !reopened && !attempt.used &&
        outcome.code == wire::Code::kFailedPrecondition) {
      namespaces_.Lost(ns, attempt.handle);
      reopened = true;
      continue;
    }
    if (!MayRetry(rule, outcome, attempt, attempts, deadline)) return outcome;
  }
}

// Opens the namespace again when it has no handle for this attachment.
Outcome Caller::FindHandle(const Attachment& attachment, uint64_t ns, Deadline deadline,
                           uint64_t* handle) {
  const std::optional<uint64_t> known = namespaces_.Handle(ns, attachment.id);
  if (!known.has_value()) {
    return Outcome{wire::Code::kInvalidArgument, false,
                   "namespace: number " + std::to_string(ns) + " was not given by this client"};
  }
  *handle = *known;
  if (*handle != 0) return Outcome{};
  OpenReply reply;
  Outcome outcome = attachment.transport->Open(namespaces_.Request(ns), deadline, &reply);
  outcome.sent = false;  // of the call itself
  if (!outcome.ok()) return outcome;
  namespaces_.Opened(ns, attachment.id, reply);
  *handle = reply.ns_handle;
  return outcome;
}

bool Caller::MayRetry(const CallRule& rule, const Outcome& outcome, const Try& attempt,
                      int attempts, Deadline deadline) {
  if (!wire::IsRetryable(outcome.code) || !attempt.transport.broken()) return false;
  if (attempt.used || (outcome.sent && !rule.idempotent)) return false;
  if (attempts >= kAttemptsMax || env_.now() >= deadline) return false;
  return TakeRetry();
}

void Caller::CountCall() {
  calls_.fetch_add(1, std::memory_order_relaxed);
  MutexLock lock(mutex_);
  budget_.OnCall();
}

bool Caller::TakeRetry() {
  {
    MutexLock lock(mutex_);
    if (!budget_.Take()) return false;
  }
  retries_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

}  // namespace kvgate::client
