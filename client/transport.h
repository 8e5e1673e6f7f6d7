// SPDX-License-Identifier: Apache-2.0
//
// Transport: moves the bytes of one call to one server and back. It decides nothing: deadlines,
// retries, breaker, re-attachment and reasons live once above it, in client.cc.
//
// A Transport is one attachment (one incarnation of the server). Once a call answers kUnavailable
// with `broken()` true it stays broken; the client drops it and makes another one.
// Threads: thread-safe. Buffers: copies into the caller's targets are made by the calling thread,
// before the deadline; after return nothing is written.
// ABI: crosses from libkvgate.so into libkvgate_grpc.so; both are made by one build, and
// kTransportAbi must be equal on both sides.
#pragma once

#include <memory>

#include "client/client.h"

namespace kvgate::client {

inline constexpr uint32_t kTransportAbi = 3;

class Transport {
 public:
  virtual ~Transport() = default;
  virtual const char* name() const = 0;  // "local" | "grpc"
  virtual bool broken() const = 0;
  virtual uint64_t incarnation() const = 0;  // 0 before the first answer

  // `ns` in every request is the server's handle here.
  virtual Outcome Open(const OpenRequest& request, Deadline deadline, OpenReply* reply) = 0;
  virtual Outcome Lookup(const LookupRequest& request, Deadline deadline, LookupReply* reply) = 0;
  // verify[i] != 0: check the CRC32C of value i after the copy, answer kChecksum on a mismatch.
  virtual Outcome Get(const GetRequest& request, Deadline deadline, std::span<const uint8_t> verify,
                      std::span<GetResult> results) = 0;
  virtual Outcome Set(const SetRequest& request, Deadline deadline,
                      std::span<SetResult> results) = 0;
  virtual Outcome Offer(const OfferRequest& request, Deadline deadline, OfferReply* reply) = 0;
  virtual Outcome Delete(const DeleteRequest& request, Deadline deadline,
                         std::span<bool> found) = 0;
  virtual Outcome Touch(uint64_t ns, std::string_view last_key, uint8_t group, const Hints& hints,
                        Deadline deadline) = 0;
  virtual Outcome Pin(uint64_t ns, uint64_t token, uint32_t pin_ms, Deadline deadline,
                      uint32_t* granted_ms) = 0;
  virtual Outcome Unpin(uint64_t ns, uint64_t token, Deadline deadline) = 0;
  virtual Outcome Ping(Deadline deadline) = 0;

  // Shared staging, or null when this transport has none (then the client uses its own memory).
  // Memory stays mapped until FreeStaging even if the transport broke or was retired. FreeStaging
  // is a call on this object: whoever holds staging memory keeps the transport until then.
  virtual std::byte* AllocStaging(size_t bytes) = 0;
  virtual bool OwnsStaging(const std::byte* memory) const = 0;
  virtual void FreeStaging(std::byte* memory) = 0;

  // The attachment is over: ends the connection and unmaps what it has mapped of the server's
  // memory, at once or when the last copy that runs is done; a lease is void from here on (such a
  // copy answers kRevoked). Staging that callers hold stays. Idempotent; never waits. The client
  // calls it as soon as it sees that a transport broke, and before it makes another one.
  virtual void Retire() {}
};

// client/local_transport.cc. Null with *outcome set when the door is not there or refuses.
std::unique_ptr<Transport> ConnectLocal(const Options& options, Deadline deadline,
                                        Outcome* outcome);

// client/grpc/: symbol of libkvgate_grpc.so, found by dlopen(RTLD_LOCAL). The Transport is deleted
// through its virtual destructor. `abi` = kTransportAbi, or null is returned.
using ConnectGrpcFn = Transport* (*)(uint32_t abi, const Options* options, Deadline deadline,
                                     Outcome* outcome);
inline constexpr char kConnectGrpcSymbol[] = "kvgate_grpc_connect";

}  // namespace kvgate::client
