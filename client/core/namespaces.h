// SPDX-License-Identifier: Apache-2.0
//
// Namespaces: the client's own numbers for namespaces, and the server's handles behind them.
//
// A number is given once for an identity, alias and set of required features, and stays good over
// restarts of the gateway. A handle belongs to one attachment (and dies with a flush of the
// server); when there is none for the attachment in use, the caller opens again with the kept
// request. Limits: kNamespacesMax numbers a client. Threads: thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "client/client.h"
#include "client/core/mutex.h"

namespace kvgate::client {

class Namespaces {
 public:
  static constexpr size_t kNamespacesMax = 1024;

  // The number for this request, a new one if need be (*fresh); 0 = all numbers are taken.
  uint64_t Number(const OpenRequest& request, bool* fresh);
  // Takes back a number that was refused before any caller learned it.
  void Forget(uint64_t number);

  // The handle that belongs to this attachment; 0 = none, open again. No value: unknown number.
  std::optional<uint64_t> Handle(uint64_t number, uint64_t attachment) const;
  // REQUIRES: a known number.
  OpenRequest Request(uint64_t number) const;

  void Opened(uint64_t number, uint64_t attachment, const OpenReply& reply);
  // The server does not know this handle (any more).
  void Lost(uint64_t number, uint64_t handle);

  // Keys of a root group, for a KV group of this namespace; 0 = unknown (never opened).
  uint32_t RootGroupKeys(uint64_t number, uint32_t group) const;
  // Payload that one message may carry; 0 = unknown.
  uint64_t PayloadBytesMax(uint64_t number) const;

 private:
  struct Entry {
    bool used = false;
    OpenRequest request;
    uint64_t attachment = 0;
    uint64_t handle = 0;  // 0 = none
    std::vector<uint32_t> root_group_keys;
    uint64_t payload_bytes_max = 0;
  };
  const Entry* Find(uint64_t number) const KVGATE_REQUIRES(mutex_);
  Entry* Find(uint64_t number) KVGATE_REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::vector<Entry> entries_ KVGATE_GUARDED_BY(mutex_);  // number - 1 is the index
};

}  // namespace kvgate::client
