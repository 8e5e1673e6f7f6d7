// SPDX-License-Identifier: Apache-2.0
#include "storage/store_checks.h"

#include "absl/strings/str_cat.h"
#include "proto/wire/key.h"

namespace kvgate::storage {

absl::Status CheckKey(std::string_view field, std::string_view key) {
  if (!key.empty() && key.size() <= wire::kKeyBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(absl::string_view(field.data(), field.size()),
                                                 ": ", key.size(), " bytes, limit 1..",
                                                 wire::kKeyBytesMax));
}

absl::Status CheckKeys(std::span<const std::string_view> keys, size_t keys_max) {
  if (keys.empty() || keys.size() > keys_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("keys: ", keys.size(), " in one call, limit 1..", keys_max));
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!keys[i].empty() && keys[i].size() <= wire::kKeyBytesMax) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("keys[", i, "]: ", keys[i].size(), " bytes, limit 1..", wire::kKeyBytesMax));
  }
  return absl::OkStatus();
}

absl::Status CheckGroup(const Namespace& ns, uint32_t group) {
  if (group < ns.groups()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("group = ", group, ": the identity has ", ns.groups(), " groups"));
}

absl::Status CheckShard(const Namespace& ns, uint32_t shard) {
  if (shard < ns.shards) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("shard = ", shard, ": the identity has ", ns.shards, " shards"));
}

}  // namespace kvgate::storage
