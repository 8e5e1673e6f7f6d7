// SPDX-License-Identifier: Apache-2.0
//
// GetResponse by hand: one slice with all results, then for each value one small slice (tag and
// length) and one slice that *is* the block's pool memory and gives its reference back when gRPC
// has sent it. No payload is copied and nothing of 64 KiB or more is allocated.
//
// Thread-safe. The gauge counts pool bytes that unsent answers keep in place; it outlives them.
// A range that ends beyond a value is a miss of that value.
#pragma once

#include <cstdint>
#include <span>

#include "gateway/service/unsent.h"
#include "storage/store.h"

namespace grpc {
class ByteBuffer;
}

namespace kvgate::gateway {

struct EncodeGetOptions {
  uint64_t range_offset = 0, range_bytes = 0;  // both 0: whole
  bool no_payload = false;
  uint64_t payload_bytes_max = 0;  // leading values that fit are sent, the others are NOT_SENT
};

// What the answer would carry if all of it fit the message.
uint64_t PayloadBytes(std::span<const storage::GetResult> results, const EncodeGetOptions& options);

// Fills *message and answers the payload bytes in it.
uint64_t EncodeGetResponse(std::span<const storage::GetResult> results,
                           const EncodeGetOptions& options, const UnsentGauge& unsent,
                           grpc::ByteBuffer* message);

}  // namespace kvgate::gateway
