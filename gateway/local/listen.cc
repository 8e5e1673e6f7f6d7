// SPDX-License-Identifier: Apache-2.0
#include "gateway/local/listen.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace kvgate::gateway {
namespace {

constexpr int kBacklog = 64;

int NewSocket() { return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

absl::Status Failed(const std::string& path, const char* what) {
  return absl::ErrnoToStatus(errno, absl::StrCat("local socket ", path, ": ", what));
}

// Makes the path free.
absl::Status ClearStale(const std::string& path, const sockaddr_un& address) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? absl::OkStatus() : Failed(path, "stat");
  }
  if (!S_ISSOCK(info.st_mode)) {
    return absl::AlreadyExistsError(
        absl::StrCat("local socket ", path, ": exists and is no socket; remove it"));
  }
  const int probe = NewSocket();
  if (probe < 0) return Failed(path, "socket");
  const bool answers =
      connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ||
      errno == EAGAIN;  // its backlog is full
  const int error = errno;
  close(probe);
  if (answers) {
    return absl::AlreadyExistsError(absl::StrCat(
        "local socket ", path, ": in use by a running gateway; stop it or choose another path"));
  }
  // EPROTOTYPE: a live socket of another type. Only a refused one is a dead daemon's.
  errno = error;
  if (error != ECONNREFUSED) return Failed(path, "connect");
  if (unlink(path.c_str()) != 0) return Failed(path, "unlink");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int> ListenLocal(const std::string& path, uint32_t mode) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("local socket ", path, ": ", path.size(),
                                                   " bytes, 1 to ", sizeof(address.sun_path) - 1,
                                                   " are allowed"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  if (absl::Status s = ClearStale(path, address); !s.ok()) return s;
  const int listener = NewSocket();
  if (listener < 0) return Failed(path, "socket");
  const auto fail = [&](const char* what) {
    const absl::Status status = Failed(path, what);
    close(listener);
    return status;
  };
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return fail("bind");
  }
  if (chmod(path.c_str(), mode) != 0) return fail("chmod");
  if (listen(listener, kBacklog) != 0) return fail("listen");
  return listener;
}

uint64_t SocketInode(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

void RemoveSocket(const std::string& path, uint64_t inode) {
  if (inode != 0 && SocketInode(path) == inode) (void)unlink(path.c_str());
}

}  // namespace kvgate::gateway
