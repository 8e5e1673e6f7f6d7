// SPDX-License-Identifier: Apache-2.0
//
// Checks of what runs beside kvgated: CUDA, Python, torch, vLLM and its connector setting.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "client/cli/doctor.h"
#include "nlohmann/json.hpp"

namespace kvgate::cli {
namespace {

// What a program prints; empty when it cannot be run. `command` is made of constants and the name
// of an interpreter.
std::string OutputOf(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), &pclose);
  if (pipe == nullptr) return "";
  std::string out;
  char buffer[4096];
  while (const size_t n = fread(buffer, 1, sizeof(buffer), pipe.get())) out.append(buffer, n);
  return out;
}

std::string Quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// Without importing: an import of torch takes seconds and may touch the GPU.
constexpr char kVersions[] =
    "import sys,json\n"
    "from importlib import metadata\n"
    "out={\"python\":sys.version.split()[0]}\n"
    "for name in (\"torch\",\"vllm\",\"kvgate\"):\n"
    "    try: out[name]=metadata.version(name)\n"
    "    except metadata.PackageNotFoundError: out[name]=\"\"\n"
    "print(json.dumps(out))\n";

// `vllm serve …`, as the script or as a module; words of a command line end with NUL.
bool IsEngine(const std::string& line) {
  std::string before;
  for (size_t at = 0; at < line.size();) {
    const size_t end = std::min(line.find('\0', at), line.size());
    const std::string word = line.substr(at, end - at);
    if (word == "vllm.entrypoints.openai.api_server") return true;
    const std::string name = before.substr(before.rfind('/') + 1);
    if (word == "serve" && (name == "vllm" || name == "vllm.entrypoints.cli.main")) return true;
    before = word;
    at = end + 1;
  }
  return false;
}

Finding PackageFinding(const nlohmann::json& versions, const char* name, const char* todo) {
  const std::string version = versions.value(name, "");
  if (version.empty()) return {name, Level::kNote, "not installed in this Python", todo};
  return {name, Level::kOk, version, ""};
}

}  // namespace

Finding CheckCuda(const Host& host) {
  const std::string driver = host.Read("/proc/driver/nvidia/version");
  if (driver.empty()) {
    return {"cuda", Level::kNote, "no NVIDIA driver",
            "nothing for a CPU host; kvgate has never run on a GPU yet"};
  }
  return {"cuda", Level::kNote, driver.substr(0, driver.find('\n')),
          "kvgate has never run on a GPU yet: please report how it goes"};
}

std::vector<Finding> CheckPython(const Host& host) {
  const std::string out =
      OutputOf(Quoted(host.python) + " -c " + Quoted(kVersions) + " 2>/dev/null");
  const nlohmann::json versions = nlohmann::json::parse(out, nullptr, /*allow_exceptions=*/false);
  if (!versions.is_object()) {
    return {{"python", Level::kNote, host.python + " cannot be run",
             "name the interpreter of your engine with --python"}};
  }
  std::vector<Finding> all = {{"python", Level::kOk, versions.value("python", ""), ""}};
  all.push_back(PackageFinding(versions, "torch", "comes with vLLM"));
  Finding vllm = PackageFinding(
      versions, "vllm", "name the interpreter of your engine with --python, or pip install vllm");
  if (vllm.level == Level::kOk && vllm.found.rfind("0.32", 0) != 0) {
    vllm.level = Level::kWarn;
    vllm.todo = "the connector is tested with vLLM 0.32; another version may call it differently";
  }
  all.push_back(vllm);
  all.push_back(PackageFinding(versions, "kvgate", "pip install the wheel that ./dev wheel makes"));
  return all;
}

Finding CheckConnector(const Host& host) {
  std::error_code error;
  int engines = 0, with = 0;
  std::string example;
  for (const auto& entry : std::filesystem::directory_iterator(host.root + "/proc", error)) {
    const std::string pid = entry.path().filename();
    if (pid.empty() || pid[0] < '0' || pid[0] > '9') continue;
    const std::string line = host.Read("/proc/" + pid + "/cmdline");
    if (!IsEngine(line)) continue;
    ++engines;
    if (line.find("KvgateConnector") != std::string::npos) {
      ++with;
    } else {
      example = pid;
    }
  }
  if (engines == 0) return {"connector", Level::kNote, "no `vllm serve` runs here", ""};
  const std::string found =
      std::to_string(with) + " of " + std::to_string(engines) + " engines use kvgate";
  if (with == engines) return {"connector", Level::kOk, found, ""};
  return {"connector", Level::kWarn, found + "; process " + example + " does not",
          "start it with --kv-transfer-config as README says"};
}

}  // namespace kvgate::cli
