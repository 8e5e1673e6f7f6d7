// SPDX-License-Identifier: Apache-2.0
#include "gateway/settings.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "gateway/nearest.h"

namespace kvgate::gateway {
namespace {

absl::Status NotAllowed(const std::string& text) { return absl::InvalidArgumentError(text); }

absl::Status SetBytes(const std::string& text, uint64_t* bytes) {
  absl::StatusOr<uint64_t> parsed = ParseBytes(text);
  if (!parsed.ok()) return parsed.status();
  *bytes = *parsed;
  return absl::OkStatus();
}

absl::Status SetNumber(const std::string& text, uint32_t max, uint32_t* number) {
  uint32_t parsed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (error != std::errc() || end != text.data() + text.size() || parsed > max) {
    return NotAllowed(absl::StrCat("\"", text, "\" is not a number from 0 to ", max));
  }
  *number = parsed;
  return absl::OkStatus();
}

std::vector<std::string> SplitList(const std::string& text) {
  return absl::StrSplit(text, ',', absl::SkipEmpty());
}

// "off" and "" close a door; a bare port listens on loopback.
absl::Status SetAddress(const std::string& text, std::string* address) {
  if (text.empty() || text == "off") {
    address->clear();
    return absl::OkStatus();
  }
  const size_t colon = text.rfind(':');
  const std::string host = colon == std::string::npos ? "127.0.0.1" : text.substr(0, colon);
  const std::string port = colon == std::string::npos ? text : text.substr(colon + 1);
  uint32_t number = 0;
  if (host.empty() || port.empty() || !SetNumber(port, 65535, &number).ok()) {
    return NotAllowed(absl::StrCat("\"", text, "\" is not host:port, a port, or off"));
  }
  *address = absl::StrCat(host, ":", number);
  return absl::OkStatus();
}

absl::Status SetEngine(const std::string& text, storage::DiskOptions::Engine* engine) {
  using Engine = storage::DiskOptions::Engine;
  static const std::map<std::string, Engine> kEngines = {
      {"auto", Engine::kAuto}, {"uring", Engine::kUring}, {"posix", Engine::kPosix}};
  auto found = kEngines.find(text);
  if (found == kEngines.end()) {
    return NotAllowed(absl::StrCat("\"", text, "\" is not auto, uring or posix"));
  }
  *engine = found->second;
  return absl::OkStatus();
}

absl::Status SetLevel(const std::string& text, LogLevel* level) {
  static const std::map<std::string, LogLevel> kLevels = {{"error", LogLevel::kError},
                                                          {"warning", LogLevel::kWarning},
                                                          {"info", LogLevel::kInfo},
                                                          {"debug", LogLevel::kDebug}};
  auto found = kLevels.find(text);
  if (found == kLevels.end()) {
    return NotAllowed(absl::StrCat("\"", text, "\" is not error, warning, info or debug"));
  }
  *level = found->second;
  return absl::OkStatus();
}

using Kind = Setting::Kind;
using Text = const std::string&;

std::string EngineName(storage::DiskOptions::Engine engine) {
  using Engine = storage::DiskOptions::Engine;
  return engine == Engine::kUring ? "uring" : engine == Engine::kPosix ? "posix" : "auto";
}

std::string LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return "error";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kDebug:
      return "debug";
  }
  return "info";
}

std::string OffOr(const std::string& address) { return address.empty() ? "off" : address; }

// A size or a number that lives in one field of Config.
template <auto kField>
absl::Status SetSizeField(Text t, Config* c) {
  return SetBytes(t, &(c->*kField));
}
template <auto kField>
std::string GetSizeField(const Config& c) {
  return FormatBytes(c.*kField);
}
template <auto kField>
absl::Status SetNumberField(Text t, Config* c) {
  return SetNumber(t, UINT32_MAX, &(c->*kField));
}
template <auto kField>
std::string GetNumberField(const Config& c) {
  return absl::StrCat(c.*kField);
}
template <auto kField>
absl::Status SetTextField(Text t, Config* c) {
  c->*kField = t;
  return absl::OkStatus();
}
template <auto kField>
std::string GetTextField(const Config& c) {
  return c.*kField;
}
template <auto kField>
absl::Status SetListField(Text t, Config* c) {
  c->*kField = SplitList(t);
  return absl::OkStatus();
}
template <auto kField>
std::string GetListField(const Config& c) {
  return absl::StrJoin(c.*kField, ",");
}
template <auto kField>
absl::Status SetAddressField(Text t, Config* c) {
  return SetAddress(t, &(c->*kField));
}
template <auto kField>
std::string GetAddressField(const Config& c) {
  return OffOr(c.*kField);
}

constexpr uint64_t kMiB = 1ull << 20;

#define KVGATE_SETTING(kind, field) \
  Set##kind##Field<&Config::field>, Get##kind##Field<&Config::field>
const Setting kSettings[] = {
    {"data-dir", Kind::kList, 0, 0, "", false,
     "data directories; segments of the log go to them in turn", "required",
     KVGATE_SETTING(List, data_dirs)},
    {"run-dir", Kind::kText, 0, 0, "", false,
     "directory of the sockets and of `metrics.port`; its mode (0750) decides who connects",
     "`run` in the first data directory", KVGATE_SETTING(Text, run_dir)},
    {"memory", Kind::kSize, 16 * kMiB, UINT64_MAX, "", false,
     "the memory tier, staging of local clients included",
     "the lesser of 10 % of RAM and a quarter of the control group's limit",
     KVGATE_SETTING(Size, memory_bytes)},
    {"disk", Kind::kSize, 0, UINT64_MAX, "", false,
     "the disk tier over all data directories; 0 = none",
     "80 % of the free space, leaving 5 % of each file system; what a directory was made with",
     KVGATE_SETTING(Size, disk_bytes)},
    {"segment-bytes", Kind::kSize, 0, UINT64_MAX, "", false,
     "segment of the log; fixed when a directory is formatted", "chosen by size",
     KVGATE_SETTING(Size, segment_bytes)},
    {"io-engine", Kind::kChoice, 0, 0, "auto|uring|posix", false,
     "how disks are read and written; auto is the better one that the kernel allows", nullptr,
     [](Text t, Config* c) { return SetEngine(t, &c->io_engine); },
     [](const Config& c) { return EngineName(c.io_engine); }},
    {"flush-delay-ms", Kind::kNumber, 0, 1000, "", false,
     "how long small values wait for company before a write", nullptr,
     KVGATE_SETTING(Number, flush_delay_ms)},
    {"tenants", Kind::kList, 0, 0, "", false,
     "1 to 8 names; more than one have sockets of their own: `grpc-NAME.sock`, `local-NAME.sock`",
     nullptr, KVGATE_SETTING(List, tenants)},
    {"grpc-tcp", Kind::kAddress, 0, 0, "", false,
     "gRPC on TCP: `host:port`, or a port on 127.0.0.1; port 0 = any; no encryption", nullptr,
     KVGATE_SETTING(Address, grpc_tcp)},
    {"grpc-tcp-tenant", Kind::kText, 0, 0, "", false, "the tenant of everybody who comes by TCP",
     nullptr, KVGATE_SETTING(Text, grpc_tcp_tenant)},
    {"allow-unpatched-grpc-tcp", Kind::kChoice, 0, 0, "true|false", false,
     "needed for a `grpc-tcp` that is not loopback: gRPC 1.51 has published faults "
     "(docs/threat-model.md)",
     nullptr,
     [](Text t, Config* c) {
       if (t != "true" && t != "false") {
         return NotAllowed(absl::StrCat("\"", t, "\" is not true or false"));
       }
       c->allow_unpatched_grpc_tcp = t == "true";
       return absl::OkStatus();
     },
     [](const Config& c) { return std::string(c.allow_unpatched_grpc_tcp ? "true" : "false"); }},
    {"tokens-file", Kind::kText, 0, 0, "", false,
     "file of lines `TENANT TOKEN`, 0640 at most, or `off`: every door but the operator's asks for "
     "one; read again on SIGHUP",
     nullptr,
     [](Text t, Config* c) {
       c->tokens_file = t == "off" ? "" : t;
       return absl::OkStatus();
     },
     [](const Config& c) { return OffOr(c.tokens_file); }},
    {"metrics", Kind::kAddress, 0, 0, "", false, "Prometheus: `host:port`, port 0 = any, or `off`",
     nullptr, KVGATE_SETTING(Address, metrics)},
    {"receive-bytes", Kind::kSize, 70 * kMiB, UINT64_MAX, "", false,
     "budget of gRPC messages being received, for each gRPC door; an Offer above it is "
     "NOT_ADMITTED",
     nullptr, KVGATE_SETTING(Size, receive_bytes)},
    {"staging-bytes", Kind::kSize, 0, UINT64_MAX, "", false,
     "shared staging of local clients, in sum", "1/8 of memory",
     KVGATE_SETTING(Size, staging_bytes)},
    {"index-blocks-max", Kind::kNumber, 1024, UINT32_MAX, "", false,
     "blocks that may be known at a time; the oldest segment is reclaimed above it", nullptr,
     KVGATE_SETTING(Number, index_blocks_max)},
    {"namespaces-max", Kind::kNumber, 1, 65535, "", false, "namespaces of all tenants", nullptr,
     KVGATE_SETTING(Number, namespaces_max)},
    {"namespaces-a-tenant-max", Kind::kNumber, 1, 65535, "", false, "namespaces of one tenant",
     nullptr, KVGATE_SETTING(Number, namespaces_a_tenant_max)},
    {"namespace-idle-s", Kind::kNumber, 1, UINT32_MAX, "", false,
     "at a limit of namespaces, those that are empty, have no alias and were not used for so many "
     "seconds are forgotten",
     nullptr, KVGATE_SETTING(Number, namespace_idle_s)},
    {"drain-ms", Kind::kNumber, 0, 600'000, "", true,
     "how long a graceful stop waits for running calls", nullptr, KVGATE_SETTING(Number, drain_ms)},
    {"log-level", Kind::kChoice, 0, 0, "error|warning|info|debug", true,
     "what is written to stderr", nullptr,
     [](Text t, Config* c) { return SetLevel(t, &c->log_level); },
     [](const Config& c) { return LevelName(c.log_level); }},
    {"log-format", Kind::kChoice, 0, 0, "text|json", true,
     "lines for people, or one JSON object a line", nullptr,
     [](Text t, Config* c) {
       if (t != "text" && t != "json") {
         return NotAllowed(absl::StrCat("\"", t, "\" is not text or json"));
       }
       c->log_format = t == "json" ? LogFormat::kJson : LogFormat::kText;
       return absl::OkStatus();
     },
     [](const Config& c) {
       return std::string(c.log_format == LogFormat::kJson ? "json" : "text");
     }},
    {"slow-ms", Kind::kNumber, 0, 3'600'000, "", true,
     "calls that take as long or longer are logged, with where the time went; 0 = none", nullptr,
     KVGATE_SETTING(Number, slow_ms)},
};
#undef KVGATE_SETTING

}  // namespace

std::span<const Setting> Settings() { return kSettings; }

std::string Setting::flag() const { return absl::StrCat("--", name); }
std::string Setting::key() const { return absl::StrReplaceAll(name, {{"-", "_"}}); }
std::string Setting::variable() const {
  return absl::StrCat("KVGATE_", absl::AsciiStrToUpper(key()));
}

std::string Setting::DefaultText() const {
  return default_text != nullptr ? default_text : get(Config());
}

absl::Status Setting::Apply(const std::string& text, Config* config) const {
  if (absl::Status status = set(text, config); !status.ok()) return status;
  if (kind != Kind::kSize && kind != Kind::kNumber) return absl::OkStatus();
  const uint64_t value = *ParseBytes(text);
  if (value >= min && value <= max) return absl::OkStatus();
  const auto shown = [this](uint64_t n) {
    return kind == Kind::kSize ? FormatBytes(n) : absl::StrCat(n);
  };
  if (value < min) {
    return NotAllowed(absl::StrCat(shown(value), ", at least ", shown(min), " is needed"));
  }
  return NotAllowed(absl::StrCat(shown(value), ", at most ", shown(max), " is allowed"));
}

std::string NearestKey(const std::string& key) {
  std::vector<std::string> keys;
  for (const Setting& setting : Settings()) keys.push_back(setting.key());
  return Nearest(key, keys);
}

}  // namespace kvgate::gateway
