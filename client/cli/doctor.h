// SPDX-License-Identifier: Apache-2.0
//
// Doctor: looks at the host as kvgate needs it, and says for each point what to do.
//
// Every check reads /proc and /sys below Host::root (so that tests bring their own) or asks the
// kernel once; none changes anything. Thread-compatible. A point that cannot be looked at is kNote
// with the reason, never kOk.
#pragma once

#include <string>
#include <vector>

namespace kvgate::cli {

enum class Level { kOk, kNote, kWarn, kFail };
std::string LevelName(Level level);  // "ok", "note", "warn", "FAIL"

struct Finding {
  std::string name;  // stable: for programs
  Level level = Level::kOk;
  std::string found;
  std::string todo;  // empty when there is nothing to do
};

struct Host {
  std::string root;                    // before /proc and /sys; empty: this host
  std::vector<std::string> data_dirs;  // of the daemon; empty: unknown
  bool dirs_of_daemon = false;         // it told them: they may be out of sight here
  std::string python = "python3";

  // The file's text without its last newline; empty when it cannot be read.
  std::string Read(const std::string& path) const;
};

Finding CheckKernel(const Host& host);
Finding CheckIoUring(const Host& host);  // kernel, sysctl, seccomp
Finding CheckMemlock(const Host& host);
Finding CheckCgroupMemory(const Host& host);
Finding CheckSwap(const Host& host);
Finding CheckHugePages(const Host& host);
Finding CheckNuma(const Host& host);
std::vector<Finding> CheckDisks(const Host& host);  // the next three, of each data directory
Finding CheckScheduler(const Host& host, const std::string& directory);  // of its device
Finding CheckRaid(const Host& host, const std::string& directory);  // chunk of an md array below
Finding CheckSpace(const std::string& directory);
Finding CheckClock(const Host& host);
Finding CheckCpu(const Host& host);  // x86-64-v2
Finding CheckCuda(const Host& host);
std::vector<Finding> CheckPython(const Host& host);  // Python, torch, vLLM, kvgate
Finding CheckConnector(const Host& host);            // --kv-transfer-config of running engines

std::vector<Finding> CheckHost(const Host& host);  // all of them

}  // namespace kvgate::cli
