// SPDX-License-Identifier: Apache-2.0
#include "storage/memory/pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "storage/base/check.h"
#include "storage/base/thread_name.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

// The thread sanitizer does not model fences; the one below orders what other processes see.
#if defined(__SANITIZE_THREAD__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif

namespace kvgate::storage {
namespace {

constexpr uint64_t kMiB = 1 << 20;

uint64_t AlignUp(uint64_t value, uint64_t align) { return (value + align - 1) / align * align; }

uint64_t EffectiveExtentBytes(const PoolOptions& options) {
  const uint64_t whole = options.bytes_max / kGranuleBytes * kGranuleBytes;
  const uint64_t wanted = options.extent_bytes != 0
                              ? options.extent_bytes
                              : std::clamp(options.bytes_max / 4, 64 * kMiB, 256 * kMiB);
  return std::min(AlignUp(wanted, kGranuleBytes), whole);
}

// Faults the pages in without changing what another thread may have written meanwhile.
void Touch(std::span<std::byte> memory) {
  constexpr size_t kPiece = 4 << 20;
  for (size_t at = 0; at < memory.size(); at += kPiece) {
    const size_t bytes = std::min(kPiece, memory.size() - at);
    // Kernels before 5.14 refuse: then the first writer of a page pays for it.
    if (madvise(memory.data() + at, bytes, MADV_POPULATE_WRITE) != 0) return;
  }
}

}  // namespace

PoolBuffer::PoolBuffer(PoolBuffer&& other) noexcept
    : pool_(std::move(other.pool_)), memory_(other.memory_), place_(other.place_) {
  other.pool_ = nullptr;
}

PoolBuffer& PoolBuffer::operator=(PoolBuffer&& other) noexcept {
  if (this == &other) return *this;
  if (pool_ != nullptr) pool_->Free(*this);
  pool_ = std::move(other.pool_);
  other.pool_ = nullptr;
  memory_ = other.memory_;
  place_ = other.place_;
  return *this;
}

PoolBuffer::~PoolBuffer() {
  if (pool_ != nullptr) pool_->Free(*this);
}

Pool::Pool(const PoolOptions& options, uint64_t extent_bytes, SealedMemfd generations)
    : bytes_max_(options.bytes_max / kGranuleBytes * kGranuleBytes),
      extent_bytes_(extent_bytes),
      extents_max_((bytes_max_ + extent_bytes - 1) / extent_bytes),
      on_extent_(options.on_extent),
      generations_(std::move(generations)) {}

absl::StatusOr<std::shared_ptr<Pool>> Pool::Create(const PoolOptions& options) {
  const uint64_t extent_bytes = EffectiveExtentBytes(options);
  if (extent_bytes == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("memory.bytes_max = ", options.bytes_max, ": must be >= 65536"));
  }
  const uint64_t granules = AlignUp(options.bytes_max, extent_bytes) / kGranuleBytes;
  auto generations =
      CreateSealedMemfd("kvgate-generations", AlignUp(granules * sizeof(uint64_t), kPageBytes));
  if (!generations.ok()) return generations.status();
  std::shared_ptr<Pool> pool(new Pool(options, extent_bytes, std::move(*generations)));
  {
    absl::MutexLock lock(&pool->mu_);
    if (absl::Status status = pool->AddExtent(); !status.ok()) return status;
  }
  pool->toucher_ = std::thread([raw = pool.get()] {
    SetThreadName("kv-touch");
    raw->TouchAhead();
  });
  return pool;
}

Pool::~Pool() { Stop(); }

void Pool::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stop_ = true;
  }
  // The last reference to the pool may be dropped anywhere but on its own thread, which holds none.
  if (toucher_.joinable()) toucher_.join();
}

uint64_t Pool::BytesOfExtent(uint64_t number) const {
  return std::min(extent_bytes_, bytes_max_ - number * extent_bytes_);
}

absl::Status Pool::AddExtent() {
  const uint64_t number = extents_.size();
  const uint64_t bytes = BytesOfExtent(number);
  auto extent = CreateSealedMemfd(absl::StrCat("kvgate-extent-", number), bytes);
  if (!extent.ok()) {
    ++extent_failures_;
    return extent.status();
  }
  // A core dump of the daemon must not carry prompts, nor be as large as the pool.
  if (madvise(extent->memory().data(), bytes, MADV_DONTDUMP) != 0) {
    ++extent_failures_;
    return absl::InternalError("madvise(MADV_DONTDUMP) failed on a pool extent");
  }
  if (on_extent_) on_extent_(extent->memory());
  extents_.push_back(std::move(*extent));
  // One page number is left out between extents, so that runs never join over the seam.
  pages_.AddExtent(number * (extent_bytes_ + kGranuleBytes) / kPageBytes, bytes / kPageBytes);
  return absl::OkStatus();
}

std::atomic<uint64_t>* Pool::Generation(uint32_t index) const {
  static_assert(sizeof(std::atomic<uint64_t>) == sizeof(uint64_t));
  static_assert(std::atomic<uint64_t>::is_always_lock_free);
  return reinterpret_cast<std::atomic<uint64_t>*>(generations_.memory().data()) + index;
}

PoolBuffer Pool::Allocate(uint64_t bytes) {
  PoolBuffer buffer;
  const uint64_t pages = (bytes + kPageBytes - 1) / kPageBytes;
  if (pages == 0 || pages * kPageBytes > extent_bytes_) return buffer;
  absl::MutexLock lock(&mu_);
  std::optional<uint64_t> first = pages_.Allocate(pages);
  if (!first && extents_.size() < extents_max_ && !stop_ && AddExtent().ok()) {
    first = pages_.Allocate(pages);
  }
  if (!first) return buffer;
  used_pages_ += pages;
  const uint64_t stride = (extent_bytes_ + kGranuleBytes) / kPageBytes;
  const uint64_t extent = *first / stride;
  extents_used_ = std::max(extents_used_, extent + 1);
  PoolPlace& place = buffer.place_;
  place.extent = static_cast<uint32_t>(extent);
  place.offset = (*first % stride) * kPageBytes;
  place.generation_index =
      static_cast<uint32_t>((extent * extent_bytes_ + place.offset) / kGranuleBytes);
  place.generation = Generation(place.generation_index)->load(std::memory_order_relaxed);
  buffer.memory_ = extents_[extent].memory().subspan(place.offset, pages * kPageBytes);
  buffer.pool_ = shared_from_this();
  return buffer;
}

void Pool::Free(const PoolBuffer& buffer) {
  Generation(buffer.place_.generation_index)->fetch_add(1, std::memory_order_seq_cst);
  // Nothing that fills these pages again may become visible before the new generation.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const uint64_t stride = (extent_bytes_ + kGranuleBytes) / kPageBytes;
  const uint64_t pages = buffer.memory_.size() / kPageBytes;
  absl::MutexLock lock(&mu_);
  pages_.Free(buffer.place_.extent * stride + buffer.place_.offset / kPageBytes, pages);
  KVGATE_CHECK(used_pages_ >= pages);
  used_pages_ -= pages;
}

// An extent that is in use but untouched, or the next one when all touched ones are in use.
bool Pool::TouchWanted() const {
  return stop_ || touched_ < extents_.size() ||
         (touched_ <= extents_used_ && extents_.size() < extents_max_ && extent_failures_ == 0);
}

void Pool::TouchAhead() {
  while (true) {
    std::span<std::byte> memory;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(this, &Pool::TouchWanted));
      if (stop_) return;
      // A refusal is counted; TouchWanted then waits until an Allocate adds one.
      if (touched_ == extents_.size() && !AddExtent().ok()) continue;
      memory = extents_[touched_].memory();
    }
    Touch(memory);
    absl::MutexLock lock(&mu_);
    ++touched_;
  }
}

int Pool::ExtentFd(uint32_t extent) const {
  absl::MutexLock lock(&mu_);
  return extent < extents_.size() ? extents_[extent].fd() : -1;
}

uint64_t Pool::ExtentBytes(uint32_t extent) const {
  absl::MutexLock lock(&mu_);
  return extent < extents_.size() ? extents_[extent].memory().size() : 0;
}

PoolStats Pool::stats() const {
  absl::MutexLock lock(&mu_);
  PoolStats stats;
  stats.bytes_max = bytes_max_;
  stats.extent_bytes = extent_bytes_;
  stats.extents = extents_.size();
  stats.extents_touched = touched_;
  stats.used_bytes = used_pages_ * kPageBytes;
  stats.extent_failures = extent_failures_;
  return stats;
}

}  // namespace kvgate::storage
