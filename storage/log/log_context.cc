// SPDX-License-Identifier: Apache-2.0
#include "storage/log/log_context.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace kvgate::storage {

void LogContext::Report(LogDevice& device, DeviceHealth::Use use,
                        const absl::Status& status) const {
  const DeviceHealth::Change change = device.health.Report(use, status, clock->Now());
  const auto tell = [&](EventKind kind, EventLevel level, const std::string& text) {
    Tell(
        options.events,
        {.kind = kind, .level = level, .text = text, .details = {{"device", device.disk->name()}}});
  };
  if (change != DeviceHealth::Change::kNone && change != DeviceHealth::Change::kBack) {
    tell(EventKind::kDeviceError, EventLevel::kWarning,
         absl::StrCat("a request to the device failed: ", status.message()));
  }
  if (change == DeviceHealth::Change::kReadOnly) {
    tell(EventKind::kDeviceState, EventLevel::kError,
         "device is only read from after 3 failures in 60 s: a write is tried every 30 s");
  }
  if (change == DeviceHealth::Change::kOffline) {
    tell(
        EventKind::kDeviceState, EventLevel::kError,
        "device quarantined after repeated failures: its blocks are misses until it answers again");
  }
  if (change == DeviceHealth::Change::kBack) {
    tell(EventKind::kDeviceState, EventLevel::kInfo, "device is back");
  }
}

void LogContext::TellCheckpoint(EventLevel level, const std::string& text) const {
  Tell(options.events, {.kind = EventKind::kCheckpoint, .level = level, .text = text});
}

PlaceName LogContext::NameOf(Place place) const {
  const SegmentId id = SegmentId::Of(place.segment);
  const LogDevice& device = *set.devices[id.device];
  return {.device = device.disk->name(),
          .segment = id.local,
          .offset = device.OffsetOf(id.local, place.first_page)};
}

void LogContext::TellDroppedCopy(Place place, const absl::Status& why) const {
  const PlaceName name = NameOf(place);
  Tell(options.events, {.kind = EventKind::kDamage,
                        .level = EventLevel::kWarning,
                        .text = absl::StrCat("a block was not kept at reclaim: ", why.message()),
                        .details = {{"device", name.device},
                                    {"segment", absl::StrCat(name.segment)},
                                    {"offset", absl::StrCat(name.offset)}}});
}

}  // namespace kvgate::storage
