// SPDX-License-Identifier: Apache-2.0
#include "gateway/host_limits.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace kvgate::gateway {
namespace {

constexpr uint64_t kMiB = 1ull << 20;
constexpr uint64_t kMemoryMin = 64 * kMiB;

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

uint64_t KibField(const std::string& text, const std::string& name) {
  const size_t at = text.find(name);
  return at == std::string::npos
             ? 0
             : std::strtoull(text.c_str() + at + name.size(), nullptr, 10) * 1024;
}

}  // namespace

HostMemory ReadHostMemory(const std::string& root) {
  HostMemory host;
  host.ram_bytes = KibField(ReadText(root + "/proc/meminfo"), "MemTotal:");
  const std::string group = ReadText(root + "/proc/self/cgroup");
  const size_t at = group.rfind("0::");
  std::string path = at == std::string::npos ? "/" : group.substr(at + 3);
  path = path.substr(0, path.find('\n'));
  // In a container the path may be of the outside; its own group is then the root that it sees.
  for (const std::string& folder : {path, std::string()}) {
    const std::string limit = ReadText(root + "/sys/fs/cgroup" + folder + "/memory.max");
    if (limit.empty()) continue;
    host.cgroup_bytes = std::strtoull(limit.c_str(), nullptr, 10);  // 0 for "max"
    break;
  }
  return host;
}

uint64_t DefaultMemoryBytes(const HostMemory& host) {
  uint64_t bytes = host.ram_bytes / 10;
  if (host.cgroup_bytes != 0) bytes = std::min(bytes, host.cgroup_bytes / 4);
  return std::max(bytes / kMiB * kMiB, kMemoryMin);
}

std::vector<DirectorySpace> ReadDirectorySpace(std::span<const std::string> directories) {
  std::vector<DirectorySpace> all;
  for (const std::string& directory : directories) {
    DirectorySpace& out = all.emplace_back();
    std::error_code error;
    const std::filesystem::path data = std::filesystem::path(directory) / "kvgate.data";
    const uintmax_t made = std::filesystem::file_size(data, error);
    if (!error) out.made_with_bytes = made;
    std::filesystem::path there = std::filesystem::absolute(directory, error);
    while (!std::filesystem::exists(there, error) && there.has_parent_path() &&
           there != there.parent_path()) {
      there = there.parent_path();
    }
    struct stat info {};
    struct statvfs space {};
    if (stat(there.c_str(), &info) != 0 || statvfs(there.c_str(), &space) != 0) continue;
    out.file_system = info.st_dev;
    out.total_bytes = uint64_t{space.f_blocks} * space.f_frsize;
    out.free_bytes = uint64_t{space.f_bavail} * space.f_frsize;
  }
  return all;
}

uint64_t DefaultDiskBytes(std::span<const DirectorySpace> directories) {
  uint64_t share = UINT64_MAX;
  for (const DirectorySpace& directory : directories) {
    if (directory.made_with_bytes != 0) {
      share = std::min(share, directory.made_with_bytes);
      continue;
    }
    const auto sharing = std::count_if(directories.begin(), directories.end(), [&](const auto& d) {
      return d.file_system == directory.file_system && d.made_with_bytes == 0;
    });
    const uint64_t spared = directory.total_bytes / 20;
    const uint64_t most = directory.free_bytes > spared ? directory.free_bytes - spared : 0;
    share = std::min(share,
                     std::min(directory.free_bytes / 5 * 4, most) / static_cast<uint64_t>(sharing));
  }
  return directories.empty() ? 0 : share / kMiB * kMiB * directories.size();
}

}  // namespace kvgate::gateway
