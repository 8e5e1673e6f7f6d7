// SPDX-License-Identifier: Apache-2.0
#include "gateway/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gateway/config_text.h"
#include "gateway/settings.h"

namespace kvgate::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Sets a variable for one test.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }

 private:
  const char* const name_;
};

absl::StatusOr<Config> Parse(std::vector<std::string> flags) {
  flags.insert(flags.begin(), "kvgated");
  std::vector<const char*> argv;
  for (const std::string& flag : flags) argv.push_back(flag.c_str());
  absl::StatusOr<CommandLine> line = ParseCommandLine(static_cast<int>(argv.size()), argv.data());
  if (!line.ok()) return line.status();
  return line->config;
}

std::string File(const std::string& text) {
  const std::string path = ::testing::TempDir() + "/kvgate.yaml";
  std::ofstream(path) << text;
  return path;
}

void Refuses(const absl::StatusOr<Config>& config, const std::vector<std::string>& words) {
  ASSERT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  for (const std::string& word : words) {
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(word));
  }
}

TEST(Config, OnlyADataDirectoryIsNeeded) {
  const Config config = *Parse({"--data-dir=/d"});
  EXPECT_EQ(config.run_dir, "/d/run");
  EXPECT_EQ(config.grpc_tcp, "") << "TCP is off";
  EXPECT_EQ(config.metrics, "127.0.0.1:0");
  EXPECT_THAT(config.tenants, ElementsAre("default"));
  EXPECT_EQ(config.staging_bytes_total(), config.memory_bytes / 8);
}

TEST(Config, NoDataDirectoryIsRefused) { Refuses(Parse({}), {"--data-dir"}); }

TEST(Config, DataDirectoriesMayBeRepeatedOrStandWithCommas) {
  EXPECT_THAT(Parse({"--data-dir=/a", "--data-dir=/b,/c"})->data_dirs,
              ElementsAre("/a", "/b", "/c"));
}

TEST(Config, AFlagBeatsTheEnvironmentBeatsTheFileBeatsTheDefault) {
  const std::string file = "--config=" + File("memory: 64MiB\ndata_dir: [/a, /b]\n");
  EXPECT_EQ(Parse({file})->memory_bytes, 64ull << 20);
  EXPECT_THAT(Parse({file})->data_dirs, ElementsAre("/a", "/b"));
  const Variable variable("KVGATE_MEMORY", "128MiB");
  EXPECT_EQ(Parse({file})->memory_bytes, 128ull << 20);
  EXPECT_EQ(Parse({file, "--memory=256MiB"})->memory_bytes, 256ull << 20);
}

TEST(Config, TheFileMayComeFromTheEnvironment) {
  const std::string path = File("flush_delay_ms: 7\n");
  const Variable variable("KVGATE_CONFIG", path.c_str());
  EXPECT_EQ(Parse({"--data-dir=/d"})->flush_delay_ms, 7u);
}

TEST(Config, AnUnknownKeyNamesTheNearestOne) {
  Refuses(Parse({"--data-dir=/d", "--config=" + File("flush_dlay_ms: 7\n")}),
          {"flush_dlay_ms", "\"flush_delay_ms\""});
}

TEST(Config, AFileThatIsNoMapIsRefused) {
  Refuses(Parse({"--data-dir=/d", "--config=" + File("- a\n- b\n")}), {"kvgate.yaml", "map"});
  Refuses(Parse({"--data-dir=/d", "--config=" + File("memory: {a: b}\n")}), {"kvgate.yaml"});
  Refuses(Parse({"--data-dir=/d", "--config=" + File("memory: [\n")}), {"kvgate.yaml"});
  Refuses(Parse({"--data-dir=/d", "--config=/nowhere.yaml"}), {"/nowhere.yaml"});
}

TEST(Config, AnErrorSaysWhereTheValueStood) {
  Refuses(Parse({"--data-dir=/d", "--memory=x"}), {"--memory", "\"x\""});
  Refuses(Parse({"--data-dir=/d", "--config=" + File("memory: y\n")}),
          {"kvgate.yaml line 1: memory", "\"y\""});
  const Variable variable("KVGATE_MEMORY", "z");
  Refuses(Parse({"--data-dir=/d"}), {"KVGATE_MEMORY from the environment", "\"z\""});
}

TEST(Config, WhatContradictsOtherSettingsSaysWhereItStood) {
  const Variable variable("KVGATE_TENANTS", "a,a");
  Refuses(Parse({"--data-dir=/d"}), {"KVGATE_TENANTS from the environment", "twice"});
  EXPECT_EQ(Parse({"--data-dir=/d", "--tenants=a"})->SourceOf("tenants"), "--tenants");
  EXPECT_EQ(Parse({"--data-dir=/d", "--tenants=a"})->SourceOf("disk"), "--disk by default");
}

TEST(Config, AKeyThatIsGivenTwiceIsRefusedWithItsLines) {
  Refuses(Parse({"--config=" + File("data_dir: /d\nmemory: 1GiB\n\nmemory: 2GiB\n")}),
          {"memory is given twice, lines 2 and 4", "[KVG103]"});
}

TEST(Config, AFileThatIsNotThereIsSaidToBeSo) {
  Refuses(Parse({"--data-dir=/d", "--config=/nowhere.yaml"}),
          {"/nowhere.yaml: does not exist (named by --config); make it", "[KVG103]"});
  Refuses(Parse({"--data-dir=/d", "--config=" + ::testing::TempDir()}), {"is a directory"});
  const Variable variable("KVGATE_CONFIG", "/nowhere.yaml");
  Refuses(Parse({"--data-dir=/d"}), {"named by KVGATE_CONFIG from the environment"});
}

TEST(Config, ASegmentHasLimits) {
  for (const char* size : {"1000KiB", "257MiB", "1048577"}) {
    Refuses(Parse({"--data-dir=/d", absl::StrCat("--segment-bytes=", size)}),
            {"--segment-bytes", "1MiB to 256MiB"});
  }
  EXPECT_TRUE(Parse({"--data-dir=/d", "--segment-bytes=256MiB"}).ok());
}

TEST(Config, LimitsAreChecked) {
  Refuses(Parse({"--data-dir=/d", "--memory=15MiB"}), {"--memory", "15MiB", "16MiB"});
  Refuses(Parse({"--data-dir=/d", "--receive-bytes=1MiB"}), {"--receive-bytes", "1MiB"});
  Refuses(Parse({"--data-dir=/d", "--memory=64MiB", "--staging-bytes=33MiB"}),
          {"--staging-bytes", "33MiB", "64MiB"});
  Refuses(Parse({"--data-dir=/d", "--flush-delay-ms=1001"}), {"--flush-delay-ms", "1001", "1000"});
  Refuses(Parse({"--data-dir=/d", "--tenants=a,b,c,d,e,f,g,h,i"}), {"--tenants", "9", "8"});
  Refuses(Parse({"--data-dir=/d", "--tenants=a,a"}), {"twice"});
  Refuses(Parse({"--data-dir=/d", "--tenants=../x"}), {"../x"});
  Refuses(Parse({"--data-dir=/d", "--namespaces-max=0"}), {"--namespaces-max"});
}

TEST(Config, WordsAreKnownOrRefused) {
  EXPECT_EQ(Parse({"--data-dir=/d", "--io-engine=posix"})->io_engine,
            storage::DiskOptions::Engine::kPosix);
  Refuses(Parse({"--data-dir=/d", "--io-engine=aio"}), {"--io-engine", "aio", "posix"});
  Refuses(Parse({"--data-dir=/d", "--log-level=loud"}), {"--log-level", "loud"});
  Refuses(Parse({"--data-dir=/d", "--unknown=1"}), {"--unknown"});
}

TEST(Config, ABarePortListensOnLoopback) {
  EXPECT_EQ(Parse({"--data-dir=/d", "--grpc-tcp=7070"})->grpc_tcp, "127.0.0.1:7070");
  EXPECT_EQ(Parse({"--data-dir=/d", "--metrics=off"})->metrics, "");
  Refuses(Parse({"--data-dir=/d", "--grpc-tcp=host"}), {"--grpc-tcp", "host"});
  Refuses(Parse({"--data-dir=/d", "--grpc-tcp=host:99999"}), {"--grpc-tcp", "99999"});
}

TEST(Config, DefaultsFollowFromTheHost) {
  const Config config = *Parse({"--data-dir=" + ::testing::TempDir()});
  EXPECT_GE(config.memory_bytes, 64ull << 20);
  EXPECT_NE(config.disk_bytes, kDiskByHost);
  EXPECT_EQ(Parse({"--data-dir=/d", "--disk=0"})->disk_bytes, 0u);
}

TEST(Config, AnAddressBeyondThisHostNeedsAWordOfConsent) {
  Refuses(Parse({"--data-dir=/d", "--grpc-tcp=0.0.0.0:7070"}),
          {"--grpc-tcp", "0.0.0.0:7070", "--allow-unpatched-grpc-tcp"});
  EXPECT_TRUE(
      Parse({"--data-dir=/d", "--grpc-tcp=0.0.0.0:7070", "--allow-unpatched-grpc-tcp=true"}).ok());
  EXPECT_TRUE(Parse({"--data-dir=/d", "--grpc-tcp=localhost:7070"}).ok());
}

std::string Print(std::vector<const char*> words) {
  words.insert(words.begin(), "kvgated");
  const absl::StatusOr<CommandLine> line =
      ParseCommandLine(static_cast<int>(words.size()), words.data());
  return line.ok() ? line->print : std::string(line.status().message());
}

TEST(ConfigVerbs, CheckIsLeftToWhoKnowsTheHost) {
  const std::vector<const char*> words = {"kvgated", "config", "check", "--data-dir=/d"};
  const auto line = ParseCommandLine(static_cast<int>(words.size()), words.data());
  ASSERT_TRUE(line.ok());
  EXPECT_TRUE(line->check);
  EXPECT_EQ(line->print, "");
  EXPECT_THAT(Print({"config", "check", "--data-dir=/d", "--memory=1"}), HasSubstr("16MiB"));
  EXPECT_THAT(Print({"config", "chekc", "--data-dir=/d"}), HasSubstr("chekc"));
}

TEST(ConfigVerbs, PrintShowsWhatWasSetAndEffectiveShowsAll) {
  EXPECT_EQ(Print({"config", "print", "--data-dir=/a,/b", "--memory=64MiB"}),
            "data_dir: [\"/a\", \"/b\"]\nmemory: 64MiB\n");
  const std::string all = Print({"config", "print", "--effective", "--data-dir=/d"});
  for (const Setting& setting : Settings()) {
    EXPECT_THAT("\n" + all, HasSubstr("\n" + setting.key() + ": "));
  }
}

TEST(ConfigVerbs, WhatIsPrintedReadAgainIsTheSame) {
  const std::string all = Print({"config", "print", "--effective", "--data-dir=/d", "--memory=1GiB",
                                 "--io-engine=posix", "--tenants=a,b", "--metrics=off"});
  const Config again = *Parse({"--config=" + File(all)});
  EXPECT_EQ(ConfigAsYaml(again), all);
}

TEST(ConfigVerbs, TheSchemaKnowsEachKeyAndNoOther) {
  const nlohmann::json schema = nlohmann::json::parse(ConfigSchema());
  EXPECT_EQ(schema["additionalProperties"], false);
  EXPECT_EQ(schema["properties"].size(), Settings().size());
  EXPECT_EQ(schema["properties"]["drain_ms"]["maximum"], 600000);
}

TEST(Reload, OnlyWhatMayChangeChanges) {
  Config running = *Parse({"--data-dir=/d", "--memory=64MiB", "--disk=0"});
  const Config now =
      *Parse({"--data-dir=/d", "--memory=128MiB", "--disk=0", "--log-level=debug", "--drain-ms=5"});
  EXPECT_THAT(ApplyReload(now, &running), ElementsAre("memory"));
  EXPECT_EQ(running.log_level, LogLevel::kDebug);
  EXPECT_EQ(running.drain_ms, 5u);
  EXPECT_EQ(running.memory_bytes, 64ull << 20);
}

TEST(ParseBytes, UnitsAreBinaryOrDecimalByName) {
  EXPECT_EQ(*ParseBytes("4096"), 4096u);
  EXPECT_EQ(*ParseBytes("512MiB"), 512ull << 20);
  EXPECT_EQ(*ParseBytes("1 GiB"), 1ull << 30);
  EXPECT_EQ(*ParseBytes("2GB"), 2'000'000'000u);
  for (const char* text : {"", "MiB", "1.5GiB", "-1", "12XB", "99999999999TiB", "1M"}) {
    EXPECT_FALSE(ParseBytes(text).ok()) << text;
  }
}

TEST(ParseBytes, FormatIsExact) {
  EXPECT_EQ(FormatBytes(512ull << 20), "512MiB");
  EXPECT_EQ(FormatBytes((1ull << 20) + 1), "1048577B");
  EXPECT_EQ(FormatBytes(0), "0B");
}

}  // namespace
}  // namespace kvgate::gateway
