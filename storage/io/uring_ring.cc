// SPDX-License-Identifier: Apache-2.0
#include "storage/io/uring_ring.h"

#include <liburing.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "storage/base/check.h"
#include "storage/io/file_util.h"

namespace kvgate::storage {
namespace {

constexpr unsigned kBuffersMax = 4096;  // of 64 MiB: 256 GiB of pool
constexpr uint32_t kSpareEntries = 8;   // the read of the eventfd, and time-outs

struct Rung {
  unsigned flags;
  const char* note;
};
constexpr std::array<Rung, 3> kLadder = {{
    {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL, ""},
    {IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL, "io_uring without DEFER_TASKRUN"},
    {0, "io_uring without COOP_TASKRUN"},
}};

}  // namespace

struct Ring::Impl {
  struct Buffer {
    size_t bytes;
    unsigned index;
  };

  io_uring_sqe* Sqe(uint64_t tag) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring);
    KVGATE_CHECK(sqe != nullptr) << "more operations prepared than the ring has room for";
    user_tag = tag;
    return sqe;
  }

  void Finish(io_uring_sqe* sqe) {
    if (file_registered) sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data64(sqe, user_tag);
  }

  int file() const { return file_registered ? 0 : fd; }

  // Index in the table of fixed buffers, or -1.
  int FixedIndex(const std::byte* data, uint64_t bytes) const {
    const auto begin = reinterpret_cast<uintptr_t>(data);
    auto it = buffers.upper_bound(begin);
    if (it == buffers.begin()) return -1;
    --it;
    if (begin + bytes > it->first + it->second.bytes) return -1;
    return static_cast<int>(it->second.index);
  }

  io_uring ring{};
  bool open = false;
  bool file_registered = false;
  bool table_registered = false;
  int fd = -1;
  uint64_t user_tag = 0;
  uint64_t fixed_transfers = 0;
  std::map<uintptr_t, Buffer> buffers;  // by first address
  std::vector<unsigned> free_indexes;
};

Ring::Ring() : impl_(std::make_unique<Impl>()) {}

Ring::~Ring() {
  if (impl_->open) io_uring_queue_exit(&impl_->ring);
}

absl::Status Ring::Open(uint32_t entries, int fd) {
  int error = 0;
  for (const Rung& rung : kLadder) {
    io_uring_params params{};
    params.flags = rung.flags;
    error = io_uring_queue_init_params(entries + kSpareEntries, &impl_->ring, &params);
    if (error == 0) note_ = rung.note;
    if (error != -EINVAL) break;  // only "unknown flag" is worth another try
  }
  if (error != 0) return StatusFromErrno(-error, "io_uring_setup");
  impl_->open = true;
  impl_->fd = fd;
  io_uring_register_ring_fd(&impl_->ring);  // saves a look-up a call; nothing depends on it
  const auto add_note = [this](const char* text) {
    absl::StrAppend(&note_, note_.empty() ? "" : "; ", text);
  };
  impl_->file_registered = io_uring_register_files(&impl_->ring, &fd, 1) == 0;
  if (!impl_->file_registered) add_note("io_uring without a registered file");
  impl_->table_registered = io_uring_register_buffers_sparse(&impl_->ring, kBuffersMax) == 0;
  if (!impl_->table_registered) {
    add_note("io_uring without fixed buffers");
    return absl::OkStatus();
  }
  for (unsigned i = kBuffersMax; i-- > 0;) impl_->free_indexes.push_back(i);
  return absl::OkStatus();
}

void Ring::Read(uint64_t offset, std::byte* data, uint64_t bytes, uint64_t tag) {
  io_uring_sqe* sqe = impl_->Sqe(tag);
  const int fixed = impl_->FixedIndex(data, bytes);
  const auto length = static_cast<unsigned>(bytes);
  if (fixed >= 0) {
    ++impl_->fixed_transfers;
    io_uring_prep_read_fixed(sqe, impl_->file(), data, length, offset, fixed);
  } else {
    io_uring_prep_read(sqe, impl_->file(), data, length, offset);
  }
  impl_->Finish(sqe);
}

void Ring::Write(uint64_t offset, const std::byte* data, uint64_t bytes, uint64_t tag) {
  io_uring_sqe* sqe = impl_->Sqe(tag);
  const int fixed = impl_->FixedIndex(data, bytes);
  const auto length = static_cast<unsigned>(bytes);
  if (fixed >= 0) {
    ++impl_->fixed_transfers;
    io_uring_prep_write_fixed(sqe, impl_->file(), data, length, offset, fixed);
  } else {
    io_uring_prep_write(sqe, impl_->file(), data, length, offset);
  }
  impl_->Finish(sqe);
}

void Ring::Fdatasync(uint64_t tag) {
  io_uring_sqe* sqe = impl_->Sqe(tag);
  io_uring_prep_fsync(sqe, impl_->file(), IORING_FSYNC_DATASYNC);
  impl_->Finish(sqe);
}

void Ring::ReadEvent(int fd, uint64_t* count, uint64_t tag) {
  io_uring_sqe* sqe = impl_->Sqe(tag);
  io_uring_prep_read(sqe, fd, count, sizeof(*count), 0);
  io_uring_sqe_set_data64(sqe, tag);
}

void Ring::SubmitAndWait(absl::Duration limit, const Completion& completion) {
  io_uring_cqe* first = nullptr;
  int result = 0;
  if (limit == absl::InfiniteDuration()) {
    result = io_uring_submit_and_wait(&impl_->ring, 1);
  } else {
    const timespec time = absl::ToTimespec(std::max(limit, absl::ZeroDuration()));
    __kernel_timespec kernel_time{time.tv_sec, time.tv_nsec};
    result = io_uring_submit_and_wait_timeout(&impl_->ring, &first, 1, &kernel_time, nullptr);
  }
  // What was not submitted for want of memory stays in the queue and goes with the next call.
  KVGATE_CHECK(result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN ||
               result == -EBUSY || result == -ENOMEM)
      << "io_uring_enter: " << strerror(-result);
  unsigned head = 0, seen = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&impl_->ring, head, cqe) {
    ++seen;
    if (cqe->user_data != LIBURING_UDATA_TIMEOUT) completion(cqe->user_data, cqe->res);
  }
  io_uring_cq_advance(&impl_->ring, seen);
}

bool Ring::AddBuffer(std::span<std::byte> memory) {
  if (!impl_->table_registered || impl_->free_indexes.empty()) return false;
  const unsigned index = impl_->free_indexes.back();
  const iovec piece{memory.data(), memory.size()};
  const __u64 tag = 0;
  if (io_uring_register_buffers_update_tag(&impl_->ring, index, &piece, &tag, 1) != 1) return false;
  impl_->free_indexes.pop_back();
  impl_->buffers[reinterpret_cast<uintptr_t>(memory.data())] = {memory.size(), index};
  return true;
}

void Ring::RemoveBuffers(std::span<std::byte> memory) {
  const auto begin = reinterpret_cast<uintptr_t>(memory.data()), end = begin + memory.size();
  auto it = impl_->buffers.lower_bound(begin);
  while (it != impl_->buffers.end() && it->first < end) {
    // An empty entry; the kernel lets the pages go when the last operation on them ends.
    const iovec nothing{nullptr, 0};
    const __u64 tag = 0;
    io_uring_register_buffers_update_tag(&impl_->ring, it->second.index, &nothing, &tag, 1);
    impl_->free_indexes.push_back(it->second.index);
    it = impl_->buffers.erase(it);
  }
}

uint64_t Ring::fixed_transfers() const { return impl_->fixed_transfers; }

}  // namespace kvgate::storage
