// SPDX-License-Identifier: Apache-2.0
#include "gateway/config_text.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "gateway/settings.h"

namespace kvgate::gateway {
namespace {

constexpr char kPageHead[] = R"(# Configuration

This page is printed by `kvgated config docs`.

`kvgated --data-dir DIR` is enough. Every setting has three names: the flag, the variable, and the key
of the YAML file (`--config FILE`, else `KVGATE_CONFIG`, else `/etc/kvgate/kvgate.yaml` when it is
there). A flag beats the variable, the variable beats the file, the file beats the default. An unknown
key is an error that names the nearest known one, and so is a key that is given twice.

`kvgated config check` looks at all that a start looks at before it opens and writes (files, directories,
sizes, memory; not what stands inside a data file), `kvgated config print` prints the file's part,
`kvgated config print --effective` all that would be in effect, and the memory that it comes to; they take
the daemon's flags.
`docs/config.schema.json` (`kvgated config schema`) is for editors. SIGHUP reads file and variables again:
settings marked so below change at once, for others a line says that they need a restart.

`--flush-delay-ms 5` = `KVGATE_FLUSH_DELAY_MS=5` = `flush_delay_ms: 5`

Sizes: `4096`, `512MiB`, `1GiB` (binary), `2GB` (decimal). Lists: with commas, the flag repeated, or a
YAML list.

)";

constexpr char kPageTail[] =
    R"(At start the daemon prints one line a limit and their sum, then one line `kvgated ready …` with its
addresses. SIGTERM and SIGINT stop it gracefully (exit 0): health says NOT_SERVING, new calls are refused, running
ones finish within `--drain-ms`, buffered values are written; connections without a call are not waited
for. When it cannot start, or cannot write out what is buffered, it prints one line that says what to
do, and exits 1; with 78 when it is the configuration, and starting again would not help. A device that hangs cannot be waited for: 5 s after `--drain-ms` it says so and exits 3;
what was acknowledged as LOGGED is found at the next start, as after kill -9.
)";

std::string Quoted(const std::string& text) {
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

std::string YamlValue(const Setting& setting, const std::string& text) {
  switch (setting.kind) {
    case Setting::Kind::kNumber:
    case Setting::Kind::kSize:
      return text;
    case Setting::Kind::kList: {
      std::vector<std::string> items;
      for (const auto part : absl::StrSplit(text, ',', absl::SkipEmpty())) {
        items.push_back(Quoted(std::string(part)));
      }
      return absl::StrCat("[", absl::StrJoin(items, ", "), "]");
    }
    case Setting::Kind::kText:
    case Setting::Kind::kAddress:
    case Setting::Kind::kChoice:
      return Quoted(text);
  }
  return text;
}

nlohmann::json SchemaOf(const Setting& setting) {
  nlohmann::json out = {{"description", setting.help}};
  switch (setting.kind) {
    case Setting::Kind::kNumber:
      out["type"] = "integer";
      out["minimum"] = setting.min;
      out["maximum"] = setting.max;
      break;
    case Setting::Kind::kSize:
      out["type"] = {"integer", "string"};
      out["minimum"] = setting.min;
      out["pattern"] = "^[0-9]+ ?(B|KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB)?$";
      break;
    case Setting::Kind::kList:
      out["type"] = {"array", "string"};
      out["items"] = {{"type", "string"}};
      break;
    case Setting::Kind::kChoice: {
      const std::vector<std::string> choices = absl::StrSplit(setting.choices, '|');
      out["enum"] = choices;
      // YAML reads these two words as booleans.
      if (choices.front() == "true") out["enum"] = {true, false, "true", "false"};
      break;
    }
    case Setting::Kind::kAddress:
      out["type"] = {"string", "integer"};
      break;
    case Setting::Kind::kText:
      out["type"] = "string";
      break;
  }
  if (setting.default_text == nullptr && setting.kind != Setting::Kind::kList) {
    out["default"] = setting.kind == Setting::Kind::kNumber
                         ? nlohmann::json(std::stoull(setting.DefaultText()))
                         : nlohmann::json(setting.DefaultText());
  }
  return out;
}

// "64KiB to 1MiB", "at least 1MiB", or "" when everything is allowed.
std::string LimitsOf(const Setting& setting) {
  if (setting.kind == Setting::Kind::kChoice) {
    return absl::StrReplaceAll(setting.choices, {{"|", ", "}});
  }
  if (setting.kind != Setting::Kind::kNumber && setting.kind != Setting::Kind::kSize) return "";
  const bool size = setting.kind == Setting::Kind::kSize;
  const auto shown = [size](uint64_t n) { return size ? FormatBytes(n) : absl::StrCat(n); };
  if (setting.max == UINT64_MAX) {
    return setting.min == 0 ? "" : absl::StrCat("at least ", shown(setting.min));
  }
  return absl::StrCat(shown(setting.min), " to ", shown(setting.max));
}

}  // namespace

std::string ConfigAsYaml(const Config& config) {
  std::string out;
  for (const Setting& setting : Settings()) {
    absl::StrAppend(&out, setting.key(), ": ", YamlValue(setting, setting.get(config)), "\n");
  }
  return out;
}

std::string ConfigSchema() {
  nlohmann::json properties = nlohmann::json::object();
  for (const Setting& setting : Settings()) properties[setting.key()] = SchemaOf(setting);
  const nlohmann::json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                                 {"title", "kvgate.yaml"},
                                 {"type", "object"},
                                 {"additionalProperties", false},
                                 {"properties", properties}};
  return schema.dump(2) + "\n";
}

std::string ConfigMarkdown() {
  std::string out = kPageHead;
  absl::StrAppend(&out, "| flag | default | allowed | what |\n|---|---|---|---|\n");
  for (const Setting& setting : Settings()) {
    absl::StrAppend(&out, "| `", setting.flag(), "` | ", setting.DefaultText(), " | ",
                    LimitsOf(setting), " | ", setting.help, setting.reloads ? " (SIGHUP)" : "",
                    " |\n");
  }
  return absl::StrCat(out, "\n", kPageTail);
}

}  // namespace kvgate::gateway
