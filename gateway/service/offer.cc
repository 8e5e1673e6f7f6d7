// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/offer.h"

#include <numeric>
#include <vector>

namespace kvgate::gateway {

using storage::OfferRequest;
using storage::OfferResult;
using storage::OfferState;

absl::StatusOr<OfferResult> OfferWithin(storage::Store* store, ReceiveBudget* budget,
                                        OfferRequest request, absl::Time now) {
  const std::vector<uint64_t>& bytes = request.value_bytes;
  request.bytes_max =
      budget->TakeUpTo(std::accumulate(bytes.begin(), bytes.end(), uint64_t{0}), now);
  absl::StatusOr<OfferResult> result = store->Offer(request);
  uint64_t wanted = 0;
  if (result.ok()) {
    for (size_t i = 0; i < result->states.size(); ++i) {
      if (result->states[i] == OfferState::kWanted) wanted += bytes[i];
    }
    budget->CountRefused(result->keys_beyond);
  }
  budget->Promise(request.bytes_max, result.ok() ? result->ticket : 0, wanted, request.producer,
                  now);
  return result;
}

}  // namespace kvgate::gateway
