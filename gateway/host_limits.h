// SPDX-License-Identifier: Apache-2.0
//
// What this host offers, and the defaults that follow from it.
//
// Read* look at /proc, /sys and the file systems, once, at start. Default* are pure functions of
// those facts. Thread-safe. What cannot be read is 0, and the default then falls back.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace kvgate::gateway {

struct HostMemory {
  uint64_t ram_bytes = 0;
  uint64_t cgroup_bytes = 0;  // memory.max of this process' control group; 0: no limit
};
// `root` stands before /proc and /sys, for tests.
HostMemory ReadHostMemory(const std::string& root = "");

// min(10 % of RAM, a quarter of the control group's limit), in whole MiB, at least 64 MiB.
uint64_t DefaultMemoryBytes(const HostMemory& host);

struct DirectorySpace {
  uint64_t file_system = 0;  // equal for directories that share one
  uint64_t total_bytes = 0, free_bytes = 0;
  uint64_t made_with_bytes = 0;  // of the data file that is there; 0: none
};
// A directory that is not there yet is looked for in the nearest one above it that is.
std::vector<DirectorySpace> ReadDirectorySpace(std::span<const std::string> directories);

// Of the whole tier: what each directory was made with; of new ones 80 % of the free space, shared
// by those of one file system, but 5 % of it stay free. The smallest share counts for all.
uint64_t DefaultDiskBytes(std::span<const DirectorySpace> directories);

}  // namespace kvgate::gateway
