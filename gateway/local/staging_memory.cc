// SPDX-License-Identifier: Apache-2.0
#include "gateway/local/staging_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "gateway/local/protocol.h"
#include "storage/base/check.h"

namespace kvgate::gateway {
namespace {

absl::Status Failed(const char* what, uint64_t bytes) {
  return absl::ErrnoToStatus(errno, absl::StrCat("staging memory of ", bytes, " bytes: ", what));
}

absl::StatusOr<int> NewSealedFile(uint64_t bytes) {
  const int fd = memfd_create("kvgate-staging", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return Failed("memfd_create", bytes);
  const bool sized = ftruncate(fd, static_cast<off_t>(bytes)) == 0;
  if (sized && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) return fd;
  const absl::Status status = Failed(sized ? "F_ADD_SEALS" : "ftruncate", bytes);
  close(fd);
  return status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StagingMemory>> StagingMemory::Create(uint64_t bytes,
                                                                     uint64_t bytes_max) {
  // Addresses alone: later parts come to stand behind the first.
  void* base =
      mmap(nullptr, bytes_max, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return Failed("mmap of its addresses", bytes_max);
  std::unique_ptr<StagingMemory> staging(
      new StagingMemory(static_cast<std::byte*>(base), bytes_max));
  if (absl::Status s = staging->Grow(bytes); !s.ok()) return s;
  return staging;
}

absl::Status StagingMemory::Grow(uint64_t bytes) {
  const uint64_t offset = bytes_.load();
  KVGATE_CHECK(bytes > 0 && bytes % local::kStagingGranule == 0) << bytes;
  KVGATE_CHECK(bytes <= bytes_max_ - offset) << bytes << " of " << bytes_max_;
  absl::StatusOr<int> fd = NewSealedFile(bytes);
  if (!fd.ok()) return fd.status();
  void* memory =
      mmap(base_ + offset, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, *fd, 0);
  if (memory == MAP_FAILED) {
    const absl::Status status = Failed("mmap", bytes);
    close(*fd);
    // The kernel may have given the addresses away: they are left alone from now on.
    bytes_max_ = offset;
    return status;
  }
  (void)madvise(memory, bytes, MADV_DONTDUMP);
  parts_.push_back({*fd, offset, bytes});
  bytes_.store(offset + bytes, std::memory_order_release);
  return absl::OkStatus();
}

StagingMemory::~StagingMemory() {
  if (bytes_max_ > 0) munmap(base_, bytes_max_);
  for (const Part& part : parts_) close(part.fd);
}

}  // namespace kvgate::gateway
