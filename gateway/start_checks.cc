// SPDX-License-Identifier: Apache-2.0
#include "gateway/start_checks.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gateway/config.h"
#include "proto/wire/error_id.h"

namespace kvgate::gateway {
namespace {

namespace fs = std::filesystem;
using wire::ErrorId;
using wire::Tagged;

constexpr mode_t kDirectoryMode = 0750;
constexpr const char* kDataFile = "kvgate.data";
// What may stand in a data directory; names that start with "kvgate." are ours too.
constexpr const char* kOwnNames[] = {"LOCK", "checkpoint", "run", "lost+found"};

absl::Status Errno(const std::string& path, const char* what) {
  const absl::Status status = absl::ErrnoToStatus(errno, absl::StrCat(path, ": ", what));
  return absl::Status(status.code(), Tagged(ErrorId::kStartFailed, std::string(status.message())));
}

absl::Status MakeDirectories(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return absl::OkStatus();
  if (fs::exists(path, error)) {
    return absl::FailedPreconditionError(Tagged(
        ErrorId::kDirectoryUnusable, absl::StrCat(path, ": is not a directory; name another one")));
  }
  fs::path made;
  for (const fs::path& part : fs::path(path)) {
    made /= part;
    if (fs::is_directory(made, error)) continue;
    if (!fs::create_directory(made, error) && error) {
      return absl::FailedPreconditionError(Tagged(
          ErrorId::kDirectoryUnusable,
          absl::StrCat(path, ": cannot be made: ", error.message(), "; make it, or name another")));
    }
    if (chmod(made.c_str(), kDirectoryMode) != 0) return Errno(made.string(), "chmod");
  }
  return absl::OkStatus();
}

absl::Status CheckOwner(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return Errno(path, "stat");
  if (info.st_uid == geteuid()) return absl::OkStatus();
  return absl::PermissionDeniedError(
      Tagged(ErrorId::kDirectoryOfAnotherUser,
             absl::StrCat(path, ": belongs to uid ", info.st_uid, ", this daemon runs as uid ",
                          geteuid(), "; run it as the owner, or chown the directory")));
}

// Bytes that the file system already gave to our data file there.
uint64_t BytesHeld(const std::string& directory) {
  struct stat info;
  const std::string path = absl::StrCat(directory, "/", kDataFile);
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_blocks) * 512 : 0;
}

}  // namespace

absl::Status PrepareDataDirectory(const std::string& path) {
  if (absl::Status s = MakeDirectories(path); !s.ok()) return s;
  if (absl::Status s = CheckOwner(path); !s.ok()) return s;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(path, error)) {
    const std::string name = entry.path().filename().string();
    const bool own =
        absl::StartsWith(name, "kvgate.") ||
        std::find(std::begin(kOwnNames), std::end(kOwnNames), name) != std::end(kOwnNames);
    if (!own) {
      return absl::FailedPreconditionError(
          Tagged(ErrorId::kForeignData,
                 absl::StrCat(path, ": holds \"", name,
                              "\", which kvgate did not make; name an empty directory")));
    }
  }
  if (error) {
    return absl::PermissionDeniedError(Tagged(
        ErrorId::kDirectoryUnusable, absl::StrCat(path, ": cannot be read: ", error.message())));
  }
  return absl::OkStatus();
}

absl::Status CheckSpace(const std::vector<std::string>& data_dirs, uint64_t disk_bytes) {
  struct Need {
    std::string directory;
    uint64_t wanted = 0, held = 0, free = 0;
  };
  std::map<dev_t, Need> by_file_system;  // two directories of one file system share its space
  for (const std::string& directory : data_dirs) {
    struct stat info;
    struct statvfs space;
    if (stat(directory.c_str(), &info) != 0) return Errno(directory, "stat");
    if (statvfs(directory.c_str(), &space) != 0) return Errno(directory, "statvfs");
    Need& need = by_file_system[info.st_dev];
    need.directory = directory;
    need.wanted += disk_bytes / data_dirs.size();
    need.held += BytesHeld(directory);
    need.free = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  }
  for (const auto& [device, need] : by_file_system) {
    if (need.wanted <= need.held + need.free) continue;
    return absl::ResourceExhaustedError(
        Tagged(ErrorId::kNoSpace,
               absl::StrCat(need.directory, ": no space: ", need.wanted,
                            " bytes are wanted there (--disk), ", need.free, " are free and ",
                            need.held, " held; lower --disk or free some")));
  }
  return absl::OkStatus();
}

absl::Status PrepareRunDirectory(const std::string& path) {
  if (absl::Status s = MakeDirectories(path); !s.ok()) return s;
  return CheckOwner(path);
}

absl::Status ClaimSocketPath(const std::string& path) {
  sockaddr_un address{};
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(Tagged(
        ErrorId::kBadSocketPath,
        absl::StrCat("socket path ", path, ": ", path.size(), " bytes, at most ",
                     sizeof(address.sun_path) - 1, " are allowed; choose a shorter --run-dir")));
  }
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? absl::OkStatus() : Errno(path, "stat");
  }
  if (!S_ISSOCK(info.st_mode)) {
    return absl::AlreadyExistsError(Tagged(
        ErrorId::kBadSocketPath,
        absl::StrCat(path, ": exists and is no socket; remove it or choose another --run-dir")));
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return Errno(path, "socket");
  const bool refused =
      connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 &&
      errno == ECONNREFUSED;
  close(probe);
  if (!refused) {
    return absl::AlreadyExistsError(Tagged(
        ErrorId::kInUse,
        absl::StrCat(path, ": in use by a running daemon; stop it or choose another --run-dir")));
  }
  return unlink(path.c_str()) == 0 ? absl::OkStatus() : Errno(path, "unlink");
}

}  // namespace kvgate::gateway
