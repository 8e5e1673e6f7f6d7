// SPDX-License-Identifier: Apache-2.0
//
// kvgate.v1.Identity <-> wire::Identity, field by field. Pure; never fails (wire::ValidateIdentity
// judges the outcome). A test walks both by reflection, so that no field is forgotten.
#pragma once

#include "proto/wire/identity.h"

namespace kvgate::v1 {
class Identity;
}

namespace kvgate::gateway {

wire::Identity IdentityFromProto(const v1::Identity& message);
void IdentityToProto(const wire::Identity& identity, v1::Identity* message);

}  // namespace kvgate::gateway
