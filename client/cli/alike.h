// SPDX-License-Identifier: Apache-2.0
//
// Namespaces that look alike, told apart by their identities. Pure, thread-safe.
#pragma once

#include <string>
#include <vector>

#include "proto/kvgate/v1/admin.pb.h"

namespace kvgate::cli {

// For each namespace, in order: the fields in which its identity differs from those of the same
// tenant and model, with its own values, such as "dtype=float16"; "" where none is alike. At most 3
// fields; compared with at most 64 others. Where only the digest of an identity is known,
// "identity not opened since start".
std::vector<std::string> TellApart(const std::vector<v1::NamespaceStats>& namespaces);

}  // namespace kvgate::cli
