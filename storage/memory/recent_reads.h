// SPDX-License-Identifier: Apache-2.0
//
// RecentReads: which blocks were read from disk not long ago, in a table of fixed size.
//
// A fingerprint of 32 bits a block, four to a set; the oldest of a set gives way, so a block is
// remembered for about as many reads as the table has places. Two blocks of one fingerprint in one
// set (about 1 in 10^9) only cost a place in memory.
// Thread-compatible (the store's lock). Limits: 8 bytes a place, all of them from the start.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "storage/index/block_id.h"

namespace kvgate::storage {

class RecentReads {
 public:
  explicit RecentReads(size_t places) : sets_(places / kWays + 1) {}

  // Notes a read of the block; true when one was remembered.
  bool Note(const BlockId& id) {
    const uint64_t mixed =
        id.hash.lo ^ (uint64_t{id.group} << 8 | id.shard) * 0x9E3779B97F4A7C15 ^ id.ns;
    Set& set = sets_[mixed % sets_.size()];
    const auto print = static_cast<uint32_t>((id.hash.hi ^ mixed >> 32) | 1);  // 0: free
    Place* oldest = &set[0];
    for (Place& place : set) {
      if (place.print == print) {
        place.read = ++reads_;
        return true;
      }
      // Differences survive that the count of reads begins anew at 2^32.
      if (oldest->print == 0) continue;
      if (place.print == 0 || reads_ - place.read > reads_ - oldest->read) oldest = &place;
    }
    *oldest = {print, ++reads_};
    return false;
  }

 private:
  static constexpr size_t kWays = 4;
  struct Place {
    uint32_t print = 0, read = 0;
  };
  using Set = std::array<Place, kWays>;

  std::vector<Set> sets_;
  uint32_t reads_ = 0;
};

}  // namespace kvgate::storage
