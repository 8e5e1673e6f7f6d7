// SPDX-License-Identifier: Apache-2.0
//
// Config: everything that an operator may set, with units and defaults.
//
// A setting comes from a flag (--flush-delay-ms), else from the environment
// (KVGATE_FLUSH_DELAY_MS), else from the YAML file (flush_delay_ms), else from the default; one
// table in settings.cc has all. Pure apart from reading the environment and the file. Plain data:
// thread-compatible. Errors: INVALID_ARGUMENT, one line that names the setting, where it stood, and
// the limit; an unknown key of the file is an error that names the nearest known one.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/logging.h"
#include "storage/options.h"

namespace kvgate::gateway {

inline constexpr uint64_t kDiskByHost = UINT64_MAX;

struct Config {
  std::vector<std::string> data_dirs;  // required; segments go to them in turn
  std::string run_dir;                 // sockets; empty: <first data directory>/run
  uint64_t memory_bytes = 0;           // 0: by the host (host_limits.h), once resolved
  uint64_t disk_bytes = kDiskByHost;   // over all directories; 0: no disk tier
  uint64_t segment_bytes = 0;          // 0: chosen when the directory is formatted
  storage::DiskOptions::Engine io_engine = storage::DiskOptions::Engine::kAuto;
  uint32_t flush_delay_ms = 2;
  std::vector<std::string> tenants = {"default"};  // one pair of sockets each
  std::string grpc_tcp;                            // host:port; empty: off
  std::string grpc_tcp_tenant = "default";
  bool allow_unpatched_grpc_tcp = false;
  std::string tokens_file;              // core/tokens.h; empty: doors ask for none
  std::string metrics = "127.0.0.1:0";  // host:port; empty: off
  uint64_t receive_bytes = 256ull << 20;
  uint64_t staging_bytes = 0;  // of local clients in sum, inside memory_bytes; 0: 1/8 of it
  uint32_t index_blocks_max = 16u << 20;
  uint32_t namespaces_max = 1024;
  uint32_t namespaces_a_tenant_max = 256;
  uint32_t namespace_idle_s = 86'400;
  uint32_t drain_ms = 10'000;  // how long a graceful stop waits for running calls
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
  uint32_t slow_ms = 1000;  // calls that take as long are logged; 0: none
  // Where a value was found, by the setting's name; not there: it is the default.
  std::map<std::string, std::string> sources;

  uint64_t staging_bytes_total() const {
    return staging_bytes != 0 ? staging_bytes : memory_bytes / 8;
  }
  // "--memory", "KVGATE_MEMORY from the environment", "FILE line 3: memory", "--memory by default".
  std::string SourceOf(const std::string& name) const;
  absl::Status Validate() const;
};

// Read when no other file is named, if it is there.
inline constexpr char kConfigPath[] = "/etc/kvgate/kvgate.yaml";

struct CommandLine {
  Config config;
  std::string print;       // not empty: print it and exit 0 (--help, --version, config …)
  bool check = false;      // config check: say whether `config` could be started
  bool effective = false;  // config print --effective: after `print`, what memory it comes to
};

// Also `kvgated config check|print [--effective]|schema|docs` and `kvgated metrics`.
absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv);

// Takes over from `now` what may change while the daemon runs; names the settings that differ and
// would need a restart.
std::vector<std::string> ApplyReload(const Config& now, Config* running);

// "4096", "512MiB", "1GiB", "64kB", "2 TiB".
absl::StatusOr<uint64_t> ParseBytes(std::string_view text);
std::string FormatBytes(uint64_t bytes);

}  // namespace kvgate::gateway
