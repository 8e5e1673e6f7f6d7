// SPDX-License-Identifier: Apache-2.0
//
// The messages with payload, written and read without protobuf copying it: values of a Set become
// slices of the message, values of a Get are copied once from the received slices to where the
// caller wants them, by the calling thread.
//
// Received bytes are hostile input: a message that does not parse makes kInternal, and nothing is
// written for a value that does not fit its target.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "client/client.h"
#include "client/grpc/shared_blocks.h"

namespace grpc {
class ByteBuffer;
}

namespace kvgate::client {

// `head`: the serialized SetRequest without values. Values in one piece inside `blocks` are
// referred to; others are copied.
::grpc::ByteBuffer BuildSetMessage(const std::string& head, std::span<const SetEntry> entries,
                                   const SharedBlocks& blocks);

// Reads a GetResponse into `results` and `targets`. No byte is written to a target at or after the
// deadline: what is not copied by then answers kDeadline. Not OK: the message is malformed.
Outcome ReadGetMessage(const ::grpc::ByteBuffer& message, Deadline deadline,
                       std::span<const Pieces> targets, std::span<const uint8_t> verify,
                       std::span<GetResult> results);

}  // namespace kvgate::client
