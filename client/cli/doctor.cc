// SPDX-License-Identifier: Apache-2.0
//
// Checks of kernel, memory and CPU; disks and software are in doctor_disk.cc, doctor_software.cc.
#include "client/cli/doctor.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "client/cli/context.h"

namespace kvgate::cli {
namespace {

constexpr double kMemlockWanted = 64.0 * (1 << 20);

// The value of "Name:   123 kB" in a file such as /proc/meminfo, in bytes; -1 when absent.
double KibField(const std::string& text, const std::string& name) {
  const size_t at = text.find(name + ":");
  if (at == std::string::npos) return -1;
  return std::strtod(text.c_str() + at + name.size() + 1, nullptr) * 1024;
}

}  // namespace

std::string LevelName(Level level) {
  switch (level) {
    case Level::kOk:
      return "ok";
    case Level::kNote:
      return "note";
    case Level::kWarn:
      return "warn";
    case Level::kFail:
      return "FAIL";
  }
  return "FAIL";
}

std::string Host::Read(const std::string& path) const {
  std::ifstream file(root + path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

Finding CheckKernel(const Host& host) {
  std::string release = host.Read("/proc/sys/kernel/osrelease");
  int major = 0, minor = 0;
  if (std::sscanf(release.c_str(), "%d.%d", &major, &minor) != 2) {
    return {"kernel", Level::kNote, "its version cannot be read", ""};
  }
  Finding out{"kernel", Level::kOk, "Linux " + release, ""};
  if (major < 5 || (major == 5 && minor < 1)) {
    out.level = Level::kFail;
    out.todo = "kvgated needs Linux 5.1 or later";
  } else if (major < 6 || (major == 6 && minor < 1)) {
    out.level = Level::kNote;
    out.todo =
        "6.1 or later has the io_uring that kvgated is measured with; older ones work, "
        "slower";
  }
  return out;
}

Finding CheckIoUring(const Host& host) {
  Finding out{"io_uring", Level::kOk, "allowed", ""};
  const std::string disabled = host.Read("/proc/sys/kernel/io_uring_disabled");
  if (disabled == "2" || disabled == "1") {
    out = {"io_uring", Level::kWarn, "kernel.io_uring_disabled = " + disabled,
           "sysctl kernel.io_uring_disabled=0; until then kvgated uses the slower posix engine"};
    return out;
  }
  if (!host.root.empty()) return out;
  // A null argument: a kernel that would serve the call answers EFAULT and makes nothing.
  if (syscall(SYS_io_uring_setup, 0, nullptr) < 0) {
    if (errno == ENOSYS) {
      out = {"io_uring", Level::kWarn, "this kernel, or a seccomp filter, does not know it",
             "in a container: allow io_uring_setup, io_uring_enter and io_uring_register in its "
             "seccomp profile; until then kvgated uses the slower posix engine"};
    } else if (errno == EPERM || errno == EACCES) {
      out = {"io_uring", Level::kWarn, "forbidden here, most likely by a seccomp filter",
             "allow io_uring_setup, io_uring_enter and io_uring_register in the container's "
             "seccomp profile; until then kvgated uses the slower posix engine"};
    }
  }
  return out;
}

Finding CheckMemlock(const Host& host) {
  rlimit limit{};
  double bytes = 0;
  const std::string limits = host.Read("/proc/self/limits");
  const size_t at = limits.find("Max locked memory");
  if (at != std::string::npos && !host.root.empty()) {
    const std::string rest = limits.substr(at + 17);
    bytes = rest.find("unlimited") < 20 ? -1 : std::strtod(rest.c_str(), nullptr);
  } else {
    getrlimit(RLIMIT_MEMLOCK, &limit);
    bytes = limit.rlim_cur == RLIM_INFINITY ? -1 : static_cast<double>(limit.rlim_cur);
  }
  if (bytes < 0) return {"memlock", Level::kOk, "unlimited", ""};
  Finding out{"memlock", Level::kOk, Size(bytes), ""};
  if (bytes < kMemlockWanted) {
    out.level = Level::kWarn;
    out.todo =
        "ulimit -l unlimited (LimitMEMLOCK=infinity in the unit): io_uring cannot register "
        "the pool's memory otherwise, and copies cost more";
  }
  return out;
}

Finding CheckCgroupMemory(const Host& host) {
  // The limit of this shell's group; the daemon's own is in its unit.
  const std::string group = host.Read("/proc/self/cgroup");
  const size_t at = group.rfind("0::");
  std::string path = at == std::string::npos ? "" : group.substr(at + 3);
  path = path.substr(0, path.find('\n'));
  std::string limit = host.Read("/sys/fs/cgroup" + path + "/memory.max");
  if (limit.empty()) limit = host.Read("/sys/fs/cgroup/memory.max");
  if (limit.empty() || limit == "max") {
    return {"cgroup_memory", Level::kOk, "no limit of this control group", ""};
  }
  const double bytes = std::strtod(limit.c_str(), nullptr);
  Finding out{"cgroup_memory", Level::kNote, "memory.max = " + Size(bytes), ""};
  out.todo = "--memory must leave room below it: the pool, 200 MiB, and the receive budget count";
  return out;
}

Finding CheckSwap(const Host& host) {
  const double total = KibField(host.Read("/proc/meminfo"), "SwapTotal");
  if (total < 0) return {"swap", Level::kNote, "/proc/meminfo cannot be read", ""};
  if (total == 0) return {"swap", Level::kOk, "none", ""};
  return {"swap", Level::kWarn, Size(total) + " of swap",
          "a pool that is swapped is slower than recomputing: MemorySwapMax=0 (the unit has it), "
          "or swapoff -a"};
}

Finding CheckHugePages(const Host& host) {
  const std::string setting = host.Read("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
  const size_t open = setting.find('['), close = setting.find(']');
  const std::string now =
      open == std::string::npos ? "" : setting.substr(open + 1, close - open - 1);
  if (now.empty()) return {"huge_pages", Level::kNote, "the kernel has none for shared memory", ""};
  if (now == "advise" || now == "always" || now == "within_size" || now == "force") {
    return {"huge_pages", Level::kOk, "shared memory: " + now, ""};
  }
  return {"huge_pages", Level::kNote, "shared memory: " + now,
          "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled makes large copies a "
          "little faster"};
}

Finding CheckNuma(const Host& host) {
  const std::string online = host.Read("/sys/devices/system/node/online");
  if (online.empty()) return {"numa", Level::kNote, "cannot be read", ""};
  if (online == "0") return {"numa", Level::kOk, "one node", ""};
  return {"numa", Level::kNote, "nodes " + online,
          "bind kvgated to the node of the GPUs and NVMe drives (NUMAPolicy=, CPUAffinity= in the "
          "unit): a pool of each node is not built yet"};
}

Finding CheckCpu(const Host& host) {
  const std::string info = host.Read("/proc/cpuinfo");
  const size_t at = info.find("flags");
  if (at == std::string::npos) return {"cpu", Level::kNote, "no x86 flags to be seen", ""};
  const std::string flags = info.substr(at, info.find('\n', at) - at) + " ";
  for (const char* wanted : {" sse4_2 ", " popcnt ", " ssse3 ", " cx16 "}) {
    if (flags.find(wanted) == std::string::npos) {
      return {"cpu", Level::kFail, std::string("lacks") + wanted,
              "kvgate needs x86-64-v2; in a virtual machine choose CPU type host"};
    }
  }
  return {"cpu", Level::kOk,
          flags.find(" avx2 ") != std::string::npos ? "x86-64-v2, AVX2" : "x86-64-v2", ""};
}

Finding CheckClock(const Host& host) {
  const std::string source =
      host.Read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  if (source.empty()) return {"clock", Level::kNote, "its source cannot be read", ""};
  if (source == "tsc" || source == "kvm-clock" || source == "arch_sys_counter" ||
      source == "hyperv_clocksource_tsc_page") {
    return {"clock", Level::kOk, source, ""};
  }
  return {"clock", Level::kWarn, source,
          "reading the clock is slow here, and every deadline reads it: boot with "
          "clocksource=tsc if the CPU's is stable"};
}

std::vector<Finding> CheckHost(const Host& host) {
  std::vector<Finding> all = {CheckKernel(host),    CheckCpu(host),          CheckIoUring(host),
                              CheckMemlock(host),   CheckCgroupMemory(host), CheckSwap(host),
                              CheckHugePages(host), CheckNuma(host)};
  for (Finding& finding : CheckDisks(host)) all.push_back(std::move(finding));
  all.push_back(CheckClock(host));
  all.push_back(CheckCuda(host));
  for (Finding& finding : CheckPython(host)) all.push_back(std::move(finding));
  all.push_back(CheckConnector(host));
  return all;
}

}  // namespace kvgate::cli
