// SPDX-License-Identifier: Apache-2.0
#include "client/core/link.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "proto/wire/error_id.h"

namespace kvgate::client {
namespace {

using wire::ErrorId;

constexpr int64_t kNsPerMs = 1'000'000;

Outcome Away(ErrorId id, std::string message) {
  return Outcome{wire::Code::kUnavailable, false, wire::Tagged(id, std::move(message))};
}

Outcome Late() {
  return Outcome{
      wire::Code::kDeadlineExceeded, false,
      wire::Tagged(ErrorId::kGatewaySilent, "the deadline ended before the gateway was connected")};
}

}  // namespace

Link::Link(const Options& options, const ClientEnv& env)
    : options_(options),
      env_(env),
      breaker_(Breaker::Config{.failures = options.breaker_failures,
                               .pause_ms = options.breaker_open_ms,
                               .seed = env.seed}) {}

Attachment Link::Acquire(Deadline deadline, Outcome* outcome) {
  mutex_.Lock();
  for (;;) {
    const int64_t now = env_.now();
    if (now >= deadline) {
      mutex_.Unlock();
      *outcome = Late();
      return {};
    }
    if (!refused_.ok()) {
      *outcome = refused_;
      if (connecting_ || now < std::min(next_look_, ask_again_)) {
        mutex_.Unlock();
        return {};
      }
      connecting_ = true;
      mutex_.Unlock();
      if (!MayAskAgain()) return {};
      return Attach(Breaker::Decision::kGo, deadline, outcome);
    }
    if (breaker_.closed() && attachment_.transport && !attachment_.transport->broken()) {
      Attachment attachment = attachment_;
      const bool upgrade = UpgradeIsDue(now);
      if (upgrade) connecting_ = true;
      mutex_.Unlock();
      return upgrade ? Upgrade(std::move(attachment), deadline) : attachment;
    }
    if (breaker_.closed() && connecting_) {
      connected_.WaitFor(mutex_, deadline - now);
      continue;
    }
    const Breaker::Decision decision = breaker_.Ask(now);
    // A connect of before the opening may still be on its way: one at a time.
    if (decision == Breaker::Decision::kRefuse || connecting_) {
      if (decision == Breaker::Decision::kProbe) breaker_.OnAway(now, breaker_.reason());
      mutex_.Unlock();
      *outcome = Away(ErrorId::kBreakerOpen, "the gateway is away (breaker open)");
      return {};
    }
    connecting_ = true;
    mutex_.Unlock();
    return Attach(decision, deadline, outcome);
  }
}

bool Link::UpgradeIsDue(int64_t now) const {
  return options_.transport == "auto" && !connecting_ && now >= next_upgrade_ &&
         std::strcmp(attachment_.transport->name(), "grpc") == 0 &&
         env_.socket_exists(options_.local_socket);
}

// Called by the one caller that set connecting_. Answers the attachment to use.
Attachment Link::Upgrade(Attachment attachment, Deadline deadline) {
  const int64_t now = env_.now();
  Outcome outcome;
  Options options = options_;
  std::unique_ptr<Transport> local;
  if (WithToken(&options, &outcome)) {
    local = env_.connect_local(options, now + std::min(kUpgradeNs, (deadline - now) / 2), &outcome);
  }
  MutexLock lock(mutex_);
  connecting_ = false;
  connected_.NotifyAll();
  if (local) {
    Replace(std::move(local));
    shown_token_ = options.token;
    return attachment_;
  }
  next_upgrade_ = env_.now() + upgrade_pause_;
  upgrade_pause_ = std::min(upgrade_pause_ * 2, kUpgradePauseMaxNs);
  return attachment;
}

void Link::Replace(std::unique_ptr<Transport> fresh) {
  if (attachment_.transport) attachment_.transport->Retire();
  if (attachment_.id != 0) reconnects_.fetch_add(1, std::memory_order_relaxed);
  attachment_ = Attachment{std::move(fresh), attachment_.id + 1};
  refused_ = Outcome{};
  upgrade_pause_ = kUpgradePauseNs;
  next_upgrade_ = env_.now() + upgrade_pause_;
}

// Called by the one caller that set connecting_.
Attachment Link::Attach(Breaker::Decision decision, Deadline deadline, Outcome* outcome) {
  const int64_t now = env_.now();
  const int64_t limit =
      decision == Breaker::Decision::kProbe ? kProbeNs : options_.connect_timeout_ms * kNsPerMs;
  const Deadline until = std::min(deadline, now + limit);

  mutex_.Lock();
  Attachment kept = attachment_;
  mutex_.Unlock();
  // A transport that is whole but was silent is asked first; what broke is dropped before the next
  // one is made, so that two pools are never mapped by us.
  bool usable = kept.transport && !kept.transport->broken() && Answers(*kept.transport, until);
  const bool silent = kept.transport && !usable && !kept.transport->broken();
  std::unique_ptr<Transport> fresh;
  Options options = options_;
  if (silent) {
    *outcome = Away(ErrorId::kGatewaySilent, "the gateway does not answer");
  } else if (!usable) {
    mutex_.Lock();
    attachment_.transport = nullptr;
    mutex_.Unlock();
    // Callers may hold it for long yet, for staging memory that lies in it.
    if (kept.transport) kept.transport->Retire();
    kept.transport = nullptr;
    if (WithToken(&options, outcome)) fresh = Connect(options, until, outcome);
    if (!fresh && outcome->ok()) *outcome = Away(ErrorId::kNoGateway, "no connection");
  }

  MutexLock lock(mutex_);
  connecting_ = false;
  refused_ = Outcome{};
  if (fresh) {
    Replace(std::move(fresh));
    shown_token_ = options.token;
    usable = true;
  }
  if (usable || outcome->code == wire::Code::kUnauthenticated) {
    if (!usable) Refuse(*outcome, options.token);
    if (decision == Breaker::Decision::kProbe) breaker_.OnAnswer();
  } else {
    const bool late = silent || outcome->code == wire::Code::kDeadlineExceeded;
    CountOpening(
        breaker_.OnAway(env_.now(), late ? BreakerReason::kNoAnswer : BreakerReason::kNoGateway));
  }
  connected_.NotifyAll();
  return usable ? attachment_ : Attachment{};
}

bool Link::Answers(Transport& transport, Deadline deadline) const {
  const wire::Code code = transport.Ping(deadline).code;
  return code != wire::Code::kUnavailable && code != wire::Code::kDeadlineExceeded;
}

std::unique_ptr<Transport> Link::Connect(const Options& options, Deadline deadline,
                                         Outcome* outcome) const {
  const bool has_grpc = !options_.grpc_target.empty();
  *outcome = Away(ErrorId::kNoGateway, "no local socket at '" + options_.local_socket + "'");
  if (options_.transport != "grpc" && env_.socket_exists(options_.local_socket)) {
    // A socket file whose owner does not answer must leave time for the other way.
    const bool last = options_.transport == "local" || !has_grpc;
    const int64_t now = env_.now();
    const Deadline until = last ? deadline : now + (deadline - now) / 2;
    *outcome = Outcome{};
    if (auto local = env_.connect_local(options, until, outcome)) return local;
    // The other door would refuse the same token.
    if (outcome->code == wire::Code::kUnauthenticated) return nullptr;
  }
  if (options_.transport == "local" || !has_grpc) return nullptr;
  *outcome = Outcome{};
  return env_.connect_grpc(options, deadline, outcome);
}

bool Link::WithToken(Options* options, Outcome* outcome) const {
  if (options->token_file.empty()) return true;
  const std::string wrong = env_.read_token(options->token_file, &options->token);
  if (wrong.empty()) return true;
  *outcome = Outcome{wire::Code::kUnauthenticated, false, wrong};
  return false;
}

void Link::Report(const Attachment& attachment, bool answered, int64_t started) {
  // The memory of a gateway that is gone is not kept until the next one is there.
  if (attachment.transport->broken()) attachment.transport->Retire();
  MutexLock lock(mutex_);
  // What an attachment of before said is about a gateway of before.
  if (attachment.id != attachment_.id) return;
  if (answered) {
    breaker_.OnAnswer();
  } else {
    CountOpening(breaker_.OnFailure(env_.now(), started));
  }
}

void Link::OnRefused(const Attachment& attachment, const Outcome& outcome) {
  {
    MutexLock lock(mutex_);
    if (attachment.id != attachment_.id || attachment_.transport == nullptr) return;
    Refuse(outcome, shown_token_);
    attachment_.transport = nullptr;
  }
  attachment.transport->Retire();
}

void Link::Refuse(const Outcome& outcome, std::string token) {
  const int64_t now = env_.now();
  refused_ = outcome;
  refused_.sent = false;  // of the calls that will be answered with it
  refused_.message = wire::Tagged(wire::ErrorOf(outcome.code), std::move(refused_.message));
  refused_token_ = std::move(token);
  ask_again_ = now + kRefusedPauseNs;
  next_look_ = options_.token_file.empty() ? ask_again_ : now + kTokenLookNs;
}

bool Link::MayAskAgain() {
  mutex_.Lock();
  const bool due = env_.now() >= ask_again_;
  const std::string before = refused_token_;
  mutex_.Unlock();
  Options options = options_;
  Outcome outcome;
  if (due || (WithToken(&options, &outcome) && options.token != before)) return true;
  MutexLock lock(mutex_);
  next_look_ = env_.now() + kTokenLookNs;
  connecting_ = false;
  connected_.NotifyAll();
  return false;
}

void Link::ReadBreaker(Stats* stats) const {
  MutexLock lock(mutex_);
  stats->breaker_state = breaker_.state();
  stats->breaker_reason = breaker_.reason();
}

std::shared_ptr<Transport> Link::Current() const {
  MutexLock lock(mutex_);
  return attachment_.transport;
}

}  // namespace kvgate::client
