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

const char kNoDirectory[] = "no kvgated tells its data directory; give --data-dir";

// The sysfs folder of the whole disk below a path: /sys/dev/block/M:N, or its parent for a
// partition. Empty when the file system has no device (tmpfs, overlay).
std::string BlockFolder(const Host& host, const std::string& directory, std::string* name) {
  struct stat found {};
  if (stat(directory.c_str(), &found) != 0) return "";
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

Finding CheckScheduler(const Host& host, const std::string& directory) {
  std::string name;
  const std::string folder = BlockFolder(host, directory, &name);
  if (folder.empty()) {
    return {"disk_scheduler", Level::kNote,
            "the file system of " + directory + " has no block device of its own",
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

Finding CheckRaid(const Host& host, const std::string& directory) {
  std::string name;
  const std::string folder = BlockFolder(host, directory, &name);
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

Finding CheckSpace(const std::string& directory) {
  struct statvfs fs {};
  if (statvfs(directory.c_str(), &fs) != 0) {
    return {"disk_space", Level::kFail, directory + ": " + std::strerror(errno),
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

std::vector<Finding> CheckDisks(const Host& host) {
  if (host.data_dirs.empty()) {
    std::vector<Finding> unknown;
    for (const char* name : {"disk_scheduler", "raid", "disk_space"}) {
      unknown.push_back({name, Level::kNote, kNoDirectory, ""});
    }
    return unknown;
  }
  std::vector<Finding> all;
  for (const std::string& directory : host.data_dirs) {
    struct stat found {};
    if (host.dirs_of_daemon && stat(directory.c_str(), &found) != 0) {
      // A container has mounts of its own: its directory is not broken because it is not here.
      all.push_back({"disk_space", Level::kNote,
                     directory + " of kvgated: " + std::strerror(errno) + " from here",
                     "run doctor where kvgated runs, as its user"});
      continue;
    }
    for (const Finding& finding :
         {CheckScheduler(host, directory), CheckRaid(host, directory), CheckSpace(directory)}) {
      all.push_back(finding);
      if (host.data_dirs.size() > 1) all.back().found = directory + ": " + finding.found;
    }
  }
  return all;
}

}  // namespace kvgate::cli
