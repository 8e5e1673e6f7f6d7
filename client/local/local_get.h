// SPDX-License-Identifier: Apache-2.0
//
// LocalGet: one Get over the local door, in as many messages as leases and copy-out room need
// (ordinarily one). Used by one thread, once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "client/local/local_transport.h"

namespace kvgate::client {

class LocalGet {
 public:
  // All arguments outlive it.
  LocalGet(LocalTransport& transport, const GetRequest& request, Deadline deadline,
           std::span<const uint8_t> verify, std::span<GetResult> results);

  // Fills every result.
  Outcome Run();

 private:
  // What one message asks for: keys [first, first + count).
  struct Round {
    size_t first = 0, count = 0;
    std::vector<StagingArena::Part> copy_out;  // none or one
    uint64_t copy_out_offset = 0, copy_out_bytes = 0;
  };

  Outcome Check() const;
  std::optional<Round> Plan(size_t first) const;
  Outcome Ask(Round* round, Reply* reply);
  // Copies what an answer names; *next = the first key that must be asked again.
  Outcome Take(const Round& round, std::span<const local::PlaceWire> places, size_t* next);
  Outcome TakeOne(const local::PlaceWire& place, const Round& round, size_t index);
  Outcome RunRound(size_t first, size_t* next);
  Reason Copy(std::span<const std::byte> source, size_t index, uint32_t crc32c);

  LocalTransport& transport_;
  const std::shared_ptr<PoolView> pool_;  // null: the connection ended
  const GetRequest& request_;
  const Deadline deadline_;
  const std::span<const uint8_t> verify_;
  const std::span<GetResult> results_;
  std::vector<uint64_t> target_bytes_;
};

}  // namespace kvgate::client
