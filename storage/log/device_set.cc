// SPDX-License-Identifier: Apache-2.0
#include "storage/log/device_set.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "proto/wire/error_id.h"
#include "storage/base/aligned_buffer.h"
#include "storage/base/check.h"
#include "storage/log/format_codec.h"
#include "storage/log/made_with.h"

namespace kvgate::storage {

using wire::ErrorId;
using wire::Tagged;

void FillRandom(std::span<uint8_t> out) {
  size_t at = 0;
  while (at < out.size()) {
    const ssize_t n = getrandom(out.data() + at, out.size() - at, 0);
    if (n > 0) at += static_cast<size_t>(n);
  }
}

bool DeviceHealth::Allows(Use use, absl::Time now) {
  const State state = state_.load(std::memory_order_relaxed);
  if (state == State::kWell || (state == State::kReadOnly && use == Use::kRead)) return true;
  absl::MutexLock lock(&mu_);
  if (now < next_probe_) return false;
  next_probe_ = now + kProbeEvery;
  return true;
}

DeviceHealth::Change DeviceHealth::Succeeded(Use use) {
  const State state = state_.load();
  if (state == State::kWell) return Change::kNone;
  // It answers reads again; whether it takes writes is not known.
  if (use == Use::kRead) {
    if (state == State::kReadOnly) return Change::kNone;
    state_ = State::kReadOnly;
    next_probe_ = absl::InfinitePast();
    return Change::kBack;
  }
  state_ = State::kWell;
  last_failures_.fill(absl::InfinitePast());
  return Change::kBack;
}

DeviceHealth::Change DeviceHealth::Failed(absl::Time now) {
  std::rotate(last_failures_.begin(), last_failures_.begin() + 1, last_failures_.end());
  last_failures_.back() = now;
  const State state = state_.load();
  if (state == State::kOffline) return Change::kFailed;
  if (in_a_row_.load() >= kOfflineFailures) {
    state_ = State::kOffline;
    next_probe_ = now + kProbeEvery;
    return Change::kOffline;
  }
  if (state == State::kReadOnly || now - last_failures_.front() > kWithin) return Change::kFailed;
  state_ = State::kReadOnly;
  next_probe_ = now + kProbeEvery;
  return Change::kReadOnly;
}

DeviceHealth::Change DeviceHealth::Report(Use use, const absl::Status& status, absl::Time now) {
  if (status.ok()) {
    if (in_a_row_.load(std::memory_order_relaxed) > 0) in_a_row_ = 0;
    if (state_.load(std::memory_order_relaxed) == State::kWell) return Change::kNone;
    absl::MutexLock lock(&mu_);
    return Succeeded(use);
  }
  if (absl::IsDeadlineExceeded(status) || absl::IsCancelled(status) ||
      absl::IsInvalidArgument(status)) {
    return Change::kNone;
  }
  if (absl::IsResourceExhausted(status)) return Change::kFailed;
  ++in_a_row_;
  absl::MutexLock lock(&mu_);
  return Failed(now);
}

namespace {

struct Found {
  enum Kind { kBlank, kFormatting, kReady } kind = kBlank;
  Superblock superblock;
};

absl::Status Refused(const Disk& disk, ErrorId id, absl::string_view why) {
  return absl::FailedPreconditionError(Tagged(id, absl::StrCat(disk.name(), ": ", why)));
}

// A cache may be given up: how, by the command, is the last choice that is offered.
absl::Status FromLaterRelease(const Disk& disk, absl::string_view why) {
  return Refused(disk, ErrorId::kLaterFormat,
                 absl::StrCat(why,
                              ": start the later release that wrote it, or this one elsewhere "
                              "(kvgated --data-dir ANOTHER), or give up what it holds (rm ",
                              disk.name(), ")"));
}

// What a cut leaves of the very first superblock that a format writes: its copies are synced one by
// one, so that only one can be torn. (Members 24 and up are not looked for: such a disk is
// refused.)
bool IsTornFirstCopy(std::span<const std::byte> page) {
  return std::memcmp(page.data(), internal::kSuperblockMagic, 8) == 0 ||
         internal::AllZero(page.first(offsetof(DiskSuperblock, crc)));
}

// Two equal copies of the highest generation win.
absl::StatusOr<Found> ReadSuperblocks(Disk& disk) {
  std::vector<Superblock> copies;
  int blank = 0, torn = 0;
  AlignedBuffer page(kPageBytes);
  for (uint64_t offset : SuperblockOffsets(disk.bytes())) {
    if (absl::Status s = disk.ReadSync(offset, page.span()); !s.ok()) return s;
    absl::StatusOr<Superblock> copy = DecodeSuperblock(page.span());
    if (copy.ok())
      copies.push_back(*std::move(copy));
    else if (absl::IsFailedPrecondition(copy.status()))
      return FromLaterRelease(disk, copy.status().message());
    else if (internal::AllZero(page.span()))
      ++blank;
    else if (IsTornFirstCopy(page.span()))
      ++torn;
  }
  std::sort(copies.begin(), copies.end(),
            [](const auto& a, const auto& b) { return a.generation > b.generation; });
  for (size_t i = 0; i < copies.size(); ++i) {
    if (std::count(copies.begin(), copies.end(), copies[i]) < 2) continue;
    const bool ready = copies[i].state == SuperblockState::kReady;
    return Found{ready ? Found::kReady : Found::kFormatting, copies[i]};
  }
  if (blank == 4 || (blank == 3 && torn == 1)) return Found{};
  if (std::any_of(copies.begin(), copies.end(),
                  [](const auto& c) { return c.state == SuperblockState::kReady; })) {
    return Refused(disk, ErrorId::kDamagedDisk,
                   "only one intact superblock of four is left: restore the disk from a copy, "
                   "or overwrite its first MiB and last 128 KiB with zeros to start empty");
  }
  if (!copies.empty()) return Found{Found::kFormatting, copies[0]};
  return Refused(disk, ErrorId::kForeignData,
                 "holds data that is not kvgate's: choose another place, or overwrite its "
                 "first MiB and last 128 KiB with zeros to give it to kvgate");
}

// All must be members of one set, each once.
absl::Status CheckMembers(const std::vector<std::unique_ptr<Disk>>& disks,
                          const std::vector<Found>& found) {
  const Superblock& first = found[0].superblock;
  for (size_t i = 0; i < disks.size(); ++i) {
    const Superblock& sb = found[i].superblock;
    if (sb.set_uuid != first.set_uuid) {
      return Refused(
          *disks[i], ErrorId::kMixedDisks,
          absl::StrCat("belongs to set ", UuidText(sb.set_uuid), ", but ", disks[0]->name(),
                       " to set ", UuidText(first.set_uuid), ": give only directories of one set"));
    }
    for (size_t j = 0; j < i; ++j) {
      if (found[j].superblock.ordinal != sb.ordinal) continue;
      return Refused(*disks[i], ErrorId::kCopiedDisk,
                     absl::StrCat("is a copy of ", disks[j]->name(), " (both are disk ", sb.ordinal,
                                  " of set ", UuidText(sb.set_uuid), "): remove one of them"));
    }
    if (sb.members != first.members || sb.segment_bytes != first.segment_bytes ||
        sb.hash_secret != first.hash_secret || sb.count != first.count) {
      return Refused(*disks[i], ErrorId::kDamagedDisk,
                     absl::StrCat("describes its set otherwise than ", disks[0]->name(),
                                  ": empty all disks of the set"));
    }
    if (sb.device_bytes > disks[i]->bytes()) {
      return Refused(*disks[i], ErrorId::kDamagedDisk,
                     absl::StrCat("has ", disks[i]->bytes(), " bytes, formatted for ",
                                  sb.device_bytes, ": restore its size, or empty the set"));
    }
  }
  if (first.count != disks.size()) {
    return Refused(*disks[0], ErrorId::kIncompleteDisks,
                   absl::StrCat("is one of a set of ", first.count, " disks, but ", disks.size(),
                                " were given: name all of them, or empty "
                                "these to start a new set"));
  }
  return absl::OkStatus();
}

// Decides between format and open; true: format.
absl::StatusOr<bool> MustFormat(const std::vector<std::unique_ptr<Disk>>& disks,
                                const std::vector<Found>& found) {
  const Disk* blank = nullptr;
  const Disk* ready = nullptr;
  const Superblock* ready_sb = nullptr;
  for (size_t i = 0; i < disks.size(); ++i) {
    if (found[i].kind == Found::kBlank) blank = disks[i].get();
    if (found[i].kind == Found::kReady) ready = disks[i].get(), ready_sb = &found[i].superblock;
  }
  if (ready == nullptr) return true;
  for (size_t i = 0; i < disks.size(); ++i) {
    // A format cut in its last step: nothing was stored yet.
    if (found[i].kind == Found::kFormatting && found[i].superblock.set_uuid == ready_sb->set_uuid) {
      return true;
    }
  }
  if (blank != nullptr || std::any_of(found.begin(), found.end(), [](const Found& f) {
        return f.kind == Found::kFormatting;
      })) {
    return Refused(blank != nullptr ? *blank : *disks[0], ErrorId::kIncompleteDisks,
                   absl::StrCat("is empty, but ", ready->name(), " belongs to set ",
                                UuidText(ready_sb->set_uuid), " of ", ready_sb->count,
                                " disks: bring back the missing disk, or empty all of them"));
  }
  return false;
}

uint64_t DefaultSegmentBytes(const LogOptions& options, uint64_t smallest) {
  uint64_t bytes = options.segment_bytes;
  if (bytes == 0) bytes = std::clamp<uint64_t>(smallest / 128, 80 << 20, 256 << 20);
  return AlignToPage(bytes);
}

absl::Status WriteSuperblocks(Disk& disk, const Superblock& superblock) {
  AlignedBuffer page(kPageBytes);
  EncodeSuperblock(superblock, std::span<std::byte, kPageBytes>(page.data(), kPageBytes));
  for (uint64_t offset : SuperblockOffsets(superblock.device_bytes)) {
    if (absl::Status s = disk.WriteSync(offset, page.span()); !s.ok()) return s;
    if (absl::Status s = disk.SyncSync(); !s.ok()) return s;  // one copy at a time can be torn
  }
  return absl::OkStatus();
}

absl::Status WriteSegmentHeaders(Disk& disk, const Superblock& superblock, const Anchor& anchor) {
  AlignedBuffer page(kPageBytes);
  const uint64_t segments = SegmentsOn(superblock.device_bytes, superblock.segment_bytes);
  for (uint32_t i = 0; i < segments; ++i) {
    const SegmentHeader header{.device_uuid = superblock.device_uuid,
                               .segment = i,
                               .lap = 1,
                               .incarnation = 0,
                               .marks = {.anchor = anchor}};
    EncodeSegmentHeader(header, std::span<std::byte, kPageBytes>(page.data(), kPageBytes));
    const uint64_t offset = SegmentOffset(i, superblock.segment_bytes);
    if (absl::Status s = disk.WriteSync(offset, page.span()); !s.ok()) return s;
  }
  return disk.SyncSync();
}

// The copies that are not as they should be, one at a time, so that two good ones always stay.
absl::Status MendSuperblocks(Disk& disk, const Superblock& superblock, const EventSink& events) {
  AlignedBuffer page(kPageBytes), good(kPageBytes);
  EncodeSuperblock(superblock, std::span<std::byte, kPageBytes>(good.data(), kPageBytes));
  for (uint64_t offset : SuperblockOffsets(superblock.device_bytes)) {
    if (absl::Status s = disk.ReadSync(offset, page.span()); !s.ok()) return s;
    if (std::memcmp(page.data(), good.data(), kPageBytes) == 0) continue;
    absl::Status mended = disk.WriteSync(offset, good.span());
    if (mended.ok()) mended = disk.SyncSync();
    // The others are enough to start.
    Tell(events,
         {.kind = EventKind::kSuperblock,
          .level = EventLevel::kWarning,
          .text = mended.ok() ? "a copy of the superblock was damaged: written anew from the others"
                              : absl::StrCat("a copy of the superblock is damaged and could not be "
                                             "written anew: ",
                                             mended.message()),
          .details = {{"device", disk.name()}, {"offset", absl::StrCat(offset)}}});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Superblock>> PlanFormat(const LogOptions& options,
                                                   const std::vector<std::unique_ptr<Disk>>& disks,
                                                   const std::vector<Found>& found,
                                                   const Clock& clock) {
  uint64_t smallest = disks[0]->bytes(), generation = 0;
  for (const auto& disk : disks) smallest = std::min(smallest, disk->bytes());
  for (const Found& f : found) generation = std::max(generation, f.superblock.generation);
  Superblock common;
  common.generation = generation + 1;
  common.count = static_cast<uint32_t>(disks.size());
  common.segment_bytes = DefaultSegmentBytes(options, smallest);
  common.created_wall_s = clock.WallSeconds();
  FillRandom(common.set_uuid);
  FillRandom(common.hash_secret);
  common.members.resize(disks.size());
  for (Uuid& member : common.members) FillRandom(member);
  std::vector<Superblock> out;
  for (uint32_t i = 0; i < disks.size(); ++i) {
    common.ordinal = i;
    common.device_uuid = common.members[i];
    common.device_bytes = disks[i]->bytes();
    const uint64_t segments = SegmentsOn(common.device_bytes, common.segment_bytes);
    if (segments < kSegmentsADeviceMin) {
      const uint64_t least =
          kSegmentsADeviceMin * common.segment_bytes + kSegmentsStart + kDeviceTailBytes;
      return absl::InvalidArgumentError(
          Tagged(ErrorId::kDiskTooSmall,
                 absl::StrCat(disks[i]->name(), ": ", common.device_bytes, " bytes hold ", segments,
                              " segments of ", common.segment_bytes, " bytes, at least ",
                              kSegmentsADeviceMin, " are needed: give ", least, " bytes or more")));
    }
    out.push_back(common);
  }
  return out;
}

absl::StatusOr<std::vector<Superblock>> Format(const LogOptions& options,
                                               const std::vector<std::unique_ptr<Disk>>& disks,
                                               const std::vector<Found>& found,
                                               const Clock& clock) {
  absl::StatusOr<std::vector<Superblock>> plan = PlanFormat(options, disks, found, clock);
  if (!plan.ok()) return plan.status();
  const Anchor anchor = AnchorOf(clock);
  for (size_t i = 0; i < disks.size(); ++i) {
    if (absl::Status s = WriteSuperblocks(*disks[i], (*plan)[i]); !s.ok()) return s;
  }
  for (size_t i = 0; i < disks.size(); ++i) {
    if (absl::Status s = WriteSegmentHeaders(*disks[i], (*plan)[i], anchor); !s.ok()) return s;
  }
  for (size_t i = 0; i < disks.size(); ++i) {
    (*plan)[i].state = SuperblockState::kReady;
    (*plan)[i].generation += 1;
    if (absl::Status s = WriteSuperblocks(*disks[i], (*plan)[i]); !s.ok()) return s;
  }
  return plan;
}

absl::Status CheckOptions(const LogOptions& options,
                          const std::vector<std::unique_ptr<Disk>>& disks) {
  if (disks.empty() || disks.size() > kDevicesMax) {
    return absl::InvalidArgumentError(
        Tagged(ErrorId::kBadSetting,
               absl::StrCat("log: ", disks.size(), " disks, 1 to ", kDevicesMax, " are possible")));
  }
  const uint64_t segment = options.segment_bytes;
  if (segment != 0 && (segment < kSegmentBytesMin || segment > kSegmentBytesMax)) {
    return absl::InvalidArgumentError(
        Tagged(ErrorId::kBadSetting, absl::StrCat("segment_bytes is ", segment, ", must be 0 or ",
                                                  kSegmentBytesMin, " to ", kSegmentBytesMax)));
  }
  for (const auto& disk : disks) {
    if (disk->bytes() < kSegmentsStart + kDeviceTailBytes + kSegmentBytesMin) {
      return absl::InvalidArgumentError(
          Tagged(ErrorId::kDiskTooSmall,
                 absl::StrCat(disk->name(), ": ", disk->bytes(), " bytes are too few for a log")));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<MadeWith>> ReadMadeWith(Disk& disk) {
  if (disk.bytes() < kSegmentsStart + kDeviceTailBytes) return std::nullopt;
  absl::StatusOr<Found> found = ReadSuperblocks(disk);
  if (!found.ok()) return found.status();
  if (found->kind != Found::kReady) return std::nullopt;
  return MadeWith{.device_bytes = found->superblock.device_bytes,
                  .devices = found->superblock.count};
}

absl::StatusOr<DeviceSet> OpenDeviceSet(const LogOptions& options,
                                        std::vector<std::unique_ptr<Disk>> disks,
                                        const Clock& clock) {
  if (absl::Status s = CheckOptions(options, disks); !s.ok()) return s;
  std::vector<Found> found;
  for (const auto& disk : disks) {
    absl::StatusOr<Found> one = ReadSuperblocks(*disk);
    if (!one.ok()) return one.status();
    found.push_back(*std::move(one));
  }
  absl::StatusOr<bool> format = MustFormat(disks, found);
  if (!format.ok()) return format.status();
  std::vector<Superblock> superblocks;
  if (*format) {
    absl::StatusOr<std::vector<Superblock>> written = Format(options, disks, found, clock);
    if (!written.ok()) return written.status();
    superblocks = *std::move(written);
  } else {
    if (absl::Status s = CheckMembers(disks, found); !s.ok()) return s;
    for (size_t i = 0; i < disks.size(); ++i) {
      absl::Status mended = MendSuperblocks(*disks[i], found[i].superblock, options.events);
      if (!mended.ok()) return mended;
      superblocks.push_back(found[i].superblock);
    }
  }
  DeviceSet set{.set_uuid = superblocks[0].set_uuid,
                .segment_bytes = superblocks[0].segment_bytes,
                .hash_secret = superblocks[0].hash_secret,
                .formatted = *format};
  set.devices.resize(disks.size());
  for (size_t i = 0; i < disks.size(); ++i) {
    const Superblock& sb = superblocks[i];
    auto device = std::make_unique<LogDevice>();
    device->disk = std::move(disks[i]);
    device->uuid = sb.device_uuid;
    device->ordinal = sb.ordinal;
    device->segment_bytes = sb.segment_bytes;
    device->made_with_bytes = sb.device_bytes;
    device->segments = static_cast<uint32_t>(SegmentsOn(sb.device_bytes, sb.segment_bytes));
    set.devices[sb.ordinal] = std::move(device);
  }
  return set;
}

}  // namespace kvgate::storage
