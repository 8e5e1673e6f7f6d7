// SPDX-License-Identifier: Apache-2.0
//
// What the CLI says, without a gateway.
#include <filesystem>
#include <fstream>

#include "client/cli/alike.h"
#include "client/cli/context.h"
#include "client/cli/doctor.h"
#include "client/cli/explain_text.h"
#include "client/cli/top_command.h"
#include "client/cli/usage.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/wire/identity.h"

namespace kvgate::cli {
namespace {

using ::testing::HasSubstr;

class DoctorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    host_.root = ::testing::TempDir() + "/" +
                 ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(host_.root);
  }
  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = host_.root + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
  }
  Host host_;
};

TEST_F(DoctorTest, AnOldKernelFailsAndAnUnreadableOneIsNeverOk) {
  EXPECT_EQ(CheckKernel(host_).level, Level::kNote);
  Write("/proc/sys/kernel/osrelease", "4.19.0");
  EXPECT_EQ(CheckKernel(host_).level, Level::kFail);
  EXPECT_THAT(CheckKernel(host_).todo, HasSubstr("5.1"));
  Write("/proc/sys/kernel/osrelease", "5.15.0-1");
  EXPECT_EQ(CheckKernel(host_).level, Level::kNote);
  Write("/proc/sys/kernel/osrelease", "6.1.0-42-amd64");
  EXPECT_EQ(CheckKernel(host_).level, Level::kOk);
}

TEST_F(DoctorTest, AForbiddenIoUringIsNamedWithItsRemedy) {
  Write("/proc/sys/kernel/io_uring_disabled", "2");
  EXPECT_EQ(CheckIoUring(host_).level, Level::kWarn);
  EXPECT_THAT(CheckIoUring(host_).todo, HasSubstr("io_uring_disabled=0"));
  Write("/proc/sys/kernel/io_uring_disabled", "0");
  EXPECT_EQ(CheckIoUring(host_).level, Level::kOk);
}

TEST_F(DoctorTest, ASmallMemlockLimitIsAWarning) {
  Write("/proc/self/limits", "Max locked memory         8388608              8388608  bytes");
  EXPECT_EQ(CheckMemlock(host_).level, Level::kWarn);
  EXPECT_THAT(CheckMemlock(host_).todo, HasSubstr("LimitMEMLOCK"));
  Write("/proc/self/limits", "Max locked memory         unlimited            unlimited  bytes");
  EXPECT_EQ(CheckMemlock(host_).level, Level::kOk);
}

TEST_F(DoctorTest, ALimitOfTheControlGroupIsTold) {
  Write("/proc/self/cgroup", "0::/kube/pod1");
  Write("/sys/fs/cgroup/kube/pod1/memory.max", "1073741824");
  EXPECT_THAT(CheckCgroupMemory(host_).found, HasSubstr("1.0 GiB"));
  Write("/sys/fs/cgroup/kube/pod1/memory.max", "max");
  EXPECT_EQ(CheckCgroupMemory(host_).level, Level::kOk);
}

TEST_F(DoctorTest, SwapIsAWarning) {
  Write("/proc/meminfo", "MemTotal: 100 kB\nSwapTotal: 2097152 kB");
  EXPECT_EQ(CheckSwap(host_).level, Level::kWarn);
  Write("/proc/meminfo", "MemTotal: 100 kB\nSwapTotal: 0 kB");
  EXPECT_EQ(CheckSwap(host_).level, Level::kOk);
}

TEST_F(DoctorTest, ACpuWithoutSse42Fails) {
  Write("/proc/cpuinfo", "processor: 0\nflags\t\t: fpu ssse3 cx16 popcnt avx2");
  EXPECT_EQ(CheckCpu(host_).level, Level::kFail);
  EXPECT_THAT(CheckCpu(host_).found, HasSubstr("sse4_2"));
  Write("/proc/cpuinfo", "processor: 0\nflags\t\t: fpu ssse3 cx16 popcnt sse4_2 avx2");
  EXPECT_THAT(CheckCpu(host_).found, HasSubstr("AVX2"));
}

TEST_F(DoctorTest, ASlowClockIsAWarning) {
  const std::string path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
  Write(path, "hpet");
  EXPECT_EQ(CheckClock(host_).level, Level::kWarn);
  Write(path, "tsc");
  EXPECT_EQ(CheckClock(host_).level, Level::kOk);
}

TEST_F(DoctorTest, AnEngineWithoutTheConnectorIsNamed) {
  const auto words = [](std::vector<std::string> list) {
    std::string line;
    for (const std::string& word : list) line += word + std::string(1, '\0');
    return line;
  };
  Write("/proc/17/cmdline", words({"python3", "/usr/bin/vllm", "serve", "model"}));
  Write("/proc/18/cmdline", words({"python3", "/usr/bin/vllm", "serve", "model",
                                   "--kv-transfer-config", "KvgateConnector"}));
  Write("/proc/19/cmdline", words({"tail", "vllm", "server.log"}));
  const Finding finding = CheckConnector(host_);
  EXPECT_EQ(finding.level, Level::kWarn);
  EXPECT_THAT(finding.found, HasSubstr("1 of 2"));
  EXPECT_THAT(finding.found, HasSubstr("17"));
}

TEST_F(DoctorTest, ADirectoryThatIsNotThereFailsUnlessADaemonElsewhereNamedIt) {
  host_.data_dirs = {host_.root + "/absent"};
  EXPECT_EQ(CheckDisks(host_).back().level, Level::kFail);
  host_.dirs_of_daemon = true;
  EXPECT_EQ(CheckDisks(host_).back().level, Level::kNote);
  host_.data_dirs.clear();
  EXPECT_EQ(CheckDisks(host_).back().level, Level::kNote);
}

TEST_F(DoctorTest, EachOfSeveralDirectoriesIsLookedAt) {
  Write("/a/file", "");
  Write("/b/file", "");
  host_.data_dirs = {host_.root + "/a", host_.root + "/b"};
  const std::vector<Finding> all = CheckDisks(host_);
  ASSERT_EQ(all.size(), 6u);
  EXPECT_THAT(all[2].found, HasSubstr("/a: "));
  EXPECT_THAT(all[5].found, HasSubstr("/b: "));
}

TEST(Usage, TheNearestWordIsSuggestedAndNoFarOne) {
  const std::vector<std::string> words = {"ping", "get", "set", "del", "stats", "explain"};
  EXPECT_EQ(Nearest("pingg", words), "ping");
  EXPECT_EQ(Nearest("delete", words), "del");
  EXPECT_EQ(Nearest("status", words), "stats");
  EXPECT_EQ(Nearest("explian", words), "explain");
  EXPECT_EQ(Nearest("nonsense", words), "");
  EXPECT_EQ(DidYouMean("gte", words), "");
}

TEST(Usage, AnErrorsIdIsTakenAsPeopleTypeIt) {
  for (const char* typed : {"501", "kvg501", "KVG501", "[KVG501]"}) {
    EXPECT_EQ(ErrorIdOf(typed), "KVG501");
  }
  EXPECT_EQ(ErrorIdOf("no-gateway"), "no-gateway");
}

TEST(Usage, ATokensFileOfADaemonIsKnown) {
  EXPECT_TRUE(IsTokensFile("# of two tenants\n\nred abcdef\nblue 123456\n"));
  EXPECT_FALSE(IsTokensFile("abcdef\n"));
  EXPECT_FALSE(IsTokensFile("one two three\n"));
  EXPECT_FALSE(IsTokensFile(""));
}

TEST(Alike, NamespacesOfOneModelAreToldApartByTheirIdentity) {
  std::vector<v1::NamespaceStats> namespaces(3);
  const char* dtypes[] = {"float16", "bfloat16", "float16"};
  for (size_t i = 0; i < 3; ++i) {
    wire::Identity identity;
    identity.model = i == 2 ? "other" : "demo";
    identity.dtype = dtypes[i];
    namespaces[i].set_model(identity.model);
    namespaces[i].set_identity(wire::EncodeIdentity(identity));
  }
  EXPECT_THAT(TellApart(namespaces), ::testing::ElementsAre("dtype=float16", "dtype=bfloat16", ""));
}

v1::ExplainResponse WithEvent(v1::Departure departure) {
  v1::ExplainResponse response;
  v1::NamespaceExplanation* ns = response.add_namespaces();
  ns->set_tenant("default");
  v1::DepartureEvent* event = ns->add_events();
  event->set_departure(departure);
  event->set_at_unix_ms(1'700'000'000'000);
  return response;
}

TEST(ExplainText, EachDepartureHasAReasonAndARemedy) {
  for (const auto& [departure, reason] :
       std::vector<std::pair<v1::Departure, std::string>>{{v1::DEPARTURE_EVICTED, "evicted"},
                                                          {v1::DEPARTURE_RECLAIMED, "reclaimed"},
                                                          {v1::DEPARTURE_EXPIRED, "expired"},
                                                          {v1::DEPARTURE_DELETED, "deleted"},
                                                          {v1::DEPARTURE_CORRUPT, "corrupt"},
                                                          {v1::DEPARTURE_REFUSED, "refused"},
                                                          {v1::DEPARTURE_LATE, "late"}}) {
    const Explained explained = ExplainText("k", WithEvent(departure));
    EXPECT_FALSE(explained.held);
    EXPECT_EQ(explained.reason, reason);
    EXPECT_THAT(explained.lines.back(), HasSubstr("to do: "));
  }
}

TEST(ExplainText, OnlyTheGroupAndShardThatAreAskedAboutCount) {
  v1::ExplainResponse response = WithEvent(v1::DEPARTURE_DELETED);
  v1::HeldBlock* block = response.mutable_namespaces(0)->add_held();
  block->set_group(1);
  block->set_shard(2);
  EXPECT_TRUE(ExplainText("k", response, {.group = 1, .shard = 2}).held);
  EXPECT_EQ(ExplainText("k", response, {.group = 0}).reason, "deleted");
  const Explained none = ExplainText("k", response, {.shard = 3});
  EXPECT_EQ(none.reason, "never_stored");
  EXPECT_THAT(none.lines[2], HasSubstr("there is: group 0 shard 0, group 1 shard 2"));
}

TEST(ExplainText, AnotherIdentityIsNamedWithItsField) {
  v1::ExplainResponse response;
  v1::ElsewhereHeld* there = response.add_namespaces()->add_elsewhere();
  there->set_alias("prod");
  there->set_field("dtype");
  there->set_here("float16");
  there->set_there("bfloat16");
  const Explained explained = ExplainText("k", response);
  EXPECT_EQ(explained.reason, "other_identity");
  EXPECT_THAT(explained.lines[2], HasSubstr("dtype is \"float16\" here and \"bfloat16\" there"));
}

TEST(ExplainText, AKeyThatNobodyKnowsWasNeverStored) {
  v1::ExplainResponse response;
  response.set_remembered_since_unix_ms(1'700'000'000'000);
  const Explained explained = ExplainText("k", response);
  EXPECT_EQ(explained.reason, "never_stored");
  EXPECT_THAT(explained.lines[1], HasSubstr("2023-11-1"));
}

TEST(Top, RatesComeFromTwoSamples) {
  const Counters before = {{"requests_Get_total", 10}, {"get_bytes_memory_total", 0}};
  const Counters now = {{"requests_Get_total", 30},
                        {"get_bytes_memory_total", 4 << 20},
                        {"lookup_keys_total", 100},
                        {"lookup_keys_held_total", 25}};
  const std::vector<std::string> lines = TopLines(before, now, 2);
  EXPECT_THAT(lines[0], HasSubstr("get      10"));
  EXPECT_THAT(lines[1], HasSubstr("(25.0 %)"));
  EXPECT_THAT(lines[3], HasSubstr("2.0 MiB"));
}

TEST(Context, KeysAreTextOrHex) {
  std::string key;
  EXPECT_TRUE(ParseKey("abc", false, &key));
  EXPECT_EQ(key, "abc");
  EXPECT_TRUE(ParseKey("0x00ff", true, &key));
  EXPECT_EQ(key, std::string("\0\xff", 2));
  EXPECT_EQ(Printable(key), "0x00ff");
  for (const char* wrong : {"", "0x", "abc", "zz"}) EXPECT_FALSE(ParseKey(wrong, true, &key));
}

}  // namespace
}  // namespace kvgate::cli
