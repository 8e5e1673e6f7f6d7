// SPDX-License-Identifier: Apache-2.0
//
// Pieces that the encoders of superblocks, segments, batches and footers share. Internal to format.
// Pure functions, thread-safe.
#pragma once

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "storage/log/format.h"

namespace kvgate::storage::internal {

inline constexpr char kSuperblockMagic[] = "KVGATESB";
inline constexpr char kSegmentMagic[] = "KVGATESG";
inline constexpr char kBatchMagic[] = "KVGATEBH";
inline constexpr char kFooterMagic[] = "KVGATEFT";

inline bool AllZero(std::span<const std::byte> bytes) {
  for (std::byte b : bytes) {
    if (b != std::byte{0}) return false;
  }
  return true;
}
inline bool AllZero(std::span<const uint8_t> bytes) { return AllZero(std::as_bytes(bytes)); }

// A structure at the start of `bytes`. REQUIRES: bytes.size() >= sizeof(T).
template <typename T>
T Load(std::span<const std::byte> bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

inline absl::Status Damaged(absl::string_view what, absl::string_view why) {
  return absl::DataLossError(absl::StrCat(what, ": ", why));
}

inline absl::Status FromLaterVersion(absl::string_view what, uint64_t version) {
  return absl::FailedPreconditionError(
      absl::StrCat(what, " has format ", version, ", this kvgate reads up to ", kFormatVersion));
}

inline void EncodeAnchor(const Anchor& anchor, DiskAnchor* out) {
  out->cache_s.set(anchor.cache_s);
  out->wall_s.set(anchor.wall_s);
  std::memcpy(out->boot_id, anchor.boot_id.data(), sizeof(out->boot_id));
  out->boot_s.set(anchor.boot_s);
}

inline Anchor DecodeAnchor(const DiskAnchor& in) {
  Anchor out{.cache_s = static_cast<uint32_t>(in.cache_s.get()), .wall_s = in.wall_s.get()};
  std::memcpy(out.boot_id.data(), in.boot_id, sizeof(in.boot_id));
  out.boot_s = in.boot_s.get();
  return out;
}

// The four fields that headers, batches and footers have in common.
template <typename T>
void EncodeMarks(const SetMarks& marks, T* out) {
  out->sequence_max.set(marks.sequence_max);
  out->version_max.set(marks.version_max);
  out->namespace_id_max.set(marks.namespace_id_max);
  EncodeAnchor(marks.anchor, &out->anchor);
}

template <typename T>
SetMarks DecodeMarks(const T& in) {
  return {.sequence_max = in.sequence_max.get(),
          .version_max = in.version_max.get(),
          .namespace_id_max = static_cast<uint32_t>(in.namespace_id_max.get()),
          .anchor = DecodeAnchor(in.anchor)};
}

void EncodeNamespace(const NamespaceRef& ns, DiskNamespace* out);
absl::StatusOr<NamespaceRef> DecodeNamespace(const DiskNamespace& in);

void EncodeEntry(const RecordMeta& meta, uint16_t first_page, uint8_t namespace_index,
                 uint8_t producer_index, DiskEntry* out);
// Checks all that an entry says about itself; indexes only against the tables' sizes.
absl::StatusOr<LogRecord> DecodeEntry(const DiskEntry& in, std::span<const NamespaceRef> namespaces,
                                      std::span<const uint64_t> producers);

}  // namespace kvgate::storage::internal
