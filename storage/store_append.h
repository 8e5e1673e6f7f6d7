// SPDX-License-Identifier: Apache-2.0
//
// A record on its way from the store to the log. Written by one thread at a time: who makes it,
// then DrainAppends, then the completion.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "storage/store_impl.h"

namespace kvgate::storage {

struct StoreImpl::Append {
  RecordMeta meta;
  std::string key;
  std::shared_ptr<const MemoryBlock> block;  // null: tombstone. Keeps the payload in place.
  bool device = false;
  uint64_t charged_bytes = 0;         // of append_bytes_
  std::shared_ptr<WaitingCall> call;  // null: nobody waits
  uint32_t index = 0;
};

}  // namespace kvgate::storage
