// SPDX-License-Identifier: Apache-2.0
#include "gateway/config.h"

#include <sys/stat.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <map>

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

struct FileValue {
  std::string text;
  int line = 0;
};
using FileValues = std::map<std::string, FileValue>;  // by Setting::key()

// The parser says "bad file" of everything that it cannot open.
absl::Status CheckReadable(const std::string& path, const std::string& named_by) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    const bool absent = errno == ENOENT || errno == ENOTDIR;
    return BadFile(absl::StrCat(
        path, ": ", absent ? "does not exist" : absl::StrCat("cannot be read: ", strerror(errno)),
        " (named by ", named_by,
        "); make it, name another, or leave it out: a data directory is "
        "all that is needed"));
  }
  if (S_ISDIR(info.st_mode)) {
    return BadFile(absl::StrCat(path, ": is a directory (named by ", named_by, "); name a file"));
  }
  if (access(path.c_str(), R_OK) == 0) return absl::OkStatus();
  return BadFile(absl::StrCat(path, ": cannot be read: ", strerror(errno), " (named by ", named_by,
                              "); let uid ", geteuid(), " read it"));
}

// Scalars and lists of scalars only: a list is the same as its elements with commas.
absl::Status TakePair(const std::string& path, const YAML::Node& name, const YAML::Node& value,
                      FileValues* values) {
  const auto key = name.as<std::string>();
  const int line = name.Mark().line + 1;
  const auto known = [&key](const Setting& s) { return s.key() == key; };
  if (std::none_of(Settings().begin(), Settings().end(), known)) {
    return BadFile(absl::StrCat(path, " line ", line, ": unknown key \"", key,
                                "\"; the nearest one is \"", NearestKey(key), "\""));
  }
  const auto [at, fresh] = values->try_emplace(key, FileValue{"", line});
  if (!fresh) {
    return BadFile(absl::StrCat(path, ": ", key, " is given twice, lines ", at->second.line,
                                " and ", line, "; leave one of them"));
  }
  if (value.IsSequence()) {
    at->second.text = absl::StrJoin(value.as<std::vector<std::string>>(), ",");
  } else if (!value.IsNull()) {
    at->second.text = value.as<std::string>();
  }
  return absl::OkStatus();
}

absl::StatusOr<FileValues> ReadFile(const std::string& path, const std::string& named_by) {
  if (absl::Status status = CheckReadable(path, named_by); !status.ok()) return status;
  FileValues values;
  try {
    const YAML::Node root = YAML::LoadFile(path);
    if (root.IsNull()) return values;
    if (!root.IsMap()) return BadFile(absl::StrCat(path, ": is not a map of settings"));
    for (const auto& pair : root) {
      absl::Status status = TakePair(path, pair.first, pair.second, &values);
      if (!status.ok()) return status;
    }
  } catch (const YAML::Exception& error) {  // not YAML
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

// Flag over variable over file over default.
absl::StatusOr<Config> Resolve(const Values& flags, std::string config_path) {
  std::string named_by = "--config";
  if (config_path.empty()) {
    if (const char* path = std::getenv("KVGATE_CONFIG")) {
      config_path = path;
      named_by = "KVGATE_CONFIG from the environment";
    } else if (access(kConfigPath, F_OK) == 0) {
      config_path = kConfigPath;
      named_by = "its usual place";
    }
  }
  FileValues file;
  if (!config_path.empty()) {
    absl::StatusOr<FileValues> read = ReadFile(config_path, named_by);
    if (!read.ok()) return read.status();
    file = *std::move(read);
  }
  Config config;
  for (const Setting& setting : Settings()) {
    std::string where, text;
    if (auto flag = flags.find(setting.key()); flag != flags.end()) {
      where = setting.flag();
      text = flag->second;
    } else if (const char* variable = std::getenv(setting.variable().c_str())) {
      where = setting.variable() + " from the environment";
      text = variable;
    } else if (auto in_file = file.find(setting.key()); in_file != file.end()) {
      where = absl::StrCat(config_path, " line ", in_file->second.line, ": ", setting.key());
      text = in_file->second.text;
    } else {
      continue;
    }
    if (absl::Status status = Apply(setting, where, text, &config); !status.ok()) return status;
    config.sources[setting.name] = where;
  }
  FillFromHost(&config);
  if (absl::Status status = config.Validate(); !status.ok()) return status;
  return config;
}

bool IsLoopback(const std::string& host_port) {
  return absl::StartsWith(host_port, "127.") || absl::StartsWith(host_port, "localhost:") ||
         absl::StartsWith(host_port, "[::1]:");
}

absl::Status CheckTenant(const std::string& tenant, const std::string& where) {
  const bool plain = std::all_of(tenant.begin(), tenant.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
  });
  if (!tenant.empty() && tenant.size() <= 64 && plain) return absl::OkStatus();
  return Invalid(absl::StrCat(where, ": \"", tenant,
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

std::string Config::SourceOf(const std::string& name) const {
  const auto found = sources.find(name);
  return found != sources.end() ? found->second : absl::StrCat("--", name, " by default");
}

absl::Status Config::Validate() const {
  if (data_dirs.empty()) {
    return Invalid("--data-dir: none given; name a directory that kvgated may use");
  }
  if (!grpc_tcp.empty() && !IsLoopback(grpc_tcp) && !allow_unpatched_grpc_tcp) {
    return Invalid(
        absl::StrCat(
            SourceOf("grpc-tcp"), ": ", grpc_tcp,
            " is not loopback, and this gRPC has published faults "
            "(docs/threat-model.md); stay on 127.0.0.1, or set --allow-unpatched-grpc-tcp=true"),
        wire::ErrorId::kTcpNotAllowed);
  }
  if (staging_bytes > memory_bytes / 2) {
    return Invalid(absl::StrCat(SourceOf("staging-bytes"), ": ", FormatBytes(staging_bytes),
                                ", at most half of --memory (", FormatBytes(memory_bytes), ")"));
  }
  constexpr uint64_t kSegmentMin = 1 << 20, kSegmentMax = 256 << 20, kSegmentUnit = 4096;
  if (segment_bytes != 0 && (segment_bytes < kSegmentMin || segment_bytes > kSegmentMax ||
                             segment_bytes % kSegmentUnit != 0)) {
    return Invalid(absl::StrCat(SourceOf("segment-bytes"), ": ", FormatBytes(segment_bytes),
                                "; 0, or 1MiB to 256MiB in whole 4KiB, is allowed"));
  }
  if (tenants.empty() || tenants.size() > 8) {
    return Invalid(absl::StrCat(SourceOf("tenants"), ": ", tenants.size(), ", 1 to 8 are allowed"));
  }
  for (size_t i = 0; i < tenants.size(); ++i) {
    if (absl::Status s = CheckTenant(tenants[i], SourceOf("tenants")); !s.ok()) return s;
    if (std::find(tenants.begin(), tenants.begin() + i, tenants[i]) != tenants.begin() + i) {
      return Invalid(absl::StrCat(SourceOf("tenants"), ": \"", tenants[i], "\" stands twice"));
    }
  }
  return CheckTenant(grpc_tcp_tenant, SourceOf("grpc-tcp-tenant"));
}

namespace {

// `config print`: what does not have its default, in the order of the page.
std::string GivenAsYaml(const Config& config) {
  std::string out;
  for (const std::string& line :
       std::vector<std::string>(absl::StrSplit(ConfigAsYaml(config), '\n', absl::SkipEmpty()))) {
    for (const Setting& setting : Settings()) {
      if (config.sources.count(setting.name) > 0 && absl::StartsWith(line, setting.key() + ":")) {
        absl::StrAppend(&out, line, "\n");
      }
    }
  }
  return out.empty() ? "# every setting has its default\n" : out;
}

constexpr char kUsage[] =
    "kvgated: the KV-cache gateway of one node\n"
    "kvgated config check|print|schema|docs: with the same flags, checks or prints the settings\n"
    "A flag is also a variable and a key of the file: --run-dir, KVGATE_RUN_DIR, run_dir\n"
    "kvgated metrics: prints docs/metrics.md\n"
    "Exit status: 0 stopped by a signal, 1 could not start or not write out, 3 hung at the stop,\n"
    "78 the configuration is wrong: starting again does not help (systemd does not)";

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
  } else if (asks && verb != "check" && verb != "print") {
    return Invalid(absl::StrCat("config ", verb, ": is not check, print, schema or docs"),
                   wire::ErrorId::kBadFlag);
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
  absl::StatusOr<Config> config = Resolve(flags, config_path);
  if (!config.ok()) return config.status();
  line.config = *std::move(config);
  line.check = verb == "check";
  line.effective = verb == "print" && given->count("effective") > 0;
  if (verb == "print") {
    line.print = line.effective ? ConfigAsYaml(line.config) : GivenAsYaml(line.config);
  }
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
