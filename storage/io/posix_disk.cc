// SPDX-License-Identifier: Apache-2.0
#include "storage/io/posix_disk.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/io/pool_disk.h"
#include "storage/io/transfer.h"

namespace kvgate::storage {
namespace {

class PosixMedium final : public Medium {
 public:
  PosixMedium(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}

  absl::Status Read(uint64_t offset, std::span<std::byte> buffer) override {
    return Move("read", Transfer(offset, buffer.data(), buffer.size()), [this](const Transfer& t) {
      return pread(fd_.get(), t.data(), t.bytes(), static_cast<off_t>(t.offset()));
    });
  }

  absl::Status Write(uint64_t offset, std::span<const std::byte> buffer) override {
    // Transfer carries reads and writes alike; pwrite only reads from it.
    auto* data = const_cast<std::byte*>(buffer.data());
    return Move("write", Transfer(offset, data, buffer.size()), [this](const Transfer& t) {
      return pwrite(fd_.get(), t.data(), t.bytes(), static_cast<off_t>(t.offset()));
    });
  }

  absl::Status Sync() override {
    if (fdatasync(fd_.get()) == 0) return absl::OkStatus();
    return StatusFromErrno(errno, absl::StrCat("cannot fdatasync ", name_));
  }

 private:
  template <typename Call>
  absl::Status Move(std::string_view verb, Transfer transfer, Call call) {
    while (true) {
      const ssize_t n = call(transfer);
      switch (transfer.Advance(n < 0 ? -errno : n)) {
        case Transfer::Next::kDone:
          return absl::OkStatus();
        case Transfer::Next::kFailed:
          return transfer.Error(verb, name_);
        case Transfer::Next::kAgain:
          break;
      }
    }
  }

  const UniqueFd fd_;
  const std::string name_;
};

}  // namespace

std::unique_ptr<Disk> MakePosixDisk(OpenedFile file, const DiskOptions& options) {
  PoolDisk::Facts facts{file.name, file.bytes, file.mode, "posix", options.posix_threads,
                        file.note};
  auto medium = std::make_unique<PosixMedium>(std::move(file.fd), file.name);
  return std::make_unique<PoolDisk>(std::move(facts), options, std::move(medium), nullptr);
}

}  // namespace kvgate::storage
