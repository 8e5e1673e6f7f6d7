// SPDX-License-Identifier: Apache-2.0
//
// Counters of the store, in one list from which the fields and their published names are made.
// Thread-safe: relaxed atomics; a reader may see one counter ahead of another.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

namespace kvgate::storage {

#define KVGATE_STORE_COUNTERS(X)  \
  X(get_hits_memory_total)        \
  X(get_hits_disk_total)          \
  X(get_misses_absent_total)      \
  X(get_misses_not_ready_total)   \
  X(get_misses_no_memory_total)   \
  X(get_misses_unpinned_total)    \
  X(get_misses_stale_token_total) \
  X(get_misses_corrupt_total)     \
  X(get_misses_io_error_total)    \
  X(get_bytes_memory_total)       \
  X(get_bytes_disk_total)         \
  X(hit_tokens_memory_total)      \
  X(hit_tokens_disk_total)        \
  X(recompute_saved_us_total)     \
  X(set_stored_total)             \
  X(set_held_total)               \
  X(set_not_admitted_total)       \
  X(set_data_loss_total)          \
  X(set_no_space_total)           \
  X(set_too_large_total)          \
  X(set_timed_out_total)          \
  X(set_bytes_total)              \
  X(set_granted_volatile_total)   \
  X(set_held_back_total)          \
  X(lookup_keys_total)            \
  X(lookup_keys_held_total)       \
  X(deletes_total)                \
  X(tombstones_deferred_total)    \
  X(tombstones_dropped_total)     \
  X(evictions_to_disk_total)      \
  X(evictions_lost_total)         \
  X(evicted_bytes_total)          \
  X(eviction_age_seconds_total)   \
  X(probation_promoted_total)     \
  X(probation_ended_early_total)  \
  X(expired_total)                \
  X(corrupt_total)                \
  X(disk_reads_total)             \
  X(disk_read_bytes_total)        \
  X(disk_reads_joined_total)      \
  X(disk_reads_repeated_total)    \
  X(disk_reads_aborted_total)     \
  X(disk_appends_total)           \
  X(disk_append_failures_total)   \
  X(pins_granted_total)           \
  X(pins_refused_total)           \
  X(recovery_dropped_total)       \
  X(reclaim_judged_total)         \
  X(reclaim_wanted_total)         \
  X(reclaim_pinned_total)         \
  X(reclaim_forgotten_total)

struct StoreCounters {
#define KVGATE_DECLARE(name) std::atomic<uint64_t> name{0};
  KVGATE_STORE_COUNTERS(KVGATE_DECLARE)
#undef KVGATE_DECLARE

  template <typename Visitor>
  void Visit(const Visitor& visitor) const {
#define KVGATE_VISIT(name) \
  visitor(std::string_view(#name), static_cast<double>(name.load(std::memory_order_relaxed)));
    KVGATE_STORE_COUNTERS(KVGATE_VISIT)
#undef KVGATE_VISIT
  }
};

// Adds without ordering anything.
inline void Count(std::atomic<uint64_t>& counter, uint64_t by = 1) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

}  // namespace kvgate::storage
