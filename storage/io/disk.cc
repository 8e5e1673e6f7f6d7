// SPDX-License-Identifier: Apache-2.0
#include "storage/io/disk.h"

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"

namespace kvgate::storage {
namespace {

absl::Status CheckRange(const Disk& disk, uint64_t offset, const std::byte* data, uint64_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  if (bytes == 0 || offset % kDiskAlign != 0 || bytes % kDiskAlign != 0 ||
      address % kDiskAlign != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(disk.name(), ": offset ", offset, ", length ", bytes, " and address 0x",
                     absl::Hex(address), " must be multiples of ", kDiskAlign, ", length > 0"));
  }
  if (offset > disk.bytes() || bytes > disk.bytes() - offset) {
    return absl::OutOfRangeError(absl::StrCat(disk.name(), ": offset ", offset, " + length ", bytes,
                                              " is past the end at ", disk.bytes()));
  }
  return absl::OkStatus();
}

// Runs an asynchronous call and waits for its end.
template <typename Start>
absl::Status Wait(Start start) {
  absl::Status result;
  absl::Notification ended;
  start([&](absl::Status status) {
    result = std::move(status);
    ended.Notify();
  });
  ended.WaitForNotification();
  return result;
}

}  // namespace

void Disk::Read(uint64_t offset, std::span<std::byte> buffer, IoClass io_class, absl::Time deadline,
                IoDone done) {
  absl::Status checked = CheckRange(*this, offset, buffer.data(), buffer.size());
  if (!checked.ok()) return FailImpl(std::move(checked), std::move(done));
  ReadImpl(offset, buffer, io_class, deadline, std::move(done));
}

void Disk::Write(uint64_t offset, std::span<const std::byte> buffer, IoClass io_class,
                 IoDone done) {
  absl::Status checked = CheckRange(*this, offset, buffer.data(), buffer.size());
  if (!checked.ok()) return FailImpl(std::move(checked), std::move(done));
  WriteImpl(offset, buffer, io_class, std::move(done));
}

void Disk::Sync(IoDone done) { SyncImpl(std::move(done)); }

absl::Status Disk::ReadSync(uint64_t offset, std::span<std::byte> buffer) {
  return Wait([&](IoDone done) {
    Read(offset, buffer, IoClass::kRead, absl::InfiniteFuture(), std::move(done));
  });
}

absl::Status Disk::WriteSync(uint64_t offset, std::span<const std::byte> buffer) {
  return Wait([&](IoDone done) { Write(offset, buffer, IoClass::kFlush, std::move(done)); });
}

absl::Status Disk::SyncSync() {
  return Wait([&](IoDone done) { Sync(std::move(done)); });
}

}  // namespace kvgate::storage
