// SPDX-License-Identifier: Apache-2.0
#include "client/local/pool_view.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace kvgate::client {
namespace {

Outcome Bad(std::string message) {
  return Outcome{wire::Code::kInternal, true, "local door: " + std::move(message)};
}

// No load of the copy may be made after the load of the generation that follows.
void FenceAfterCopy() {
#if defined(__SANITIZE_THREAD__)
  // gcc refuses fences under its thread sanitizer; x86 keeps the order of loads by itself.
  asm volatile("" ::: "memory");
#else
  std::atomic_thread_fence(std::memory_order_acquire);
#endif
}

}  // namespace

Mapping Mapping::Of(int fd, uint64_t bytes, bool writable) {
  Mapping mapping;
  struct stat info;
  // A file shorter than the mapping would fault.
  if (bytes == 0 || fstat(fd, &info) != 0 || static_cast<uint64_t>(info.st_size) < bytes) {
    return mapping;
  }
  void* memory =
      mmap(nullptr, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return mapping;
  // Core files of a worker do not need the cache.
  (void)madvise(memory, bytes, MADV_DONTDUMP);
  mapping.bytes_ = {static_cast<std::byte*>(memory), bytes};
  return mapping;
}

Mapping::~Mapping() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

Outcome PoolView::Map(uint32_t extent, Deadline deadline) {
  local::Extent ask{};
  std::memcpy(ask.capability, capability_.data(), capability_.size());
  ask.extent = extent;
  Reply reply;
  const std::string_view parts[] = {{reinterpret_cast<const char*>(&ask), sizeof(ask)}};
  Outcome outcome = channel_->Call(local::Op::kExtent, parts, deadline, nullptr, &reply);
  if (!outcome.ok()) return outcome;
  local::ExtentOk ok;
  if (reply.rest().size() != sizeof(ok) || reply.fds.size() != 1) {
    return Bad("an EXTENT reply of " + std::to_string(reply.rest().size()) + " bytes");
  }
  std::memcpy(&ok, reply.rest().data(), sizeof(ok));
  Mapping mapping = Mapping::Of(reply.fds[0].get(), ok.bytes, /*writable=*/false);
  if (mapping.bytes().empty()) {
    return Outcome{
        wire::Code::kResourceExhausted, true,
        "cannot map an extent of " + std::to_string(ok.bytes) + " bytes: " + std::strerror(errno)};
  }
  MutexLock lock(mutex_);
  if (sizes_[extent].load() != 0) return outcome;  // another thread was faster
  bases_[extent].store(mapping.bytes().data(), std::memory_order_relaxed);
  sizes_[extent].store(mapping.bytes().size(), std::memory_order_release);
  mappings_.push_back(std::move(mapping));
  return outcome;
}

Outcome PoolView::Find(const local::PlaceWire& place, Deadline deadline,
                       std::span<const std::byte>* bytes) {
  if (place.extent >= kExtentsMax ||
      place.generation_index >= generations_.bytes().size() / sizeof(uint64_t)) {
    return Bad("a place outside the pool");
  }
  uint64_t size = sizes_[place.extent].load(std::memory_order_acquire);
  if (size == 0) {
    if (Outcome o = Map(place.extent, deadline); !o.ok()) return o;
    size = sizes_[place.extent].load(std::memory_order_acquire);
  }
  if (place.offset > size || place.bytes > size - place.offset) {
    return Bad("a place outside its extent");
  }
  *bytes = {bases_[place.extent].load(std::memory_order_relaxed) + place.offset, place.bytes};
  return {};
}

bool PoolView::StillValid(const local::PlaceWire& place) const {
  FenceAfterCopy();
  if (void_.load(std::memory_order_acquire)) return false;
  const auto* generations = reinterpret_cast<const uint64_t*>(generations_.bytes().data());
  return __atomic_load_n(&generations[place.generation_index], __ATOMIC_ACQUIRE) ==
         place.generation;
}

}  // namespace kvgate::client
