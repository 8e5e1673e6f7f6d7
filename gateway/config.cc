// SPDX-License-Identifier: Apache-2.0
#include "gateway/config.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "gateway/core/text.h"
#include "gateway/flags.h"
#include "gateway/version.h"

namespace kvgate::gateway {
namespace {

absl::Status Invalid(const std::string& text) { return absl::InvalidArgumentError(text); }

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
    return Invalid(absl::StrCat("\"", text, "\" is not a number from 0 to ", max));
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
    return Invalid(absl::StrCat("\"", text, "\" is not host:port, a port, or off"));
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
    return Invalid(absl::StrCat("\"", text, "\" is not auto, uring or posix"));
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
    return Invalid(absl::StrCat("\"", text, "\" is not error, warning, info or debug"));
  }
  *level = found->second;
  return absl::OkStatus();
}

// The one list of settings. The flag is --name; the key in the file and the variable follow from
// it.
struct Setting {
  const char* name;
  const char* help;
  absl::Status (*set)(const std::string& text, Config* config);

  std::string flag() const { return absl::StrCat("--", name); }
  std::string key() const { return absl::StrReplaceAll(name, {{"-", "_"}}); }
  std::string variable() const { return absl::StrCat("KVGATE_", absl::AsciiStrToUpper(key())); }
};

using Text = const std::string&;

const Setting kSettings[] = {
    {"data-dir", "data directories, repeatable or with commas (required)",
     [](Text t, Config* c) {
       c->data_dirs = SplitList(t);
       return absl::OkStatus();
     }},
    {"run-dir", "directory of the sockets; default: <first data directory>/run",
     [](Text t, Config* c) {
       c->run_dir = t;
       return absl::OkStatus();
     }},
    {"memory", "memory tier, e.g. 64GiB; default 512MiB",
     [](Text t, Config* c) { return SetBytes(t, &c->memory_bytes); }},
    {"disk", "disk tier over all data directories, 0 = none; default 4GiB",
     [](Text t, Config* c) { return SetBytes(t, &c->disk_bytes); }},
    {"segment-bytes", "segment of the log, fixed when formatted; default: chosen by size",
     [](Text t, Config* c) { return SetBytes(t, &c->segment_bytes); }},
    {"io-engine", "auto, uring or posix; default auto",
     [](Text t, Config* c) { return SetEngine(t, &c->io_engine); }},
    {"flush-delay-ms", "how long small values wait for company before a write; default 2",
     [](Text t, Config* c) { return SetNumber(t, 1000, &c->flush_delay_ms); }},
    {"tenants", "tenant names with commas, each with sockets of its own; default \"default\"",
     [](Text t, Config* c) {
       c->tenants = SplitList(t);
       return absl::OkStatus();
     }},
    {"grpc-tcp", "gRPC on TCP: host:port, or a port on 127.0.0.1; default off",
     [](Text t, Config* c) { return SetAddress(t, &c->grpc_tcp); }},
    {"grpc-tcp-tenant", "the tenant of clients on TCP; default \"default\"",
     [](Text t, Config* c) {
       c->grpc_tcp_tenant = t;
       return absl::OkStatus();
     }},
    {"metrics", "Prometheus: host:port, port 0 = any, or off; default 127.0.0.1:0",
     [](Text t, Config* c) { return SetAddress(t, &c->metrics); }},
    {"receive-bytes", "budget of gRPC messages being received; default 256MiB",
     [](Text t, Config* c) { return SetBytes(t, &c->receive_bytes); }},
    {"staging-bytes", "shared staging of local clients in sum; default 1/8 of memory",
     [](Text t, Config* c) { return SetBytes(t, &c->staging_bytes); }},
    {"namespaces-max", "namespaces open at a time; default 1024",
     [](Text t, Config* c) { return SetNumber(t, 65535, &c->namespaces_max); }},
    {"drain-ms", "how long a graceful stop waits for running calls; default 10000",
     [](Text t, Config* c) { return SetNumber(t, 600'000, &c->drain_ms); }},
    {"log-level", "error, warning, info or debug; default info",
     [](Text t, Config* c) { return SetLevel(t, &c->log_level); }},
};

absl::Status Apply(const Setting& setting, const std::string& where, const std::string& text,
                   Config* config) {
  absl::Status status = setting.set(text, config);
  if (status.ok()) return status;
  return Invalid(absl::StrCat(where, ": ", status.message()));
}

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

absl::Status UnknownKey(const std::string& path, const std::string& key) {
  std::string nearest;
  size_t best = SIZE_MAX;
  for (const Setting& setting : kSettings) {
    const size_t distance = EditDistance(key, setting.key());
    if (distance < best) {
      best = distance;
      nearest = setting.key();
    }
  }
  return Invalid(
      absl::StrCat(path, ": unknown key \"", key, "\"; the nearest one is \"", nearest, "\""));
}

using Values = std::map<std::string, std::string>;  // by Setting::key()

// Scalars and lists of scalars only: a list is the same as its elements with commas.
absl::StatusOr<Values> ReadFile(const std::string& path) {
  Values values;
  try {
    const YAML::Node root = YAML::LoadFile(path);
    if (root.IsNull()) return values;
    if (!root.IsMap()) return Invalid(absl::StrCat(path, ": is not a map of settings"));
    for (const auto& pair : root) {
      const auto key = pair.first.as<std::string>();
      const auto known = [&key](const Setting& s) { return s.key() == key; };
      if (std::none_of(std::begin(kSettings), std::end(kSettings), known)) {
        return UnknownKey(path, key);
      }
      if (pair.second.IsSequence()) {
        values[key] = absl::StrJoin(pair.second.as<std::vector<std::string>>(), ",");
      } else {
        values[key] = pair.second.IsNull() ? "" : pair.second.as<std::string>();
      }
    }
  } catch (const YAML::Exception& error) {  // a file that is not there, or not YAML
    return Invalid(absl::StrCat(path, ": ", error.what()));
  }
  return values;
}

// Flag over variable over file over default.
absl::StatusOr<Config> Resolve(const Values& flags, std::string config_path) {
  if (config_path.empty()) {
    if (const char* path = std::getenv("KVGATE_CONFIG")) config_path = path;
  }
  Values file;
  if (!config_path.empty()) {
    absl::StatusOr<Values> read = ReadFile(config_path);
    if (!read.ok()) return read.status();
    file = *std::move(read);
  }
  Config config;
  for (const Setting& setting : kSettings) {
    absl::Status status;
    if (auto flag = flags.find(setting.key()); flag != flags.end()) {
      status = Apply(setting, setting.flag(), flag->second, &config);
    } else if (const char* variable = std::getenv(setting.variable().c_str())) {
      status = Apply(setting, setting.variable(), variable, &config);
    } else if (auto in_file = file.find(setting.key()); in_file != file.end()) {
      status =
          Apply(setting, absl::StrCat(config_path, ": ", setting.key()), in_file->second, &config);
    }
    if (!status.ok()) return status;
  }
  if (config.run_dir.empty() && !config.data_dirs.empty()) {
    config.run_dir = absl::StrCat(config.data_dirs.front(), "/run");
  }
  if (absl::Status status = config.Validate(); !status.ok()) return status;
  return config;
}

absl::Status CheckTenant(const std::string& tenant) {
  const bool plain = std::all_of(tenant.begin(), tenant.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
  });
  if (!tenant.empty() && tenant.size() <= 64 && plain) return absl::OkStatus();
  return Invalid(absl::StrCat("tenants: \"", tenant,
                              "\" is not a name of 1 to 64 letters, digits, '-', '_' and '.'"));
}

}  // namespace

absl::StatusOr<uint64_t> ParseBytes(std::string_view text) {
  static const std::map<std::string, uint64_t> kUnits = {{"", 1},
                                                         {"B", 1},
                                                         {"KiB", 1ull << 10},
                                                         {"MiB", 1ull << 20},
                                                         {"GiB", 1ull << 30},
                                                         {"TiB", 1ull << 40},
                                                         {"kB", 1000},
                                                         {"KB", 1000},
                                                         {"MB", 1000'000},
                                                         {"GB", 1000'000'000},
                                                         {"TB", 1000'000'000'000}};
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string unit(
      absl::StripAsciiWhitespace(Sv(text.substr(static_cast<size_t>(end - text.data())))));
  const auto found = kUnits.find(unit);
  if (error != std::errc() || found == kUnits.end() || number > UINT64_MAX / found->second) {
    return Invalid(absl::StrCat("\"", Sv(text), "\" is not a size such as 4096, 512MiB or 2GB"));
  }
  return number * found->second;
}

std::string FormatBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (unit < 4 && bytes >= 1024 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  return absl::StrCat(bytes, kUnits[unit]);
}

absl::Status Config::Validate() const {
  if (data_dirs.empty()) {
    return Invalid("--data-dir: none given; name a directory that kvgated may use");
  }
  constexpr uint64_t kMemoryMin = 16ull << 20;
  if (memory_bytes < kMemoryMin) {
    return Invalid(absl::StrCat("--memory: ", FormatBytes(memory_bytes), ", at least ",
                                FormatBytes(kMemoryMin), " is needed"));
  }
  if (staging_bytes > memory_bytes / 2) {
    return Invalid(absl::StrCat("--staging-bytes: ", FormatBytes(staging_bytes),
                                ", at most half of --memory (", FormatBytes(memory_bytes), ")"));
  }
  constexpr uint64_t kReceiveMin = 70ull << 20;
  if (receive_bytes < kReceiveMin) {
    return Invalid(absl::StrCat("--receive-bytes: ", FormatBytes(receive_bytes), ", at least ",
                                FormatBytes(kReceiveMin), " (one message) is needed"));
  }
  if (namespaces_max == 0) return Invalid("--namespaces-max: 0, at least 1 is needed");
  if (tenants.empty() || tenants.size() > 8) {
    return Invalid(absl::StrCat("--tenants: ", tenants.size(), ", 1 to 8 are allowed"));
  }
  for (size_t i = 0; i < tenants.size(); ++i) {
    if (absl::Status s = CheckTenant(tenants[i]); !s.ok()) return s;
    if (std::find(tenants.begin(), tenants.begin() + i, tenants[i]) != tenants.begin() + i) {
      return Invalid(absl::StrCat("--tenants: \"", tenants[i], "\" stands twice"));
    }
  }
  return CheckTenant(grpc_tcp_tenant);
}

absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv) {
  std::vector<Flag> known;
  for (const Setting& setting : kSettings) known.push_back({setting.name, setting.help});
  known.push_back({"config", "YAML file with the same settings"});
  known.push_back({"version", "print the versions of program, wire and disk format", false});

  CommandLine line;
  absl::StatusOr<FlagValues> given = ParseFlags(known, argc, argv);
  if (!given.ok()) {
    return Invalid(absl::StrCat(given.status().message(), "; see kvgated --help"));
  }
  if (given->count("help") > 0) {
    line.print = FlagHelp("kvgated: the KV-cache gateway of one node", known);
    return line;
  }
  if (given->count("version") > 0) {
    line.print = VersionText();
    return line;
  }
  std::string config_path;
  if (const auto path = given->find("config"); path != given->end()) {
    config_path = path->second.back();
  }
  Values flags;
  for (const Setting& setting : kSettings) {
    if (const auto values = given->find(setting.name); values != given->end()) {
      flags[setting.key()] = absl::StrJoin(values->second, ",");
    }
  }
  absl::StatusOr<Config> config = Resolve(flags, config_path);
  if (!config.ok()) return config.status();
  line.config = *std::move(config);
  return line;
}

}  // namespace kvgate::gateway
