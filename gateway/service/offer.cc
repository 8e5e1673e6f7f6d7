// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/offer.h"

#include <numeric>
#include <utility>
#include <vector>

namespace kvgate::gateway {
namespace {

using storage::OfferRequest;
using storage::OfferResult;
using storage::OfferState;

// Asks the store in room that was taken; what it does not want is given back.
absl::StatusOr<OfferResult> Ask(storage::Store* store, ReceiveBudget* budget,
                                const OfferRequest& request, uint64_t taken, absl::Time now) {
  absl::StatusOr<OfferResult> result = store->Offer(request);
  uint64_t wanted = 0;
  if (result.ok()) {
    for (size_t i = 0; i < result->states.size(); ++i) {
      if (result->states[i] == OfferState::kWanted) wanted += request.value_bytes[i];
    }
  }
  budget->Promise(taken, result.ok() ? result->ticket : 0, wanted, request.producer, now);
  return result;
}

// Which keys are held in all their shards.
absl::StatusOr<std::vector<bool>> Held(storage::Store* store, const OfferRequest& request) {
  storage::LookupRequest lookup;
  lookup.ns = request.ns;
  lookup.queries.push_back(
      {.group = request.group, .keys = request.keys, .match = storage::Match::kMembership});
  // Not staged: `done` runs inside the call.
  absl::StatusOr<storage::LookupResult> result = absl::InternalError("Lookup gave no answer");
  store->Lookup(lookup,
                [&result](absl::StatusOr<storage::LookupResult> r) { result = std::move(r); });
  if (!result.ok()) return result.status();
  std::vector<bool> held(request.keys.size(), false);
  for (const storage::GroupHeld& group : result->groups) {
    for (size_t i = 0; i < held.size() && i / 8 < group.bitmap.size(); ++i) {
      held[i] = (static_cast<uint8_t>(group.bitmap[i / 8]) >> (i % 8) & 1) != 0;
    }
  }
  return held;
}

}  // namespace

absl::StatusOr<OfferResult> OfferWithin(storage::Store* store, ReceiveBudget* budget,
                                        const OpenedNamespace& ns, const OfferRequest& request,
                                        absl::Time now) {
  const std::vector<uint64_t>& bytes = request.value_bytes;
  const uint64_t all = std::accumulate(bytes.begin(), bytes.end(), uint64_t{0});
  if (budget->TakeAll(all, now)) return Ask(store, budget, request, all, now);

  absl::StatusOr<std::vector<bool>> held = Held(store, request);
  if (!held.ok()) return held.status();
  const bool chain = ns.info.identity.groups[request.group].kind == wire::GroupKind::kFullAttention;
  uint64_t taken = 0;
  const std::vector<size_t> chosen = budget->TakeWithin(bytes, *held, chain, now, &taken);
  OfferResult result;
  for (bool one : *held) {
    result.states.push_back(one ? OfferState::kHeld : OfferState::kNotAdmitted);
  }
  if (chosen.empty()) return result;

  OfferRequest fitting = request;
  fitting.keys.clear();
  fitting.value_bytes.clear();
  for (size_t i : chosen) {
    fitting.keys.push_back(request.keys[i]);
    fitting.value_bytes.push_back(bytes[i]);
  }
  absl::StatusOr<OfferResult> asked = Ask(store, budget, fitting, taken, now);
  if (!asked.ok()) return asked.status();
  for (size_t i = 0; i < chosen.size(); ++i) result.states[chosen[i]] = asked->states[i];
  result.ticket = asked->ticket;
  return result;
}

}  // namespace kvgate::gateway
