// SPDX-License-Identifier: Apache-2.0
//
// The one table from the code of a failed call to the reason of its keys. Pure.
#pragma once

#include "client/client.h"

namespace kvgate::client {

Reason ReasonOf(wire::Code code);

}  // namespace kvgate::client
