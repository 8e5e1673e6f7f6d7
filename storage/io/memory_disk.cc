// SPDX-License-Identifier: Apache-2.0
#include "storage/io/memory_disk.h"

#include <algorithm>
#include <random>
#include <utility>

#include "storage/base/check.h"
#include "storage/io/pool_disk.h"

namespace kvgate::storage {
namespace {

constexpr uint64_t kSectorBytes = 512;

}  // namespace

// A disk's view of the medium: fenced off once another disk was opened or the medium crashed.
class MemoryMediumSession final : public Medium {
 public:
  explicit MemoryMediumSession(std::shared_ptr<MemoryMedium> medium)
      : medium_(std::move(medium)), session_(medium_->Connect()) {}

  absl::Status Read(uint64_t offset, std::span<std::byte> buffer) override {
    return medium_->Read(session_, offset, buffer);
  }
  absl::Status Write(uint64_t offset, std::span<const std::byte> buffer) override {
    return medium_->Write(session_, offset, buffer);
  }
  absl::Status Sync() override { return medium_->Sync(session_); }

 private:
  const std::shared_ptr<MemoryMedium> medium_;
  const uint64_t session_;
};

std::shared_ptr<MemoryMedium> MemoryMedium::Create(uint64_t bytes) {
  KVGATE_CHECK(bytes > 0 && bytes % kDiskAlign == 0) << "a medium of " << bytes << " bytes";
  return std::make_shared<MemoryMedium>(bytes);
}

uint64_t MemoryMedium::Connect() {
  absl::MutexLock lock(&mutex_);
  crashed_ = false;
  return ++session_;
}

absl::Status MemoryMedium::CheckSession(uint64_t session) const {
  if (crashed_ || session != session_)
    return absl::UnavailableError("the simulated device crashed");
  return absl::OkStatus();
}

void MemoryMedium::Load(uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const uint64_t within = offset % kChunkBytes;
    const size_t n = std::min<uint64_t>(out.size(), kChunkBytes - within);
    const auto chunk = chunks_.find(offset / kChunkBytes);
    if (chunk == chunks_.end()) {
      std::fill_n(out.begin(), n, std::byte{0});
    } else {
      std::copy_n(chunk->second.begin() + static_cast<ptrdiff_t>(within), n, out.begin());
    }
    out = out.subspan(n);
    offset += n;
  }
}

void MemoryMedium::Store(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const uint64_t within = offset % kChunkBytes;
    const size_t n = std::min<uint64_t>(bytes.size(), kChunkBytes - within);
    std::vector<std::byte>& chunk = chunks_[offset / kChunkBytes];
    if (chunk.empty()) chunk.resize(kChunkBytes);
    std::copy_n(bytes.begin(), n, chunk.begin() + static_cast<ptrdiff_t>(within));
    bytes = bytes.subspan(n);
    offset += n;
  }
}

absl::Status MemoryMedium::Read(uint64_t session, uint64_t offset, std::span<std::byte> buffer) {
  absl::MutexLock lock(&mutex_);
  if (absl::Status alive = CheckSession(session); !alive.ok()) return alive;
  ++calls_.reads;
  calls_.read_bytes += buffer.size();
  Load(offset, buffer);
  return absl::OkStatus();
}

absl::Status MemoryMedium::Write(uint64_t session, uint64_t offset,
                                 std::span<const std::byte> buffer) {
  absl::MutexLock lock(&mutex_);
  if (absl::Status alive = CheckSession(session); !alive.ok()) return alive;
  const bool crashes = CrashesNow();
  if (crashes) {
    std::mt19937_64 random(crash_seed_ ^ offset);
    buffer = buffer.first(random() % (buffer.size() / kSectorBytes + 1) * kSectorBytes);
  }
  ++calls_.writes;
  calls_.written_bytes += buffer.size();
  if (!buffer.empty()) {
    Pending write{offset, std::vector<std::byte>(buffer.size()), {buffer.begin(), buffer.end()}};
    Load(offset, write.before);
    Store(offset, buffer);
    pending_.push_back(std::move(write));
  }
  if (!crashes) return absl::OkStatus();
  CrashLocked(crash_kind_, crash_seed_);
  return CheckSession(session);
}

absl::Status MemoryMedium::Sync(uint64_t session) {
  absl::MutexLock lock(&mutex_);
  if (absl::Status alive = CheckSession(session); !alive.ok()) return alive;
  if (CrashesNow()) {
    CrashLocked(crash_kind_, crash_seed_);
    return CheckSession(session);
  }
  ++calls_.syncs;
  pending_.clear();
  return absl::OkStatus();
}

bool MemoryMedium::CrashesNow() { return crash_in_ > 0 && --crash_in_ == 0; }

void MemoryMedium::Crash(CrashKind kind, uint64_t seed) {
  absl::MutexLock lock(&mutex_);
  CrashLocked(kind, seed);
}

void MemoryMedium::CrashAt(uint64_t operation, CrashKind kind, uint64_t seed) {
  absl::MutexLock lock(&mutex_);
  crash_in_ = operation;
  crash_kind_ = kind;
  crash_seed_ = seed;
}

bool MemoryMedium::crashed() const {
  absl::MutexLock lock(&mutex_);
  return crashed_;
}

void MemoryMedium::CrashLocked(CrashKind kind, uint64_t seed) {
  crashed_ = true;
  crash_in_ = 0;
  // After kill -9 the page cache lives on, and so do the writes that no Sync covered: a power cut
  // later may still take them.
  if (kind == kKill) return;
  for (auto write = pending_.rbegin(); write != pending_.rend(); ++write) {
    Store(write->offset, write->before);
  }
  std::mt19937_64 random(seed);
  const uint64_t sector = random() % 2 == 0 ? kSectorBytes : kDiskAlign;
  const uint64_t kept_of_8 = 1 + random() % 7;  // sectors of a torn write
  for (const Pending& write : pending_) {
    const uint64_t fate = random() % 3;  // lost, kept, torn
    for (uint64_t at = 0; at < write.after.size(); at += sector) {
      const bool kept = fate == 1 || (fate == 2 && random() % 8 < kept_of_8);
      const uint64_t bytes = std::min<uint64_t>(sector, write.after.size() - at);
      if (kept) Store(write.offset + at, std::span(write.after).subspan(at, bytes));
    }
  }
  pending_.clear();
}

void MemoryMedium::Peek(uint64_t offset, std::span<std::byte> out) const {
  absl::MutexLock lock(&mutex_);
  KVGATE_CHECK(offset <= bytes_ && out.size() <= bytes_ - offset);
  Load(offset, out);
}

void MemoryMedium::Poke(uint64_t offset, std::span<const std::byte> bytes) {
  absl::MutexLock lock(&mutex_);
  KVGATE_CHECK(offset <= bytes_ && bytes.size() <= bytes_ - offset);
  Store(offset, bytes);
}

MemoryMedium::Calls MemoryMedium::calls() const {
  absl::MutexLock lock(&mutex_);
  return calls_;
}

std::unique_ptr<Disk> OpenMemoryDisk(std::shared_ptr<MemoryMedium> medium, const std::string& name,
                                     const DiskOptions& options, const Clock* clock) {
  const uint64_t bytes = medium->bytes();
  return std::make_unique<PoolDisk>(
      PoolDisk::Facts{name, bytes, "memory", "memory", 1, ""}, options,
      std::make_unique<MemoryMediumSession>(std::move(medium)), clock);
}

}  // namespace kvgate::storage
