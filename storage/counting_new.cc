// SPDX-License-Identifier: Apache-2.0
//
// operator new over malloc that reports to GetPath (store_allocations.h). A program links it by
// naming //storage:counting_new; libraries never do.
#include <cstdlib>
#include <new>

#include "storage/store_allocations.h"

namespace {

const bool announced = [] {
  kvgate::storage::GetPath::SetMeasured();
  return true;
}();

void* Allocate(size_t bytes) {
  kvgate::storage::GetPath::Allocated(bytes);
  return std::malloc(bytes == 0 ? 1 : bytes);
}

void* AllocateAligned(size_t bytes, std::align_val_t alignment) {
  kvgate::storage::GetPath::Allocated(bytes);
  void* memory = nullptr;
  return posix_memalign(&memory, static_cast<size_t>(alignment), bytes) == 0 ? memory : nullptr;
}

// Out of memory ends the program, as every allocation of ours expects.
void* OrAbort(void* memory) {
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

void* operator new(size_t bytes) { return OrAbort(Allocate(bytes)); }
void* operator new[](size_t bytes) { return OrAbort(Allocate(bytes)); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return Allocate(bytes); }
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return Allocate(bytes); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return OrAbort(AllocateAligned(bytes, alignment));
}
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return OrAbort(AllocateAligned(bytes, alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
