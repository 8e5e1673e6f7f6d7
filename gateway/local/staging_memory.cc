// SPDX-License-Identifier: Apache-2.0
#include "gateway/local/staging_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace kvgate::gateway {

absl::StatusOr<std::unique_ptr<StagingMemory>> StagingMemory::Create(uint64_t bytes) {
  const auto failed = [bytes](const char* what) {
    return absl::ErrnoToStatus(errno, absl::StrCat("staging memory of ", bytes, " bytes: ", what));
  };
  const int fd = memfd_create("kvgate-staging", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return failed("memfd_create");
  const auto close_and_fail = [&](const char* what) {
    const absl::Status status = failed(what);
    close(fd);
    return status;
  };
  if (ftruncate(fd, static_cast<off_t>(bytes)) != 0) return close_and_fail("ftruncate");
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return close_and_fail("F_ADD_SEALS");
  }
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return close_and_fail("mmap");
  (void)madvise(memory, bytes, MADV_DONTDUMP);
  return std::unique_ptr<StagingMemory>(
      new StagingMemory(fd, {static_cast<std::byte*>(memory), bytes}));
}

StagingMemory::~StagingMemory() {
  munmap(bytes_.data(), bytes_.size());
  close(fd_);
}

}  // namespace kvgate::gateway
