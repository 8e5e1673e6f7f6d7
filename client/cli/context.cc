// SPDX-License-Identifier: Apache-2.0
#include "client/cli/context.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>

#include "nlohmann/json.hpp"
#include "proto/wire/error_id.h"

namespace kvgate::cli {

std::string FindRunDir(const std::string& given, const std::string& data_dir) {
  if (!given.empty()) return given;
  if (!data_dir.empty()) return data_dir + "/run";
  if (const char* path = std::getenv("KVGATE_RUN_DIR")) return path;
  return "/run/kvgate";
}

std::string OwnFolder() {
  char self[4096];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof(self));
  if (length <= 0) return ".";
  const std::string path(self, static_cast<size_t>(length));
  return path.substr(0, path.rfind('/'));
}

std::string Context::TenantSocket(const std::string& door) const {
  return run_dir + "/" + door + (tenant == "default" ? "" : "-" + tenant) + ".sock";
}

std::vector<std::string> Context::TenantsWithDoor() const {
  std::vector<std::string> tenants;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(run_dir, error)) {
    const std::string stem = entry.path().stem();
    if (entry.path().extension() != ".sock") continue;
    if (stem == "grpc") tenants.push_back("default");
    if (stem.rfind("grpc-", 0) == 0) tenants.push_back(stem.substr(5));
  }
  std::sort(tenants.begin(), tenants.end());
  return tenants;
}

std::string Joined(const std::vector<std::string>& words) {
  if (words.empty()) return "none";
  std::string out = words.front();
  for (size_t i = 1; i < words.size(); ++i) out += ", " + words[i];
  return out;
}

namespace {

// Whether somebody listens there: what connect said, 0 for yes.
int ConnectTo(const std::string& path) {
  sockaddr_un address{};
  if (path.size() >= sizeof(address.sun_path)) return ENAMETOOLONG;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return errno;
  const bool joined =
      connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  const int said = joined ? 0 : errno;
  close(probe);
  // A full backlog: it is there, and takes nobody.
  return said == EAGAIN ? 0 : said;
}

}  // namespace

Away WhyAway(const Context& context) {
  const std::string admin = context.AdminSocket();
  const std::string door = context.GrpcSocket();
  const std::string& run = context.run_dir;
  if (access(admin.c_str(), F_OK) != 0 && errno == EACCES) {
    return {"this user (uid " + std::to_string(getuid()) + ") may not enter " + run,
            "run this as the user of kvgated, or join the directory's group"};
  }
  if (access(admin.c_str(), F_OK) != 0) {
    return {"no kvgated has its sockets in " + run,
            "start one (kvgated --data-dir DIR, or systemctl start kvgated), or name its directory "
            "with --run-dir or --data-dir"};
  }
  if (access(door.c_str(), F_OK) != 0) {
    return {"tenant \"" + context.tenant + "\" has no door here (" + door + ")",
            "name one that has with --tenant: " + Joined(context.TenantsWithDoor())};
  }
  if (access(admin.c_str(), R_OK | W_OK) != 0) {
    return {admin + " is not yours to use", "run this as the user of kvgated"};
  }
  if (ConnectTo(admin) != 0) {
    return {"a kvgated that is gone left its sockets in " + run,
            "start it again; its log says why it stopped"};
  }
  return {"kvgated runs in " + run + " but does not answer",
          "its log says what it does; a device that hangs shows in dmesg; restart it if it hangs"};
}

int Fail(std::string_view what, wire::Code code, std::string_view message, const Context& context) {
  const bool away = code == wire::Code::kUnavailable || code == wire::Code::kDeadlineExceeded;
  const wire::ErrorId id = away ? wire::ErrorId::kNoGateway : wire::ErrorOf(code);
  std::fprintf(stderr, "kvgate %.*s: %.*s: %s\n", static_cast<int>(what.size()), what.data(),
               static_cast<int>(wire::CodeName(code).size()), wire::CodeName(code).data(),
               wire::Tagged(id, std::string(message)).c_str());
  if (code == wire::Code::kUnauthenticated) {
    std::fputs("  give a token: --token-file FILE, KVGATE_TOKEN_FILE or KVGATE_TOKEN\n", stderr);
  }
  if (!away) return kRefused;
  const Away why = WhyAway(context);
  std::fprintf(stderr, "  %s: %s\n", why.found.c_str(), why.todo.c_str());
  return kUnreachable;
}

void PrintJson(const nlohmann::json& json) {
  // Keys of clients are bytes, not always UTF-8.
  std::puts(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

std::string Hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const unsigned char byte : bytes) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

std::string Printable(std::string_view bytes) {
  for (const unsigned char byte : bytes) {
    if (!std::isprint(byte)) return "0x" + Hex(bytes);
  }
  return std::string(bytes);
}

bool ParseKey(const std::string& text, bool hex, std::string* key) {
  if (!hex) {
    *key = text;
    return !text.empty();
  }
  const std::string digits = text.rfind("0x", 0) == 0 ? text.substr(2) : text;
  if (digits.empty() || digits.size() % 2 != 0) return false;
  key->clear();
  for (size_t i = 0; i < digits.size(); i += 2) {
    if (!std::isxdigit(static_cast<unsigned char>(digits[i])) ||
        !std::isxdigit(static_cast<unsigned char>(digits[i + 1]))) {
      return false;
    }
    key->push_back(static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  }
  return true;
}

std::string Size(double bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), unit == 0 ? "%.0f %s" : "%.1f %s", bytes, kUnits[unit]);
  return text;
}

std::string Ago(uint64_t unix_ms) {
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  const double seconds = (static_cast<double>(now) - static_cast<double>(unix_ms)) / 1000;
  char text[32];
  if (seconds < 120) {
    std::snprintf(text, sizeof(text), "%.0f s ago", seconds < 0 ? 0 : seconds);
  } else if (seconds < 7200) {
    std::snprintf(text, sizeof(text), "%.0f min ago", seconds / 60);
  } else {
    std::snprintf(text, sizeof(text), "%.0f h ago", seconds / 3600);
  }
  return text;
}

std::string When(uint64_t unix_ms) {
  const auto seconds = static_cast<time_t>(unix_ms / 1000);
  std::tm local{};
  localtime_r(&seconds, &local);
  char text[40];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S%z", &local);
  return text;
}

}  // namespace kvgate::cli
