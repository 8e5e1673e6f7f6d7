// SPDX-License-Identifier: Apache-2.0
//
// The few file-system and memfd primitives that the store needs besides Disk. storage/io is the
// only room that opens files, so they live here.
//
// All functions are thread-safe and blocking. Errors: StatusFromErrno's codes; texts name the path.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace kvgate::storage {

// The one mapping of errno to canonical codes: ENOSPC, EDQUOT, ENOMEM, EMFILE RESOURCE_EXHAUSTED;
// EACCES, EPERM, EROFS PERMISSION_DENIED; ENOENT NOT_FOUND; EEXIST ALREADY_EXISTS; EBUSY, ENOTDIR,
// EISDIR, ETXTBSY FAILED_PRECONDITION; EINVAL, ENAMETOOLONG INVALID_ARGUMENT; EIO and other device
// errors UNAVAILABLE. "TEXT: strerror (errno N)".
absl::Status StatusFromErrno(int error, std::string_view text);

// Owns a file descriptor. Move-only.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~UniqueFd();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// mkdir -p with mode 0700 for what is made; each new entry is fsynced into its parent.
absl::Status MakeDirectory(const std::string& path);
absl::Status SyncDirectory(const std::string& path);
bool PathExists(const std::string& path);
// Of a regular file; 0: it is none, or not there.
uint64_t FileBytes(const std::string& path);
// Names in a directory, sorted, without "." and "..".
absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path);
// Removes a file or an empty directory; a path that does not exist is fine.
absl::Status RemovePath(const std::string& path);

// A whole file of at most `bytes_max` bytes (more: RESOURCE_EXHAUSTED).
absl::StatusOr<std::string> ReadSmallFile(const std::string& path, size_t bytes_max);
// The kernel's name of this boot of the machine. DATA_LOSS when it is not a uuid.
absl::StatusOr<std::array<uint8_t, 16>> ReadBootId();
// After OK the file is `contents` even after a power cut; after a failure or a crash it is the old
// one. Writes PATH.tmp, fsync, rename, fsync of the directory.
absl::Status WriteFileAtomically(const std::string& path, std::string_view contents);

struct Space {
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;  // for an unprivileged user
};
absl::StatusOr<Space> SpaceOf(const std::string& path);

// An exclusive flock on a file that it makes; held for as long as it lives. Move-only.
class LockFile {
 public:
  // FAILED_PRECONDITION names the file when another process (or this one) holds it.
  static absl::StatusOr<LockFile> Acquire(const std::string& path);

 private:
  explicit LockFile(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// Memory that clients may map read-only and nobody else can write, shrink or grow: a memfd sealed
// SHRINK|GROW|FUTURE_WRITE|SEAL after our own read-write mapping was made. The mapping is untouched
// (no page is allocated before it is written). Move-only; unmaps and closes.
class SealedMemfd {
 public:
  // `bytes` > 0, rounded up to whole pages.
  static absl::StatusOr<SealedMemfd> Create(const std::string& name, size_t bytes);

  SealedMemfd(SealedMemfd&& other) noexcept
      : fd_(std::move(other.fd_)), memory_(std::exchange(other.memory_, {})) {}
  SealedMemfd& operator=(SealedMemfd&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(memory_, other.memory_);
    return *this;
  }
  ~SealedMemfd();

  int fd() const { return fd_.get(); }
  std::span<std::byte> memory() const { return memory_; }

 private:
  SealedMemfd(UniqueFd fd, std::span<std::byte> memory) : fd_(std::move(fd)), memory_(memory) {}
  UniqueFd fd_;
  std::span<std::byte> memory_;
};

inline absl::StatusOr<SealedMemfd> CreateSealedMemfd(const std::string& name, size_t bytes) {
  return SealedMemfd::Create(name, bytes);
}

}  // namespace kvgate::storage
