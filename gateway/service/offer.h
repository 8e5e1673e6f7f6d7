// SPDX-License-Identifier: Apache-2.0
//
// An Offer that comes through a gRPC door: the store's answer, but for keys that the door has no
// room to receive: these answer NOT_ADMITTED and are pending for nobody.
//
// The store is asked once, with the room that there is: held keys need none of it (a touch of them
// and no payload). While it is asked, other Offers see that room as taken; what was not wanted is
// given back at once. Threads: thread-safe.
#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/service/receive_budget.h"
#include "storage/store.h"

namespace kvgate::gateway {

absl::StatusOr<storage::OfferResult> OfferWithin(storage::Store* store, ReceiveBudget* budget,
                                                 storage::OfferRequest request, absl::Time now);

}  // namespace kvgate::gateway
