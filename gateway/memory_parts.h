// SPDX-License-Identifier: Apache-2.0
//
// What memory the process may come to hold, part by part, and whether the host has as much.
//
// Pure functions of the configuration and of what the host offers; thread-safe; no errors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gateway/config.h"
#include "gateway/host_limits.h"
#include "storage/options.h"

namespace kvgate::gateway {

inline constexpr uint64_t kAdminReceiveBytes = 16ull << 20;
inline constexpr uint32_t kLocalClientsMax = 64;  // of a door

// Clients of a local door map the pool, and all tenants' blocks lie in one pool: with a second
// tenant, by whatever door, there are none, and everybody comes by gRPC.
bool LocalDoorsAllowed(const Config& config);

storage::StoreOptions StoreOptionsOf(const Config& config);

struct MemoryPart {
  std::string name;
  uint64_t bytes = 0;
};
std::vector<MemoryPart> MemoryParts(const Config& config);
uint64_t MemorySum(const Config& config);

// "" when all fits below RAM and the control group's limit; else what is above which, and what to
// do. A start goes on: memory is taken as it is used.
std::string MemoryWarning(const Config& config, const HostMemory& host);

// The parts as comments of YAML.
std::string MemoryAsComments(const Config& config);

}  // namespace kvgate::gateway
