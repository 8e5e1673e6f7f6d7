// SPDX-License-Identifier: Apache-2.0
#include "storage/io/faulty_disk.h"

#include <cstring>

#include "storage/base/aligned_buffer.h"
#include "storage/base/check.h"

namespace kvgate::storage {
namespace {

void FlipBit(std::span<std::byte> bytes, uint64_t random) {
  const uint64_t bit = random % (bytes.size() * 8);
  bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
}

// The first half in whole pages; a single page has no half.
uint64_t HalfOf(uint64_t bytes) { return bytes / 2 / kDiskAlign * kDiskAlign; }

}  // namespace

FaultyDisk::FaultyDisk(std::unique_ptr<Disk> inner, uint64_t seed)
    : Disk(inner->name(), inner->bytes()), inner_(std::move(inner)), random_(seed) {}

FaultyDisk::~FaultyDisk() {
  std::vector<Held> held;
  {
    absl::MutexLock lock(&mutex_);
    held.swap(held_);
    rules_.clear();
  }
  for (Held& one : held) {
    FailOn(*inner_, absl::CancelledError("the faulty disk is being closed"), std::move(one.done));
  }
}

int FaultyDisk::Add(const Fault& fault) {
  absl::MutexLock lock(&mutex_);
  rules_.push_back({fault});
  return static_cast<int>(rules_.size()) - 1;
}

void FaultyDisk::Clear() {
  absl::MutexLock lock(&mutex_);
  for (Rule& rule : rules_) rule.active = false;
}

void FaultyDisk::Release() {
  std::vector<Held> released;
  {
    absl::MutexLock lock(&mutex_);
    std::vector<Held> kept;
    for (Held& one : held_) (one.resume ? released : kept).push_back(std::move(one));
    held_ = std::move(kept);
  }
  for (Held& one : released) one.resume();
}

uint64_t FaultyDisk::struck(int fault) const {
  absl::MutexLock lock(&mutex_);
  KVGATE_CHECK(fault >= 0 && static_cast<size_t>(fault) < rules_.size());
  return rules_[static_cast<size_t>(fault)].struck;
}

size_t FaultyDisk::held() const {
  absl::MutexLock lock(&mutex_);
  return held_.size();
}

std::pair<Fault, uint64_t> FaultyDisk::Judge(Operation operation, uint64_t offset, uint64_t bytes,
                                             bool* struck) {
  absl::MutexLock lock(&mutex_);
  *struck = false;
  for (Rule& rule : rules_) {
    const Fault& fault = rule.fault;
    const bool wanted = operation == kRead    ? fault.on_reads
                        : operation == kWrite ? fault.on_writes
                                              : fault.on_syncs;
    const bool inside = operation == kSync || (offset < fault.end && offset + bytes > fault.begin);
    if (!rule.active || !wanted || !inside) continue;
    ++rule.seen;
    if (rule.seen < fault.first_call || rule.struck >= fault.calls) continue;
    if (fault.probability < 1 &&
        std::uniform_real_distribution<double>(0, 1)(random_) >= fault.probability) {
      continue;
    }
    ++rule.struck;
    *struck = true;
    return {fault, random_()};
  }
  return {};
}

bool FaultyDisk::Strike(const Fault& fault, std::function<void()> go, IoDone* done) {
  if (fault.kind == Fault::kError) {
    FailOn(*inner_, fault.error, std::move(*done));
    return true;
  }
  if (fault.kind == Fault::kLost) {
    FailOn(*inner_, absl::OkStatus(), std::move(*done));
    return true;
  }
  if (fault.kind == Fault::kDelay || fault.kind == Fault::kNeverComplete) {
    absl::MutexLock lock(&mutex_);
    if (fault.kind == Fault::kNeverComplete) go = nullptr;
    held_.push_back({std::move(go), *done});
    return true;
  }
  return false;
}

uint64_t FaultyDisk::Misdirected(const Fault& fault, uint64_t offset, uint64_t bytes) const {
  const uint64_t last = inner_->bytes() - bytes;
  return (offset + fault.shift) % (last + kDiskAlign);
}

void FaultyDisk::ReadImpl(uint64_t offset, std::span<std::byte> buffer, IoClass io_class,
                          absl::Time deadline, IoDone done) {
  bool struck = false;
  const auto [fault, random] = Judge(kRead, offset, buffer.size(), &struck);
  const auto go = [=, this] { inner_->Read(offset, buffer, io_class, deadline, done); };
  if (!struck) return go();
  if (Strike(fault, go, &done)) return;
  if (fault.kind == Fault::kMisdirect) {
    return inner_->Read(Misdirected(fault, offset, buffer.size()), buffer, io_class, deadline,
                        std::move(done));
  }
  if (fault.kind == Fault::kBitFlip) {
    return inner_->Read(offset, buffer, io_class, deadline,
                        [buffer, random = random, done = std::move(done)](absl::Status status) {
                          if (status.ok()) FlipBit(buffer, random);
                          done(std::move(status));
                        });
  }
  const uint64_t half = HalfOf(buffer.size());
  if (half == 0) return FailOn(*inner_, fault.error, std::move(done));
  inner_->Read(offset, buffer.first(half), io_class, deadline,
               [error = fault.error, done = std::move(done)](absl::Status status) {
                 done(status.ok() ? error : status);
               });
}

void FaultyDisk::WriteImpl(uint64_t offset, std::span<const std::byte> buffer, IoClass io_class,
                           IoDone done) {
  bool struck = false;
  const auto [fault, random] = Judge(kWrite, offset, buffer.size(), &struck);
  const auto go = [=, this] { inner_->Write(offset, buffer, io_class, done); };
  if (!struck) return go();
  if (Strike(fault, go, &done)) return;
  if (fault.kind == Fault::kMisdirect) {
    return inner_->Write(Misdirected(fault, offset, buffer.size()), buffer, io_class,
                         std::move(done));
  }
  if (fault.kind == Fault::kBitFlip) {
    auto copy = std::make_shared<AlignedBuffer>(buffer.size());
    std::memcpy(copy->data(), buffer.data(), buffer.size());
    FlipBit(copy->span(), random);
    return inner_->Write(
        offset, copy->span(), io_class,
        [copy, done = std::move(done)](absl::Status status) { done(std::move(status)); });
  }
  const uint64_t half = HalfOf(buffer.size());
  if (half == 0) return FailOn(*inner_, fault.error, std::move(done));
  inner_->Write(offset, buffer.first(half), io_class,
                [error = fault.error, done = std::move(done)](absl::Status status) {
                  done(status.ok() ? error : status);
                });
}

void FaultyDisk::SyncImpl(IoDone done) {
  bool struck = false;
  const auto [fault, random] = Judge(kSync, 0, 0, &struck);
  (void)random;
  const auto go = [=, this] { inner_->Sync(done); };
  if (!struck || !Strike(fault, go, &done)) go();
}

void FaultyDisk::FailImpl(absl::Status error, IoDone done) {
  FailOn(*inner_, std::move(error), std::move(done));
}

}  // namespace kvgate::storage
