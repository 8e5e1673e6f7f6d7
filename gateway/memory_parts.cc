// SPDX-License-Identifier: Apache-2.0
#include "gateway/memory_parts.h"

#include "absl/strings/str_cat.h"
#include "gateway/local/door.h"
#include "proto/wire/key.h"

namespace kvgate::gateway {
namespace {

constexpr uint64_t kMebibyte = 1ull << 20;
constexpr uint64_t kIndexBytesABlock = 64;
constexpr uint64_t kBaseBytes = 200 * kMebibyte, kConnectionBytes = kMebibyte;

}  // namespace

bool LocalDoorsAllowed(const Config& config) {
  return config.tenants.size() == 1 &&
         (config.grpc_tcp.empty() || config.grpc_tcp_tenant == config.tenants.front());
}

storage::StoreOptions StoreOptionsOf(const Config& config) {
  storage::StoreOptions options;
  // Staging lies in memory that the operator gave: what is left is the pool.
  options.index_blocks_max = config.index_blocks_max;
  options.namespaces_a_tenant_max = config.namespaces_a_tenant_max;
  options.memory.bytes_max = config.memory_bytes - config.staging_bytes_total();
  if (config.disk_bytes > 0) options.log.directories = config.data_dirs;
  // The same whole MiB for each directory.
  options.log.bytes_max = config.disk_bytes - config.disk_bytes % (config.data_dirs.size() << 20);
  options.log.segment_bytes = config.segment_bytes;
  options.log.flush_delay_ms = config.flush_delay_ms;
  options.disk.engine = config.io_engine;
  options.namespaces_max = config.namespaces_max;
  options.namespace_idle_s = config.namespace_idle_s;
  return options;
}

std::vector<MemoryPart> MemoryParts(const Config& config) {
  const storage::StoreOptions store = StoreOptionsOf(config);
  const uint64_t grpc_doors = config.tenants.size() + (config.grpc_tcp.empty() ? 0 : 1);
  return {
      {"memory pool", store.memory.bytes_max},
      {"local staging", config.staging_bytes_total()},
      {"local requests", LocalDoorsAllowed(config) ? LocalDoorOptions().request_bytes_max : 0},
      {"gRPC receive budget", config.receive_bytes * grpc_doors + kAdminReceiveBytes},
      {"gRPC message above it", wire::kMessageBytesMax * grpc_doors},
      {"log write queue", store.log.directories.empty() ? 0 : store.log.write_queue_bytes_max},
      {"index", store.index_blocks_max * kIndexBytesABlock},
      {"base and connections",
       kBaseBytes + kLocalClientsMax * config.tenants.size() * kConnectionBytes},
  };
}

uint64_t MemorySum(const Config& config) {
  uint64_t sum = 0;
  for (const MemoryPart& part : MemoryParts(config)) sum += part.bytes;
  return sum;
}

std::string MemoryWarning(const Config& config, const HostMemory& host) {
  const bool group =
      host.cgroup_bytes != 0 && (host.ram_bytes == 0 || host.cgroup_bytes < host.ram_bytes);
  const uint64_t limit = group ? host.cgroup_bytes : host.ram_bytes;
  const uint64_t sum = MemorySum(config);
  if (limit == 0 || sum <= limit) return "";
  const std::string whose = absl::StrCat(group ? "the control group's limit" : "this machine's RAM",
                                         " of ", FormatBytes(limit));
  const std::string memory =
      absl::StrCat(config.SourceOf("memory"), ": ", FormatBytes(config.memory_bytes));
  const uint64_t fixed = sum - config.memory_bytes;
  const std::string todo =
      fixed + (64 << 20) < limit
          ? absl::StrCat("at most ", FormatBytes((limit - fixed) / kMebibyte * kMebibyte), " fit")
          : "lower index_blocks_max and receive_bytes too";
  if (config.memory_bytes > limit) {
    return absl::StrCat(memory, " is above ", whose,
                        ": the kernel will end the daemon, or another process, when it fills; ",
                        todo);
  }
  return absl::StrCat(memory, " and ", FormatBytes(fixed), " beside it (limit sum ",
                      FormatBytes(sum), ") are above ", whose,
                      ": when all of it is used, the kernel ends the daemon or another process; ",
                      todo);
}

std::string MemoryAsComments(const Config& config) {
  std::string out = "# What the process may come to hold:\n";
  for (const MemoryPart& part : MemoryParts(config)) {
    absl::StrAppend(&out, "#   ", part.name, " ", FormatBytes(part.bytes), "\n");
  }
  return absl::StrCat(out, "#   limit sum ", FormatBytes(MemorySum(config)), "\n");
}

}  // namespace kvgate::gateway
