// SPDX-License-Identifier: Apache-2.0
//
// An Offer that comes through a gRPC door: the store's answer, but for keys that the door has no
// room to receive: these answer NOT_ADMITTED and are pending for nobody.
//
// When all keys fit, the store is asked at once. Else which of them are held is looked up first,
// since those need no room (a touch of them and no payload), and the store is asked for the rest as
// far as it fits. Threads: thread-safe.
#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gateway/core/namespace_table.h"
#include "gateway/service/receive_budget.h"
#include "storage/store.h"

namespace kvgate::gateway {

absl::StatusOr<storage::OfferResult> OfferWithin(storage::Store* store, ReceiveBudget* budget,
                                                 const OpenedNamespace& ns,
                                                 const storage::OfferRequest& request,
                                                 absl::Time now);

}  // namespace kvgate::gateway
