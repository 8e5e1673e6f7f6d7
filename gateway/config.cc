// SPDX-License-Identifier: Apache-2.0
#include "gateway/config.h"

#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gateway/config_text.h"
#include "gateway/core/text.h"
#include "gateway/flags.h"
#include "gateway/host_limits.h"
#include "gateway/settings.h"
#include "gateway/telemetry/metric_table.h"
#include "gateway/version.h"
#include "proto/wire/error_id.h"

namespace kvgate::gateway {
namespace {

absl::Status Invalid(const std::string& text, wire::ErrorId id = wire::ErrorId::kBadSetting) {
  return absl::InvalidArgumentError(wire::Tagged(id, text));
}

absl::Status BadFile(const std::string& text) {
  return Invalid(text, wire::ErrorId::kBadConfigFile);
}

absl::Status Apply(const Setting& setting, const std::string& where, const std::string& text,
                   Config* config) {
  absl::Status status = setting.Apply(text, config);
  if (status.ok()) return status;
  return Invalid(absl::StrCat(where, ": ", status.message()));
}

using Values = std::map<std::string, std::string>;  // by Setting::key()

// Scalars and lists of scalars only: a list is the same as its elements with commas.
absl::StatusOr<Values> ReadFile(const std::string& path) {
  Values values;
  try {
    const YAML::Node root = YAML::LoadFile(path);
    if (root.IsNull()) return values;
    if (!root.IsMap()) return BadFile(absl::StrCat(path, ": is not a map of settings"));
    for (const auto& pair : root) {
      const auto key = pair.first.as<std::string>();
      const auto known = [&key](const Setting& s) { return s.key() == key; };
      if (std::none_of(Settings().begin(), Settings().end(), known)) {
        return BadFile(absl::StrCat(path, ": unknown key \"", key, "\"; the nearest one is \"",
                                    NearestKey(key), "\""));
      }
      if (pair.second.IsSequence()) {
        values[key] = absl::StrJoin(pair.second.as<std::vector<std::string>>(), ",");
      } else {
        values[key] = pair.second.IsNull() ? "" : pair.second.as<std::string>();
      }
    }
  } catch (const YAML::Exception& error) {  // a file that is not there, or not YAML
    return BadFile(absl::StrCat(path, ": ", error.what()));
  }
  return values;
}

void FillFromHost(Config* config) {
  if (config->run_dir.empty() && !config->data_dirs.empty()) {
    config->run_dir = absl::StrCat(config->data_dirs.front(), "/run");
  }
  if (config->memory_bytes == 0) config->memory_bytes = DefaultMemoryBytes(ReadHostMemory());
  if (config->disk_bytes == kDiskByHost) {
    config->disk_bytes = DefaultDiskBytes(ReadDirectorySpace(config->data_dirs));
  }
}

// Flag over variable over file over default. With `given`, the names of what was set anywhere.
absl::StatusOr<Config> Resolve(const Values& flags, std::string config_path,
                               std::set<std::string>* given = nullptr) {
  if (config_path.empty()) {
    if (const char* path = std::getenv("KVGATE_CONFIG")) {
      config_path = path;
    } else if (access(kConfigPath, F_OK) == 0) {
      config_path = kConfigPath;
    }
  }
  Values file;
  if (!config_path.empty()) {
    absl::StatusOr<Values> read = ReadFile(config_path);
    if (!read.ok()) return read.status();
    file = *std::move(read);
  }
  Config config;
  for (const Setting& setting : Settings()) {
    absl::Status status;
    if (auto flag = flags.find(setting.key()); flag != flags.end()) {
      status = Apply(setting, setting.flag(), flag->second, &config);
    } else if (const char* variable = std::getenv(setting.variable().c_str())) {
      status = Apply(setting, setting.variable(), variable, &config);
    } else if (auto in_file = file.find(setting.key()); in_file != file.end()) {
      status =
          Apply(setting, absl::StrCat(config_path, ": ", setting.key()), in_file->second, &config);
    } else {
      continue;
    }
    if (!status.ok()) return status;
    if (given != nullptr) given->insert(setting.name);
  }
  FillFromHost(&config);
  if (absl::Status status = config.Validate(); !status.ok()) return status;
  return config;
}

bool IsLoopback(const std::string& host_port) {
  return absl::StartsWith(host_port, "127.") || absl::StartsWith(host_port, "localhost:") ||
         absl::StartsWith(host_port, "[::1]:");
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
  if (!grpc_tcp.empty() && !IsLoopback(grpc_tcp) && !allow_unpatched_grpc_tcp) {
    return Invalid(
        absl::StrCat(
            "--grpc-tcp: ", grpc_tcp,
            " is not loopback, and this gRPC has published faults "
            "(docs/threat-model.md); stay on 127.0.0.1, or set --allow-unpatched-grpc-tcp=true"),
        wire::ErrorId::kTcpNotAllowed);
  }
  if (staging_bytes > memory_bytes / 2) {
    return Invalid(absl::StrCat("--staging-bytes: ", FormatBytes(staging_bytes),
                                ", at most half of --memory (", FormatBytes(memory_bytes), ")"));
  }
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

namespace {

// `config VERB`: what it prints. `given` are the settings that do not have their default.
absl::StatusOr<std::string> ConfigVerb(const std::string& verb, bool effective,
                                       const Config& config, const std::set<std::string>& given) {
  if (verb == "check") return std::string("the configuration is good\n");
  if (verb != "print") {
    return Invalid(absl::StrCat("config ", verb, ": is not check, print, schema or docs"),
                   wire::ErrorId::kBadFlag);
  }
  if (effective) return ConfigAsYaml(config);
  std::string out;
  for (const std::string& line :
       std::vector<std::string>(absl::StrSplit(ConfigAsYaml(config), '\n', absl::SkipEmpty()))) {
    for (const Setting& setting : Settings()) {
      if (given.count(setting.name) > 0 && absl::StartsWith(line, setting.key() + ":")) {
        absl::StrAppend(&out, line, "\n");
      }
    }
  }
  return out;
}

constexpr char kUsage[] =
    "kvgated: the KV-cache gateway of one node\n"
    "kvgated config check|print|schema|docs: with the same flags, checks or prints the settings\n"
    "A flag is also a variable and a key of the file: --run-dir, KVGATE_RUN_DIR, run_dir\n"
    "kvgated metrics: prints docs/metrics.md";

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv) {
  std::vector<Flag> known;
  for (const Setting& setting : Settings()) {
    known.push_back(
        {setting.name, absl::StrCat(setting.help, "; default: ", setting.DefaultText())});
  }
  known.push_back({"config", "YAML file with the same settings"});
  known.push_back({"version", "print the versions of program, wire and disk format", false});
  known.push_back({"effective", "for config print: defaults too", false});

  CommandLine line;
  if (argc == 2 && std::string(argv[1]) == "metrics") {
    line.print = MetricsMarkdown();
    return line;
  }
  const bool asks = argc > 2 && std::string(argv[1]) == "config";
  const std::string verb = asks ? argv[2] : "";
  absl::StatusOr<FlagValues> given =
      asks ? ParseFlags(known, argc - 2, argv + 2) : ParseFlags(known, argc, argv);
  if (!given.ok()) {
    return Invalid(absl::StrCat(given.status().message(), "; see kvgated --help"),
                   wire::ErrorId::kBadFlag);
  }
  if (given->count("help") > 0) {
    line.print = FlagHelp(kUsage, known);
  } else if (given->count("version") > 0) {
    line.print = VersionText();
  } else if (verb == "schema") {
    line.print = ConfigSchema();
  } else if (verb == "docs") {
    line.print = ConfigMarkdown();
  }
  if (!line.print.empty()) return line;
  std::string config_path;
  if (const auto path = given->find("config"); path != given->end()) {
    config_path = path->second.back();
  }
  Values flags;
  for (const Setting& setting : Settings()) {
    if (const auto values = given->find(setting.name); values != given->end()) {
      flags[setting.key()] = absl::StrJoin(values->second, ",");
    }
  }
  std::set<std::string> set;
  absl::StatusOr<Config> config = Resolve(flags, config_path, &set);
  if (!config.ok()) return config.status();
  if (asks) {
    absl::StatusOr<std::string> print =
        ConfigVerb(verb, given->count("effective") > 0, *config, set);
    if (!print.ok()) return print.status();
    line.print = print->empty() ? "# every setting has its default\n" : *print;
  }
  line.config = *std::move(config);
  return line;
}

std::vector<std::string> ApplyReload(const Config& now, Config* running) {
  std::vector<std::string> restart;
  for (const Setting& setting : Settings()) {
    if (setting.get(now) == setting.get(*running)) continue;
    if (!setting.reloads || !setting.set(setting.get(now), running).ok()) {
      restart.push_back(setting.key());
    }
  }
  return restart;
}

}  // namespace kvgate::gateway
