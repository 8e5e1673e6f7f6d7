// SPDX-License-Identifier: Apache-2.0
//
// What a store tells its operator when it happens: damage, loss, what start found. storage logs
// nothing itself; whoever opens it passes a sink, which writes the lines and limits their rate.
// Plain data: thread-compatible. A sink is called from any thread of the store, never with its lock
// held; it must not block for long nor call back into the store.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvgate::storage {

enum class EventKind : uint8_t {
  kFormatted = 0,    // disks were formatted
  kSize = 1,         // a disk has another size than it was given
  kSuperblock = 2,   // a damaged copy, and whether it was mended
  kCheckpoint = 3,   // lost, rebuilt or not written
  kRecovered = 4,    // what start found
  kDamage = 5,       // a block was dropped, a segment lost
  kDeviceError = 6,  // a request failed: EIO, ENOSPC, …
  kDeviceState = 7,  // taken offline, or back
};
inline constexpr int kEventKinds = 8;

enum class EventLevel : uint8_t { kError = 0, kWarning = 1, kInfo = 2 };

struct StoreEvent {
  EventKind kind = EventKind::kRecovered;
  EventLevel level = EventLevel::kInfo;
  std::string text;                                               // one line
  std::vector<std::pair<std::string_view, std::string>> details;  // names are literals
};
using EventSink = std::function<void(const StoreEvent&)>;

inline void Tell(const EventSink& sink, const StoreEvent& event) {
  if (sink) sink(event);
}

}  // namespace kvgate::storage
