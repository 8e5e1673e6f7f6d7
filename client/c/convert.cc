// SPDX-License-Identifier: Apache-2.0
#include "client/c/convert.h"

namespace kvgate::c {
namespace {

constexpr uint8_t kTierMemory = 1;
constexpr uint8_t kTierDisk = 2;

template <typename Byte, typename CountAt>
PieceLists<Byte> Collect(const kvgate_piece* pieces, size_t values, CountAt count_at) {
  PieceLists<Byte> lists;
  size_t total = 0;
  for (size_t i = 0; i < values; ++i) total += count_at(i);
  lists.pieces.reserve(total);
  for (size_t i = 0; i < total; ++i) {
    lists.pieces.emplace_back(static_cast<Byte*>(pieces[i].data), pieces[i].bytes);
  }
  lists.values.reserve(values);
  size_t from = 0;
  for (size_t i = 0; i < values; ++i) {
    lists.values.emplace_back(lists.pieces.data() + from, count_at(i));
    from += count_at(i);
  }
  return lists;
}

// Where the caller wants its bitmap stays as it is.
void FillRow(const client::GroupHeld& group, kvgate_group_held* row) {
  kvgate_group_held out{};
  out.bitmap = row->bitmap;
  out.bitmap_bytes = row->bitmap_bytes;
  out.group = group.group;
  out.first = group.first;
  out.held = group.held;
  for (const client::HeldRun& run : group.runs) {
    if (run.tier == kTierMemory) out.memory_keys += run.count;
    if (run.tier == kTierDisk) out.disk_keys += run.count;
    out.value_bytes += run.value_bytes * run.count;
  }
  *row = out;
  if (row->bitmap == nullptr) return;
  const size_t known = std::min(group.bitmap.size(), row->bitmap_bytes);
  std::copy_n(group.bitmap.begin(), known, row->bitmap);
  std::fill_n(row->bitmap + known, row->bitmap_bytes - known, uint8_t{0});
}

}  // namespace

PieceLists<std::byte> MutablePieces(const kvgate_piece* pieces, const uint32_t* counts,
                                    size_t values) {
  return Collect<std::byte>(pieces, values, [counts](size_t i) { return counts[i]; });
}

PieceLists<const std::byte> ConstPiecesOf(const kvgate_piece* pieces,
                                          const kvgate_set_entry* entries, size_t values) {
  return Collect<const std::byte>(pieces, values,
                                  [entries](size_t i) { return entries[i].piece_count; });
}

void FromLookupReply(const client::LookupReply& reply, kvgate_lookup_result* out) {
  const kvgate_lookup_result room = ReadStruct(out);
  kvgate_lookup_result filled = room;
  filled.boundary_tokens = reply.boundary_tokens;
  filled.pin_ms = reply.pin_ms;
  filled.pin_token = reply.pin_token;
  filled.predicted_load_ms = reply.predicted_load_ms;
  filled.advice = reply.advice;
  filled.groups = static_cast<uint32_t>(std::min(reply.groups.size(), room.held_count));
  for (size_t i = 0; i < filled.groups; ++i) FillRow(reply.groups[i], &room.held[i]);
  WriteStruct(filled, out);
}

}  // namespace kvgate::c
