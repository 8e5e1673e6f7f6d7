// SPDX-License-Identifier: Apache-2.0
#include "storage/options.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"

namespace kvgate::storage {
namespace {

constexpr uint64_t kUnitBytes = 64 << 10;
constexpr uint64_t kMiB = 1 << 20;

absl::Status OutOfRange(const char* field, uint64_t value, const char* limit) {
  return absl::InvalidArgumentError(absl::StrCat(field, " = ", value, ": must be ", limit));
}

absl::Status ValidateMemory(const MemoryOptions& memory) {
  if (memory.bytes_max < kMiB) {
    return OutOfRange("memory.bytes_max", memory.bytes_max, ">= 1048576 (1 MiB)");
  }
  if (memory.extent_bytes != 0) {
    if (memory.extent_bytes % kUnitBytes != 0) {
      return OutOfRange("memory.extent_bytes", memory.extent_bytes, "a multiple of 65536");
    }
    if (memory.extent_bytes > memory.bytes_max) {
      return OutOfRange("memory.extent_bytes", memory.extent_bytes, "<= memory.bytes_max");
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateLog(const LogOptions& log) {
  std::set<std::string> seen;
  for (const std::string& directory : log.directories) {
    if (directory.empty()) {
      return absl::InvalidArgumentError("log.directories: an entry is empty");
    }
    if (!seen.insert(directory).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("log.directories: \"", directory, "\" is named twice"));
    }
  }
  if (!(log.reinsert_share_max >= 0 && log.reinsert_share_max <= 0.5)) {
    return absl::InvalidArgumentError(
        absl::StrCat("log.reinsert_share_max = ", log.reinsert_share_max, ": must be in 0..0.5"));
  }
  if (log.batch_bytes_max < kUnitBytes) {
    return OutOfRange("log.batch_bytes_max", log.batch_bytes_max, ">= 65536");
  }
  if (log.write_queue_bytes_max < kMiB) {
    return OutOfRange("log.write_queue_bytes_max", log.write_queue_bytes_max, ">= 1048576");
  }
  if (log.segment_bytes != 0 && log.segment_bytes % kDiskAlign != 0) {
    return OutOfRange("log.segment_bytes", log.segment_bytes, "a multiple of 4096");
  }
  if (!log.directories.empty() && log.bytes_max / log.directories.size() < kMiB) {
    return OutOfRange("log.bytes_max", log.bytes_max, ">= 1 MiB a directory");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status StoreOptions::Validate() const {
  if (absl::Status status = ValidateMemory(memory); !status.ok()) return status;
  if (absl::Status status = ValidateLog(log); !status.ok()) return status;
  if (disk.queue_depth == 0 || disk.queue_depth > 4096) {
    return OutOfRange("disk.queue_depth", disk.queue_depth, "in 1..4096");
  }
  if (disk.split_bytes < kDiskAlign || disk.split_bytes % kDiskAlign != 0) {
    return OutOfRange("disk.split_bytes", disk.split_bytes, "a multiple of 4096");
  }
  if (disk.posix_threads == 0 || disk.posix_threads > 256) {
    return OutOfRange("disk.posix_threads", disk.posix_threads, "in 1..256");
  }
  if (namespaces_a_tenant_max == 0) {
    return OutOfRange("namespaces_a_tenant_max", namespaces_a_tenant_max, "at least 1");
  }
  if (namespaces_max == 0 || namespaces_max > 65535) {
    return OutOfRange("namespaces_max", namespaces_max, "in 1..65535");
  }
  if (pin_tokens_max == 0 || pin_tokens_max > (1u << 20)) {
    return OutOfRange("pin_tokens_max", pin_tokens_max, "in 1..1048576");
  }
  if (!(pinned_share_max >= 0 && pinned_share_max <= 0.5)) {
    return absl::InvalidArgumentError(
        absl::StrCat("pinned_share_max = ", pinned_share_max, ": must be in 0..0.5"));
  }
  if (index_blocks_max == 0 || index_blocks_max > (1ull << 32)) {
    return OutOfRange("index_blocks_max", index_blocks_max, "in 1..4294967296");
  }
  return absl::OkStatus();
}

}  // namespace kvgate::storage
