// SPDX-License-Identifier: Apache-2.0
#include "storage/store_allocations.h"

#include <atomic>

namespace kvgate::storage {
namespace {

std::atomic<uint64_t> large_allocations{0};
std::atomic<bool> measured{false};

}  // namespace

thread_local int GetPath::depth_ = 0;

void GetPath::CountLarge() { large_allocations.fetch_add(1, std::memory_order_relaxed); }
uint64_t GetPath::LargeAllocations() { return large_allocations.load(std::memory_order_relaxed); }
bool GetPath::Measured() { return measured.load(std::memory_order_relaxed); }
void GetPath::SetMeasured() { measured.store(true, std::memory_order_relaxed); }

}  // namespace kvgate::storage
