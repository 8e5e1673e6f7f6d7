// SPDX-License-Identifier: Apache-2.0
#include "gateway/start_checks.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string_view>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gateway/core/tokens.h"
#include "gateway/host_limits.h"
#include "gateway/memory_parts.h"
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

absl::Status Unusable(const std::string& where, const std::string& why) {
  return absl::FailedPreconditionError(
      Tagged(ErrorId::kDirectoryUnusable, absl::StrCat(where, ": ", why)));
}

absl::Status MakeDirectories(const std::string& path) {
  std::error_code error;
  fs::path made;
  for (const fs::path& part : fs::path(path)) {
    made /= part;
    if (fs::is_directory(made, error)) continue;
    if (!fs::create_directory(made, error) && error) {
      return Unusable(
          path, absl::StrCat("cannot be made: ", error.message(), "; make it, or name another"));
    }
    if (chmod(made.c_str(), kDirectoryMode) != 0) return Errno(made.string(), "chmod");
  }
  return absl::OkStatus();
}

// The directory, or the nearest one above it that is there.
fs::path NearestThere(const std::string& path) {
  std::error_code error;
  fs::path there = fs::absolute(path, error);
  while (!fs::exists(there, error) && there != there.parent_path()) there = there.parent_path();
  return there;
}

// There and ours to use, or possible to make.
absl::Status CheckDirectory(const std::string& where, const std::string& path) {
  if (path.empty()) return Unusable(where, "an empty name; name a directory");
  std::error_code error;
  const fs::path there = NearestThere(path);
  const bool exists = fs::exists(path, error);
  if (!fs::is_directory(there, error)) {
    const std::string which = exists ? path : absl::StrCat(path, ": ", there.string());
    return Unusable(where, which + ": is not a directory; name another one");
  }
  if (!exists) {
    if (faccessat(AT_FDCWD, there.c_str(), W_OK | X_OK, AT_EACCESS) == 0) return absl::OkStatus();
    return Unusable(where, absl::StrCat(path, ": cannot be made in ", there.string(), ": ",
                                        std::strerror(errno), "; make it, or name another"));
  }
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return Errno(path, "stat");
  if (info.st_uid != geteuid()) {
    return absl::PermissionDeniedError(
        Tagged(ErrorId::kDirectoryOfAnotherUser,
               absl::StrCat(where, ": ", path, ": belongs to uid ", info.st_uid,
                            ", this daemon runs as uid ", geteuid(),
                            "; run it as the owner, or chown the directory")));
  }
  if (faccessat(AT_FDCWD, path.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) == 0) {
    return absl::OkStatus();
  }
  return Unusable(where, absl::StrCat(path, ": cannot be read and written: ", std::strerror(errno),
                                      "; chmod it, or name another"));
}

// Bytes that the file system already gave to our data file there.
uint64_t BytesHeld(const std::string& directory) {
  struct stat info;
  const std::string path = absl::StrCat(directory, "/", kDataFile);
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_blocks) * 512 : 0;
}

absl::Status CheckContents(const std::string& where, const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return absl::OkStatus();
  for (const fs::directory_entry& entry : fs::directory_iterator(path, error)) {
    const std::string name = entry.path().filename().string();
    const bool own =
        absl::StartsWith(name, "kvgate.") ||
        std::find(std::begin(kOwnNames), std::end(kOwnNames), name) != std::end(kOwnNames);
    if (!own) {
      return absl::FailedPreconditionError(
          Tagged(ErrorId::kForeignData,
                 absl::StrCat(where, ": ", path, ": holds \"", name,
                              "\", which kvgate did not make; name an empty directory")));
    }
  }
  if (error) return Unusable(where, absl::StrCat(path, ": cannot be read: ", error.message()));
  return absl::OkStatus();
}

// By what it is, not by how it is written: a link to a directory is that directory.
absl::Status CheckNoneTwice(const Config& config) {
  std::map<std::string, std::string> seen;
  for (const std::string& directory : config.data_dirs) {
    std::error_code error;
    fs::path path = fs::weakly_canonical(fs::absolute(directory, error), error);
    if (!path.has_filename()) path = path.parent_path();
    const auto [at, fresh] = seen.try_emplace(path.string(), directory);
    if (fresh) continue;
    return absl::InvalidArgumentError(
        Tagged(ErrorId::kBadSetting,
               absl::StrCat(config.SourceOf("data-dir"), ": ", directory, " is given twice",
                            at->second == directory ? "" : ", also as " + at->second,
                            "; name each directory once")));
  }
  return absl::OkStatus();
}

// Of a data file that is not there yet; what a formatted one was made with is its own matter.
absl::Status CheckSegments(const Config& config, uint64_t share) {
  constexpr uint64_t kSegmentsMin = 4, kBeside = (1 << 20) + (128 << 10);  // storage/log/format.h
  uint64_t segment = config.segment_bytes;
  if (segment == 0) segment = std::clamp<uint64_t>(share / 128, 80 << 20, 256 << 20);
  const uint64_t least = kSegmentsMin * segment + kBeside;
  if (share >= least) return absl::OkStatus();
  return absl::InvalidArgumentError(
      Tagged(ErrorId::kDiskTooSmall,
             absl::StrCat(config.SourceOf("disk"), ": ", FormatBytes(share),
                          " for each directory hold fewer than ", kSegmentsMin, " segments of ",
                          FormatBytes(segment), "; give ", least * config.data_dirs.size(),
                          " bytes or more, or a smaller --segment-bytes")));
}

// Bytes of the data file there; 0: it is none of a format, and the store says what it is.
uint64_t MadeWith(const std::string& directory) {
  constexpr std::string_view kMagic = "KVGATESB";  // storage/log/format.h
  const std::string path = absl::StrCat(directory, "/", kDataFile);
  struct stat info;
  if (stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return 0;
  char begin[kMagic.size()] = {};
  std::ifstream(path, std::ios::binary).read(begin, sizeof(begin));
  const bool ours = std::string_view(begin, sizeof(begin)) == kMagic;
  return ours ? static_cast<uint64_t>(info.st_size) : 0;
}

absl::Status CheckDataFile(const Config& config, const std::string& directory, uint64_t share,
                           StartFindings* findings) {
  const std::string path = absl::StrCat(directory, "/", kDataFile);
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) return CheckSegments(config, share);
  const bool link = S_ISLNK(info.st_mode);
  if (link && stat(path.c_str(), &info) != 0) return Errno(path, "stat");
  if (!S_ISBLK(info.st_mode) && (link || !S_ISREG(info.st_mode))) {
    return absl::FailedPreconditionError(
        Tagged(ErrorId::kForeignData, path + " is neither a file nor a block device"));
  }
  if (faccessat(AT_FDCWD, path.c_str(), R_OK | W_OK, AT_EACCESS) != 0) {
    return Unusable(config.SourceOf("data-dir"),
                    absl::StrCat(path, ": cannot be opened: ", std::strerror(errno),
                                 "; chown it to the daemon's account"));
  }
  const uint64_t made_with = MadeWith(directory);
  if (made_with == 0) return CheckSegments(config, share);
  // In sizes of all directories, as `disk` gives them.
  const uint64_t count = config.data_dirs.size();
  if (made_with <= share) {
    if (made_with < share) {
      findings->notes.push_back(
          absl::StrCat(config.SourceOf("disk"), ": ", directory, " was made with ",
                       FormatBytes(made_with * count), "; what ", FormatBytes(share * count),
                       " has beyond it is not used until it is formatted anew"));
    }
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(Tagged(
      ErrorId::kDiskBelowMade,
      absl::StrCat(config.SourceOf("disk"), ": ", FormatBytes(share * count),
                   " is too small: ", directory, " was made with ", FormatBytes(made_with * count),
                   ": leave --disk out, or give an empty directory")));
}

// Whether what is asked for, spread over the directories, fits beside what is there already.
absl::Status CheckSpace(const Config& config, uint64_t share) {
  struct Need {
    std::string directory;
    uint64_t wanted = 0, held = 0, free = 0;
  };
  std::map<dev_t, Need> by_file_system;  // two directories of one file system share its space
  for (const std::string& directory : config.data_dirs) {
    const std::string there = NearestThere(directory).string();
    struct stat info;
    struct statvfs space;
    if (stat(there.c_str(), &info) != 0) return Errno(there, "stat");
    if (statvfs(there.c_str(), &space) != 0) return Errno(there, "statvfs");
    Need& need = by_file_system[info.st_dev];
    need.directory = directory;
    const uint64_t made_with = MadeWith(directory);
    need.wanted += made_with != 0 ? std::min(made_with, share) : share;
    need.held += BytesHeld(directory);
    need.free = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  }
  for (const auto& [device, need] : by_file_system) {
    if (need.wanted <= need.held + need.free) continue;
    return absl::ResourceExhaustedError(Tagged(
        ErrorId::kNoSpace,
        absl::StrCat(config.SourceOf("disk"), ": ", need.directory, ": no space: ", need.wanted,
                     " bytes are wanted there (--disk), ", need.free, " are free and ", need.held,
                     " held; lower --disk or free some")));
  }
  return absl::OkStatus();
}

// Too long a path, a file that is no socket, one of a living daemon (AlreadyExists, kInUse).
absl::Status CheckSocketPath(const std::string& where, const std::string& path) {
  sockaddr_un address{};
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(Tagged(
        ErrorId::kBadSocketPath,
        absl::StrCat(where, ": socket path ", path, ": ", path.size(), " bytes, at most ",
                     sizeof(address.sun_path) - 1, " are allowed; choose a shorter --run-dir")));
  }
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT || errno == ENOTDIR ? absl::OkStatus() : Errno(path, "stat");
  }
  if (!S_ISSOCK(info.st_mode)) {
    return absl::FailedPreconditionError(
        Tagged(ErrorId::kBadSocketPath,
               absl::StrCat(where, ": ", path,
                            ": exists and is no socket; remove it or choose another --run-dir")));
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return Errno(path, "socket");
  // A dead daemon's refuses; a living one of another type does not (EPROTOTYPE).
  const bool refused =
      connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 &&
      errno == ECONNREFUSED;
  close(probe);
  if (refused) return absl::OkStatus();
  return absl::AlreadyExistsError(Tagged(
      ErrorId::kInUse,
      absl::StrCat(path, ": in use by a running daemon; stop it or choose another --run-dir")));
}

std::vector<std::string> StreamSockets(const Config& config) {
  std::vector<std::string> sockets = {AdminSocketPath(config)};
  for (const std::string& tenant : config.tenants) {
    sockets.push_back(SocketPath(config, "grpc", tenant));
  }
  return sockets;
}

// Whether somebody holds a lock on the file: the kernel's list tells without taking it.
bool Locked(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return false;
  const std::string wanted =
      absl::StrFormat(" %02x:%02x:%d ", major(info.st_dev), minor(info.st_dev), info.st_ino);
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    if (absl::StrContains(line, "FLOCK") && absl::StrContains(line, wanted)) return true;
  }
  return false;
}

void AddInUse(const std::string& path, StartFindings* findings) {
  findings->in_use.push_back(absl::FailedPreconditionError(
      Tagged(ErrorId::kInUse, absl::StrCat(path, " is locked by another process"))));
}

absl::Status CheckDirectories(const Config& config, StartFindings* findings) {
  const std::string where = config.SourceOf("data-dir");
  if (absl::Status s = CheckNoneTwice(config); !s.ok()) return s;
  for (const std::string& directory : config.data_dirs) {
    if (absl::Status s = CheckDirectory(where, directory); !s.ok()) return s;
    if (absl::Status s = CheckContents(where, directory); !s.ok()) return s;
  }
  const std::string run = config.SourceOf("run-dir");
  if (absl::Status s = CheckDirectory(run, config.run_dir); !s.ok()) return s;
  std::vector<std::string> sockets = StreamSockets(config);
  if (LocalDoorsAllowed(config)) {
    sockets.push_back(SocketPath(config, "local", config.tenants.front()));
  }
  for (const std::string& path : sockets) {
    absl::Status s = CheckSocketPath(run, path);
    if (absl::IsAlreadyExists(s)) {
      findings->in_use.push_back(s);
    } else if (!s.ok()) {
      return s;
    }
  }
  if (Locked(config.run_dir + "/kvgated.lock"))
    AddInUse(config.run_dir + "/kvgated.lock", findings);
  for (const std::string& directory : config.data_dirs) {
    if (Locked(directory + "/LOCK")) AddInUse(directory + "/LOCK", findings);
  }
  return absl::OkStatus();
}

absl::Status CheckTokens(const Config& config) {
  if (config.tokens_file.empty()) return absl::OkStatus();
  std::vector<std::string> tenants = config.tenants;
  if (!config.grpc_tcp.empty()) tenants.push_back(config.grpc_tcp_tenant);
  const absl::Status status = Tokens::Load(config.tokens_file, tenants).status();
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat(config.SourceOf("tokens-file"), ": ", status.message()));
}

}  // namespace

std::string SocketPath(const Config& config, const std::string& door, const std::string& tenant) {
  const std::string suffix = tenant == "default" ? "" : "-" + tenant;
  return absl::StrCat(config.run_dir, "/", door, suffix, ".sock");
}

std::string AdminSocketPath(const Config& config) { return config.run_dir + "/admin.sock"; }

absl::StatusOr<StartFindings> CheckStart(const Config& config) {
  StartFindings findings;
  if (absl::Status s = CheckTokens(config); !s.ok()) return s;
  if (absl::Status s = CheckDirectories(config, &findings); !s.ok()) return s;
  const storage::StoreOptions store = StoreOptionsOf(config);
  if (config.disk_bytes > 0) {
    const uint64_t share = store.log.bytes_max / config.data_dirs.size();
    for (const std::string& directory : config.data_dirs) {
      if (absl::Status s = CheckDataFile(config, directory, share, &findings); !s.ok()) return s;
    }
    if (absl::Status s = CheckSpace(config, share); !s.ok()) return s;
  }
  if (absl::Status s = store.Validate(); !s.ok()) {
    return absl::Status(s.code(), Tagged(ErrorId::kBadSetting, std::string(s.message())));
  }
  const std::string warning = MemoryWarning(config, ReadHostMemory());
  if (!warning.empty()) findings.warnings.push_back(warning);
  return findings;
}

absl::Status PrepareStart(const Config& config) {
  for (const std::string& directory : config.data_dirs) {
    if (absl::Status s = MakeDirectories(directory); !s.ok()) return s;
  }
  if (absl::Status s = MakeDirectories(config.run_dir); !s.ok()) return s;
  for (const std::string& path : StreamSockets(config)) {
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return Errno(path, "unlink");
  }
  return absl::OkStatus();
}

}  // namespace kvgate::gateway
