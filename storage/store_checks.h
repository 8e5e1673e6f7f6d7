// SPDX-License-Identifier: Apache-2.0
//
// Limits of the arguments of Store's verbs, and the texts of their refusal: field, value, limit.
// Pure, thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "storage/store_namespaces.h"

namespace kvgate::storage {

// 1 … keys_max keys of 1 … 1,024 bytes.
absl::Status CheckKeys(std::span<const std::string_view> keys, size_t keys_max);
absl::Status CheckKey(std::string_view field, std::string_view key);
absl::Status CheckGroup(const Namespace& ns, uint32_t group);
absl::Status CheckShard(const Namespace& ns, uint32_t shard);

}  // namespace kvgate::storage
