// SPDX-License-Identifier: Apache-2.0
#include "storage/io/file_util.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "proto/wire/error_id.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace kvgate::storage {
namespace {

absl::StatusCode CodeOfErrno(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return absl::StatusCode::kResourceExhausted;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case ENOENT:
      return absl::StatusCode::kNotFound;
    case EEXIST:
      return absl::StatusCode::kAlreadyExists;
    case EBUSY:
    case ENOTDIR:
    case EISDIR:
    case ENOTEMPTY:
    case ETXTBSY:
      return absl::StatusCode::kFailedPrecondition;
    case EINVAL:
    case ENAMETOOLONG:
      return absl::StatusCode::kInvalidArgument;
    case EIO:
    case ENODEV:
    case ENXIO:
    case ETIMEDOUT:
    case EREMOTEIO:
    case EAGAIN:
      return absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kInternal;
  }
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Length of the call's result or -1 with errno; EINTR is tried again.
template <typename Call>
auto Retry(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

absl::Status WriteAll(int fd, std::string_view contents, const std::string& path) {
  while (!contents.empty()) {
    const ssize_t n = Retry([&] { return write(fd, contents.data(), contents.size()); });
    if (n < 0) return StatusFromErrno(errno, absl::StrCat("cannot write ", path));
    contents.remove_prefix(static_cast<size_t>(n));
  }
  if (Retry([&] { return fsync(fd); }) < 0) {
    return StatusFromErrno(errno, absl::StrCat("cannot fsync ", path));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status StatusFromErrno(int error, std::string_view text) {
  return absl::Status(CodeOfErrno(error), absl::StrCat(std::string(text), ": ", strerror(error),
                                                       " (errno ", error, ")"));
}

UniqueFd::~UniqueFd() {
  if (fd_ >= 0) close(fd_);
}

absl::Status MakeDirectory(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return absl::OkStatus();
    return absl::FailedPreconditionError(
        wire::Tagged(wire::ErrorId::kDirectoryUnusable, absl::StrCat(path, " is not a directory")));
  }
  if (errno != ENOENT) return StatusFromErrno(errno, absl::StrCat("cannot use ", path));
  const std::string parent = ParentOf(path);
  if (parent != path) {
    if (absl::Status made = MakeDirectory(parent); !made.ok()) return made;
  }
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return StatusFromErrno(errno, absl::StrCat("cannot make the directory ", path));
  }
  return SyncDirectory(parent);
}

absl::Status SyncDirectory(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return StatusFromErrno(errno, absl::StrCat("cannot open the directory ", path));
  // Some file systems cannot sync a directory and say EINVAL: they order entries themselves.
  if (Retry([&] { return fsync(fd.get()); }) < 0 && errno != EINVAL) {
    return StatusFromErrno(errno, absl::StrCat("cannot fsync the directory ", path));
  }
  return absl::OkStatus();
}

uint64_t FileBytes(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return 0;
  return static_cast<uint64_t>(info.st_size);
}

bool PathExists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(path.c_str()), closedir);
  if (dir == nullptr) return StatusFromErrno(errno, absl::StrCat("cannot list ", path));
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
    errno = 0;
  }
  if (errno != 0) return StatusFromErrno(errno, absl::StrCat("cannot list ", path));
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status RemovePath(const std::string& path) {
  if (remove(path.c_str()) != 0 && errno != ENOENT) {
    return StatusFromErrno(errno, absl::StrCat("cannot remove ", path));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path, size_t bytes_max) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return StatusFromErrno(errno, absl::StrCat("cannot open ", path));
  std::string contents;
  char piece[4096];
  while (true) {
    const ssize_t n = Retry([&] { return read(fd.get(), piece, sizeof(piece)); });
    if (n < 0) return StatusFromErrno(errno, absl::StrCat("cannot read ", path));
    if (n == 0) return contents;
    contents.append(piece, static_cast<size_t>(n));
    if (contents.size() > bytes_max) {
      return absl::ResourceExhaustedError(
          absl::StrCat(path, " is over the limit of ", bytes_max, " bytes"));
    }
  }
}

absl::StatusOr<std::array<uint8_t, 16>> ReadBootId() {
  const std::string path = "/proc/sys/kernel/random/boot_id";
  absl::StatusOr<std::string> text = ReadSmallFile(path, 64);
  if (!text.ok()) return text.status();
  std::array<uint8_t, 16> id{};
  size_t digits = 0;
  for (const char c : *text) {
    if (c == '-' || c == '\n') continue;
    const char* const hex = "0123456789abcdef";
    const char* const found = c == '\0' ? nullptr : strchr(hex, c);
    if (found == nullptr || digits == 2 * id.size()) {
      return absl::DataLossError(absl::StrCat(path, " holds no uuid"));
    }
    id[digits / 2] = static_cast<uint8_t>(id[digits / 2] << 4 | (found - hex));
    ++digits;
  }
  if (digits != 2 * id.size()) return absl::DataLossError(absl::StrCat(path, " holds no uuid"));
  return id;
}

absl::Status WriteFileAtomically(const std::string& path, std::string_view contents) {
  const std::string temporary = path + ".tmp";
  {
    const UniqueFd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd) return StatusFromErrno(errno, absl::StrCat("cannot make ", temporary));
    if (absl::Status written = WriteAll(fd.get(), contents, temporary); !written.ok()) {
      unlink(temporary.c_str());
      return written;
    }
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    const absl::Status failed = StatusFromErrno(errno, absl::StrCat("cannot rename to ", path));
    unlink(temporary.c_str());
    return failed;
  }
  return SyncDirectory(ParentOf(path));
}

absl::StatusOr<Space> SpaceOf(const std::string& path) {
  struct statvfs info {};
  if (statvfs(path.c_str(), &info) != 0) {
    return StatusFromErrno(errno, absl::StrCat("cannot ask for the space of ", path));
  }
  return Space{static_cast<uint64_t>(info.f_blocks) * info.f_frsize,
               static_cast<uint64_t>(info.f_bavail) * info.f_frsize};
}

absl::StatusOr<LockFile> LockFile::Acquire(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return StatusFromErrno(errno, absl::StrCat("cannot make the lock file ", path));
  if (Retry([&] { return flock(fd.get(), LOCK_EX | LOCK_NB); }) != 0) {
    if (errno == EWOULDBLOCK) {
      return absl::FailedPreconditionError(
          wire::Tagged(wire::ErrorId::kInUse, absl::StrCat(path, " is locked by another process")));
    }
    return StatusFromErrno(errno, absl::StrCat("cannot lock ", path));
  }
  return LockFile(std::move(fd));
}

absl::StatusOr<SealedMemfd> SealedMemfd::Create(const std::string& name, size_t bytes) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (bytes == 0 || bytes > SIZE_MAX - page) {
    return absl::InvalidArgumentError(absl::StrCat("memfd ", name, " of ", bytes, " bytes"));
  }
  bytes = (bytes + page - 1) / page * page;
  const std::string what = absl::StrCat("memfd ", name, " of ", bytes, " bytes");
  UniqueFd fd(memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return StatusFromErrno(errno, absl::StrCat("cannot make a ", what));
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return StatusFromErrno(errno, absl::StrCat("cannot size a ", what));
  }
  void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (address == MAP_FAILED) return StatusFromErrno(errno, absl::StrCat("cannot map a ", what));
  SealedMemfd memfd(std::move(fd), {static_cast<std::byte*>(address), bytes});
  // The order matters: F_SEAL_FUTURE_WRITE spares mappings that exist, F_SEAL_SEAL ends it.
  for (const int seal : {F_SEAL_SHRINK | F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL}) {
    if (fcntl(memfd.fd(), F_ADD_SEALS, seal) != 0) {
      return StatusFromErrno(errno, absl::StrCat("cannot seal a ", what));
    }
  }
  return memfd;
}

SealedMemfd::~SealedMemfd() {
  if (!memory_.empty()) munmap(memory_.data(), memory_.size());
}

}  // namespace kvgate::storage
