// SPDX-License-Identifier: Apache-2.0
//
// Checks of the data directory and the devices below it.
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "client/cli/context.h"
#include "client/cli/doctor.h"

namespace kvgate::cli {
namespace {

const char kNoDirectory[] = "no data directory named; give --data-dir";

// The sysfs folder of the whole disk below a path: /sys/dev/block/M:N, or its parent for a
// partition. Empty when the file system has no device (tmpfs, overlay).
std::string BlockFolder(const Host& host, std::string* name) {
  struct stat found {};
  if (stat(host.data_dir.c_str(), &found) != 0) return "";
  std::error_code error;
  const std::string link = host.root + "/sys/dev/block/" + std::to_string(major(found.st_dev)) +
                           ":" + std::to_string(minor(found.st_dev));
  std::filesystem::path folder = std::filesystem::canonical(link, error);
  if (error) return "";
  if (std::filesystem::exists(folder / "partition", error)) folder = folder.parent_path();
  *name = folder.filename();
  return folder.string().substr(host.root.size());
}

}  // namespace

Finding CheckScheduler(const Host& host) {
  if (host.data_dir.empty()) return {"disk_scheduler", Level::kNote, kNoDirectory, ""};
  std::string name;
  const std::string folder = BlockFolder(host, &name);
  if (folder.empty()) {
    return {"disk_scheduler", Level::kNote,
            "the file system of " + host.data_dir + " has no block device of its own",
            "put the data directory on ext4 or XFS on an NVMe drive: O_DIRECT needs one"};
  }
  const std::string text = host.Read(folder + "/queue/scheduler");
  const size_t open = text.find('['), close = text.find(']');
  if (open == std::string::npos) {
    return {"disk_scheduler", Level::kNote, name + ": cannot be read", ""};
  }
  const std::string now = text.substr(open + 1, close - open - 1);
  if (now == "none" || now == "mq-deadline") {
    return {"disk_scheduler", Level::kOk, name + ": " + now, ""};
  }
  return {"disk_scheduler", Level::kWarn, name + ": " + now,
          "echo none > /sys/block/" + name + "/queue/scheduler: kvgated orders its own I/O"};
}

Finding CheckRaid(const Host& host) {
  if (host.data_dir.empty()) return {"raid", Level::kNote, kNoDirectory, ""};
  std::string name;
  const std::string folder = BlockFolder(host, &name);
  const std::string level = folder.empty() ? "" : host.Read(folder + "/md/level");
  if (level.empty()) return {"raid", Level::kOk, "no md array below the data directory", ""};
  const double chunk = std::strtod(host.Read(folder + "/md/chunk_size").c_str(), nullptr);
  Finding out{"raid", Level::kOk, name + ": " + level + ", chunks of " + Size(chunk), ""};
  if (level != "raid0") {
    out.level = Level::kNote;
    out.todo = "a cache needs no redundancy: RAID0, or one data directory a drive, is faster";
  } else if (chunk > 0 && (chunk < 64 << 10 || chunk > 1 << 20)) {
    out.level = Level::kNote;
    out.todo =
        "chunks of 128 to 512 KiB spread a block of 1 MiB over the drives; better still: "
        "no array, and one data directory a drive";
  }
  return out;
}

Finding CheckSpace(const Host& host) {
  if (host.data_dir.empty()) return {"disk_space", Level::kNote, kNoDirectory, ""};
  struct statvfs fs {};
  if (statvfs(host.data_dir.c_str(), &fs) != 0) {
    return {"disk_space", Level::kFail, host.data_dir + ": " + std::strerror(errno),
            "make the directory, or name another with --data-dir"};
  }
  const double total = static_cast<double>(fs.f_blocks) * static_cast<double>(fs.f_frsize);
  const double left = static_cast<double>(fs.f_bavail) * static_cast<double>(fs.f_frsize);
  Finding out{"disk_space", Level::kOk, Size(left) + " of " + Size(total) + " free", ""};
  if (left < total / 20) {
    out.level = Level::kWarn;
    out.todo =
        "less than 5 % is free: the file system slows down, and other programs fail; lower "
        "--disk";
  }
  return out;
}

}  // namespace kvgate::cli
