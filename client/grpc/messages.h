// SPDX-License-Identifier: Apache-2.0
//
// Between the structs of client.h and the messages of kvgate.v1. Pure; decides nothing.
#pragma once

#include <string>
#include <string_view>

#include "client/client.h"
#include "proto/kvgate/v1/kvgate.pb.h"

namespace kvgate::client {

// False with *error for bytes that are no canonical identity.
bool ToIdentity(std::string_view canonical, v1::Identity* out, std::string* error);

v1::LookupRequest ToLookup(const LookupRequest& request);
v1::GetRequest ToGet(const GetRequest& request);
v1::SetRequest ToSetHead(const SetRequest& request);  // without values
v1::OfferRequest ToOffer(const OfferRequest& request, uint64_t producer);
v1::DeleteRequest ToDelete(const DeleteRequest& request);
void ToHints(const Hints& hints, v1::Hints* out);

OpenReply FromOpen(const v1::OpenResponse& response);
LookupReply FromLookup(const v1::LookupResponse& response);
SetResult FromSetResult(const v1::SetResult& result);

}  // namespace kvgate::client
