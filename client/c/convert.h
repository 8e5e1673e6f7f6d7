// SPDX-License-Identifier: Apache-2.0
//
// Between the structs of kvgate.h and those of client.h. Pure; results view the caller's memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "client/c/kvgate.h"
#include "client/client.h"

namespace kvgate::c {

// Takes what a caller of this or another version filled: no more than its struct_bytes; the rest
// is 0. A null pointer gives all 0.
template <typename T>
T ReadStruct(const T* in) {
  T out{};
  if (in != nullptr) std::memcpy(&out, in, std::min(in->struct_bytes, sizeof(T)));
  out.struct_bytes = sizeof(T);
  return out;
}

// Gives a caller no more than its struct has room for, and leaves its struct_bytes.
template <typename T>
void WriteStruct(const T& in, T* out) {
  const size_t bytes = std::min(out->struct_bytes, sizeof(T));
  constexpr size_t kHead = sizeof(size_t);
  if (bytes <= kHead) return;
  std::memcpy(reinterpret_cast<char*>(out) + kHead, reinterpret_cast<const char*>(&in) + kHead,
              bytes - kHead);
}

inline std::string_view View(const kvgate_bytes& bytes) {
  return {static_cast<const char*>(bytes.data), bytes.bytes};
}

inline std::vector<std::string_view> Views(const kvgate_bytes* list, size_t count) {
  std::vector<std::string_view> views(count);
  std::transform(list, list + count, views.begin(), View);
  return views;
}

// The pieces of values, one list a value. `values` views `pieces`; move, do not copy.
template <typename Byte>
struct PieceLists {
  PieceLists() = default;
  PieceLists(PieceLists&&) noexcept = default;
  std::vector<std::span<Byte>> pieces;
  std::vector<std::span<const std::span<Byte>>> values;
};

PieceLists<std::byte> MutablePieces(const kvgate_piece* pieces, const uint32_t* counts,
                                    size_t values);
PieceLists<const std::byte> ConstPiecesOf(const kvgate_piece* pieces,
                                          const kvgate_set_entry* entries, size_t values);

// Fills the rows of *out that its caller gave room for, and their bitmaps; sums each group's runs.
void FromLookupReply(const client::LookupReply& reply, kvgate_lookup_result* out);

}  // namespace kvgate::c
