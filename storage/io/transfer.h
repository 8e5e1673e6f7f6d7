// SPDX-License-Identifier: Apache-2.0
//
// Transfer: one read or write on its way through the kernel, however many calls it takes.
//
// The kernel may move fewer bytes than asked, or ask to be called again. Advance takes each call's
// result and says what to do next. With O_DIRECT the rest must begin on an aligned offset, so a
// short transfer goes on from the last whole 4 KiB. Thread-compatible; no memory, no system calls.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "proto/wire/error_id.h"
#include "storage/io/disk.h"
#include "storage/io/file_util.h"

namespace kvgate::storage {

class Transfer {
 public:
  enum class Next : uint8_t { kDone, kAgain, kFailed };

  Transfer() = default;
  Transfer(uint64_t offset, std::byte* data, uint64_t bytes)
      : offset_(offset), data_(data), bytes_(bytes) {}

  // What the next call moves.
  uint64_t offset() const { return offset_; }
  std::byte* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

  // `result`: bytes moved, or -errno.
  Next Advance(int64_t result) {
    if (result >= static_cast<int64_t>(bytes_)) return Next::kDone;
    if (result < 0 && result != -EINTR && result != -EAGAIN) {
      error_ = static_cast<int>(-result);
      return Next::kFailed;
    }
    const uint64_t whole =
        result <= 0 ? 0 : static_cast<uint64_t>(result) / kDiskAlign * kDiskAlign;
    offset_ += whole;
    data_ += whole;
    bytes_ -= whole;
    if (whole > 0) {
      idle_calls_ = 0;
    } else if (++idle_calls_ >= kIdleCallsMax) {
      // 0 bytes of a read: the file was cut behind our back.
      error_ = result < 0 ? static_cast<int>(-result) : EIO;
      return Next::kFailed;
    }
    return Next::kAgain;
  }

  absl::Status Error(std::string_view verb, std::string_view name) const {
    const absl::Status status =
        StatusFromErrno(error_, absl::StrCat("cannot ", std::string(verb), " ", bytes_,
                                             " bytes at ", offset_, " of ", std::string(name)));
    return absl::Status(status.code(),
                        wire::Tagged(wire::ErrorId::kDeviceError, std::string(status.message())));
  }

 private:
  static constexpr int kIdleCallsMax = 1000;  // md and loop devices answer EAGAIN under load

  uint64_t offset_ = 0;
  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
  int idle_calls_ = 0;
  int error_ = 0;
};

}  // namespace kvgate::storage
