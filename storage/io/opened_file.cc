// SPDX-License-Identifier: Apache-2.0
#include "storage/io/opened_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/wire/error_id.h"
#include "storage/base/aligned_buffer.h"

namespace kvgate::storage {
namespace {

using wire::ErrorId;
using wire::Tagged;

// tmpfs takes the flag since 6.5 and copies through memory all the same.
bool IsMemoryFileSystem(int fd) {
  struct statfs info {};
  return fstatfs(fd, &info) == 0 && (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC);
}

// A killed process lets go of its files only when its ring is dead, that is when its last write has
// ended: what makes us wait here is what keeps such a write from landing under us.
constexpr absl::Duration kPredecessorLimit = absl::Milliseconds(800);
constexpr absl::Duration kPredecessorStep = absl::Milliseconds(2);

// Tries `attempt` (a result < 0 with errno) until it no longer fails with `busy`.
template <typename Attempt>
int WaitForPredecessor(int busy, Attempt attempt) {
  for (absl::Duration waited; true; waited += kPredecessorStep) {
    const int result = attempt();
    if (result >= 0 || errno != busy || waited >= kPredecessorLimit) return result;
    absl::SleepFor(kPredecessorStep);
  }
}

absl::StatusOr<UniqueFd> OpenForUse(const std::string& path, int flags) {
  UniqueFd fd(WaitForPredecessor(EBUSY, [&] { return open(path.c_str(), flags, 0600); }));
  if (fd) return fd;
  if (errno == EBUSY) {
    return absl::FailedPreconditionError(Tagged(
        ErrorId::kInUse, absl::StrCat(path, " is in use (mounted, or another process has it)")));
  }
  return StatusFromErrno(errno, absl::StrCat("cannot open ", path));
}

absl::Status LockWhole(const UniqueFd& fd, const std::string& path) {
  const auto lock = [&] { return flock(fd.get(), LOCK_EX | LOCK_NB); };
  if (WaitForPredecessor(EWOULDBLOCK, lock) == 0) return absl::OkStatus();
  if (errno == EWOULDBLOCK) {
    return absl::FailedPreconditionError(
        Tagged(ErrorId::kInUse, absl::StrCat(path, " is in use by another kvgate")));
  }
  return StatusFromErrno(errno, absl::StrCat("cannot lock ", path));
}

absl::Status CheckDeviceSize(const UniqueFd& fd, const std::string& path, uint64_t bytes) {
  uint64_t device_bytes = 0;
  if (ioctl(fd.get(), BLKGETSIZE64, &device_bytes) != 0) {
    return StatusFromErrno(errno, absl::StrCat("cannot ask for the size of ", path));
  }
  if (device_bytes >= bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      Tagged(ErrorId::kNoSpace,
             absl::StrCat(path, " has ", device_bytes, " bytes, ", bytes, " are needed")));
}

constexpr uint64_t kBtrfs = 0x9123683e, kZfs = 0x2fc12fc1, kBcachefs = 0xca451a4e;

// Asks btrfs for NOCOW, which it grants to empty files only, and judges what came of it.
absl::Status AvoidCopyOnWrite(const UniqueFd& fd, const std::string& path) {
  struct statfs info {};
  if (fstatfs(fd.get(), &info) != 0) {
    return StatusFromErrno(errno, absl::StrCat("cannot ask for the file system of ", path));
  }
  const auto type = static_cast<uint32_t>(info.f_type);
  int flags = 0;
  if (type == kBtrfs && ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) == 0) {
    int wanted = flags | FS_NOCOW_FL;
    if (ioctl(fd.get(), FS_IOC_SETFLAGS, &wanted) == 0) flags = wanted;
  }
  return CheckCopyOnWrite(path, type, static_cast<uint32_t>(flags));
}

// Sparse: space is only checked here, and taken by the writes.
absl::Status GrowFile(const UniqueFd& fd, const std::string& path, uint64_t bytes) {
  struct stat info {};
  if (fstat(fd.get(), &info) != 0)
    return StatusFromErrno(errno, absl::StrCat("cannot stat ", path));
  if (static_cast<uint64_t>(info.st_size) >= bytes) return absl::OkStatus();
  const uint64_t held = static_cast<uint64_t>(info.st_blocks) * 512;
  absl::StatusOr<Space> space = SpaceOf(path);
  if (!space.ok()) return space.status();
  if (held < bytes && bytes - held > space->free_bytes) {
    return absl::ResourceExhaustedError(Tagged(
        ErrorId::kNoSpace, absl::StrCat(path, " needs ", bytes - held,
                                        " bytes more, the file system has ", space->free_bytes)));
  }
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return StatusFromErrno(errno, absl::StrCat("cannot grow ", path, " to ", bytes, " bytes"));
  }
  if (fsync(fd.get()) != 0) return StatusFromErrno(errno, absl::StrCat("cannot fsync ", path));
  const size_t slash = path.find_last_of('/');
  return SyncDirectory(slash == std::string::npos ? "." : path.substr(0, slash + 1));
}

// Some file systems take the flag at open and refuse the first transfer.
bool DirectReadWorks(const UniqueFd& fd) {
  AlignedBuffer page(kDiskAlign);
  return pread(fd.get(), page.data(), page.size(), 0) >= 0 || errno != EINVAL;
}

void TryDirect(OpenedFile* file) {
  file->mode = "buffered";
  if (IsMemoryFileSystem(file->fd.get())) {
    file->note = "buffered: a memory file system has no O_DIRECT";
    return;
  }
  const int flags = fcntl(file->fd.get(), F_GETFL);
  if (fcntl(file->fd.get(), F_SETFL, flags | O_DIRECT) == 0) {
    if (DirectReadWorks(file->fd)) {
      file->mode = "direct";
      return;
    }
    fcntl(file->fd.get(), F_SETFL, flags);
  }
  file->note = "buffered: the file system has no O_DIRECT";
}

}  // namespace

absl::Status CheckCopyOnWrite(const std::string& path, uint64_t file_system_type,
                              uint32_t file_flags) {
  const bool btrfs = file_system_type == kBtrfs;
  if (btrfs && (file_flags & FS_NOCOW_FL) != 0) return absl::OkStatus();
  if (!btrfs && file_system_type != kZfs && file_system_type != kBcachefs) return absl::OkStatus();
  return absl::FailedPreconditionError(Tagged(
      ErrorId::kCopyOnWrite, absl::StrCat(path, " lies on a copy-on-write file system; ",
                                          btrfs ? "remove it and set `chattr +C` on its directory"
                                                : "use ext4, xfs or a raw device")));
}

void GiveUpLock(const UniqueFd& fd) { flock(fd.get(), LOCK_UN); }

absl::StatusOr<OpenedFile> OpenFileForDisk(const std::string& path, uint64_t bytes, bool direct) {
  if (bytes == 0 || bytes % kDiskAlign != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", bytes, " bytes is not a multiple of ", kDiskAlign));
  }
  struct stat info {};
  const bool exists = stat(path.c_str(), &info) == 0;
  const bool device = exists && S_ISBLK(info.st_mode);
  if (exists && !device && !S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(
        Tagged(ErrorId::kForeignData, absl::StrCat(path, " is neither a file nor a block device")));
  }
  // O_EXCL without O_CREAT claims a block device; on files the lock does that.
  absl::StatusOr<UniqueFd> fd =
      OpenForUse(path, O_RDWR | O_CLOEXEC | (device ? O_EXCL : O_CREAT | O_NOFOLLOW));
  if (!fd.ok()) return fd.status();
  OpenedFile file{*std::move(fd), path, bytes, "buffered", ""};
  if (absl::Status locked = LockWhole(file.fd, path); !locked.ok()) return locked;
  if (!device) {
    if (absl::Status in_place = AvoidCopyOnWrite(file.fd, path); !in_place.ok()) return in_place;
  }
  const absl::Status sized =
      device ? CheckDeviceSize(file.fd, path, bytes) : GrowFile(file.fd, path, bytes);
  if (!sized.ok()) return sized;
  if (direct) TryDirect(&file);
  return file;
}

}  // namespace kvgate::storage
