// SPDX-License-Identifier: Apache-2.0
//
// A data file on a device that hangs, for LD_PRELOAD: while the file $KVGATE_TEST_HANG exists,
// reads, writes and syncs of kvgate.data do not return, and $KVGATE_TEST_HANG.hit says that one has
// begun to hang. As with a real device, nothing but the device's own return ends the call.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_data_file(int fd) {
  static const char kName[] = "/kvgate.data";
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, sizeof path);
  const ssize_t length = sizeof kName - 1;
  return n >= length && memcmp(path + n - length, kName, length) == 0;
}

static void hang(int fd) {
  const char* gate = getenv("KVGATE_TEST_HANG");
  char hit[PATH_MAX];
  if (gate == NULL || access(gate, F_OK) != 0 || !is_data_file(fd)) return;
  snprintf(hit, sizeof hit, "%s.hit", gate);
  close(open(hit, O_CREAT | O_WRONLY, 0600));
  while (access(gate, F_OK) == 0) usleep(1000);
}

#define WRAPPED(result, name, parameters, ...)          \
  result name parameters {                              \
    hang(fd);                                           \
    result(*real) parameters = dlsym(RTLD_NEXT, #name); \
    return real(__VA_ARGS__);                           \
  }

WRAPPED(ssize_t, pread, (int fd, void* data, size_t n, off_t at), fd, data, n, at)
WRAPPED(ssize_t, pread64, (int fd, void* data, size_t n, off64_t at), fd, data, n, at)
WRAPPED(ssize_t, __pread_chk, (int fd, void* data, size_t n, off_t at, size_t room), fd, data, n,
        at, room)
WRAPPED(ssize_t, __pread64_chk, (int fd, void* data, size_t n, off64_t at, size_t room), fd, data,
        n, at, room)
WRAPPED(ssize_t, pwrite, (int fd, const void* data, size_t n, off_t at), fd, data, n, at)
WRAPPED(ssize_t, pwrite64, (int fd, const void* data, size_t n, off64_t at), fd, data, n, at)
WRAPPED(int, fdatasync, (int fd), fd)
