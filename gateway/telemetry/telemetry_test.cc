// SPDX-License-Identifier: Apache-2.0
#include "gateway/telemetry/telemetry.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "gateway/telemetry/metric_table.h"

namespace kvgate::gateway {
namespace {

using ::testing::HasSubstr;

std::string Scrape(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
    EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    char buffer[4096];
    for (ssize_t n = 0; (n = read(fd, buffer, sizeof(buffer))) > 0;) answer.append(buffer, n);
  }
  close(fd);
  return answer;
}

std::map<std::string, double> SnapshotOf(const Telemetry& telemetry, const std::string& prefix) {
  std::map<std::string, double> counters;
  for (const auto& [name, value] : telemetry.Snapshot(prefix)) counters[name] = value;
  return counters;
}

TEST(Telemetry, CallsAreScrapedByDoorRpcAndCode) {
  Telemetry telemetry;
  telemetry.RecordCall(Door::kGrpc, Rpc::kGet, absl::StatusCode::kOk, absl::Milliseconds(2), 10,
                       1000);
  telemetry.RecordCall(Door::kLocal, Rpc::kSet, absl::StatusCode::kInvalidArgument,
                       absl::Milliseconds(2), 5, 0);
  const std::string text = Scrape(*telemetry.Serve("127.0.0.1:0"));
  EXPECT_THAT(text, HasSubstr(R"(kvgate_requests_total{code="OK",door="grpc",rpc="Get"} 1)"));
  EXPECT_THAT(
      text,
      HasSubstr(R"(kvgate_requests_total{code="INVALID_ARGUMENT",door="local",rpc="Set"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(kvgate_request_bytes_total{direction="out",door="grpc"} 1000)"));
  EXPECT_THAT(text, HasSubstr(R"(kvgate_request_seconds_count{door="grpc",rpc="Get"} 1)"));
}

TEST(Telemetry, SourcesArePulledWhenScraped) {
  Telemetry telemetry;
  int pulls = 0;
  telemetry.AddSource([&pulls](const storage::CounterVisitor& visitor) {
    ++pulls;
    visitor("get_hits_memory_total", 7);
    visitor("get_hits_disk_total", 8);
    visitor("memory_used_bytes", 9);
    visitor("corrupt_total", 1);
  });
  const int port = *telemetry.Serve("127.0.0.1:0");
  EXPECT_EQ(pulls, 0);
  const std::string text = Scrape(port);
  EXPECT_EQ(pulls, 1);
  EXPECT_THAT(text, HasSubstr("# TYPE kvgate_hits_total counter"));
  EXPECT_THAT(text, HasSubstr("kvgate_hits_total{tier=\"memory\"} 7"));
  EXPECT_THAT(text, HasSubstr("kvgate_hits_total{tier=\"disk\"} 8"));
  EXPECT_THAT(text, HasSubstr("# TYPE kvgate_memory_used_bytes gauge"));
  EXPECT_THAT(text, HasSubstr("kvgate_corrupt_total 1"));
}

TEST(Telemetry, ASnapshotHasSourcesAndCallsByPrefix) {
  Telemetry telemetry;
  telemetry.AddSource(
      [](const storage::CounterVisitor& visitor) { visitor("disk_reads_total", 3); });
  for (int i = 0; i < 3; ++i) {
    telemetry.RecordCall(static_cast<Door>(i), Rpc::kGet, absl::StatusCode::kOk,
                         absl::ZeroDuration(), 0, 0);
  }
  EXPECT_EQ(SnapshotOf(telemetry, "")["disk_reads_total"], 3);
  EXPECT_EQ(SnapshotOf(telemetry, "requests_")["requests_Get_total"], 3);
  EXPECT_EQ(SnapshotOf(telemetry, "requests_").count("disk_reads_total"), 0u);
}

TEST(Telemetry, WhatIsSavedFollowsFromHits) {
  Telemetry telemetry;
  telemetry.AddSource([](const storage::CounterVisitor& visitor) {
    visitor("hit_tokens_memory_total", 64);
    visitor("hit_tokens_disk_total", 32);
    visitor("recompute_saved_us_total", 1'500'000);
  });
  const std::string text = Scrape(*telemetry.Serve("127.0.0.1:0"));
  EXPECT_THAT(text, HasSubstr("kvgate_tokens_saved_total 96"));
  EXPECT_THAT(text, HasSubstr("kvgate_seconds_saved_total 1.5"));
  EXPECT_THAT(text, HasSubstr("kvgate_hit_tokens_total{tier=\"memory\"} 64"));
  EXPECT_THAT(text, HasSubstr("kvgate_hit_tokens_total{tier=\"disk\"} 32"));
}

TEST(Telemetry, WaitsAreScrapedByTheTierThatTheyReached) {
  Telemetry telemetry;
  telemetry.RecordWait(Rpc::kGet, storage::Tier::kDisk, absl::Milliseconds(2));
  telemetry.RecordWait(Rpc::kLookup, storage::Tier::kMemory, absl::Milliseconds(2));
  const std::string text = Scrape(*telemetry.Serve("127.0.0.1:0"));
  EXPECT_THAT(text, HasSubstr(R"(kvgate_get_wait_seconds_count{rpc="Get",tier="disk"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(kvgate_get_wait_seconds_count{rpc="Get",tier="memory"} 0)"));
  EXPECT_THAT(text, HasSubstr(R"(kvgate_get_wait_seconds_count{rpc="Lookup",tier="memory"} 1)"));
}

TEST(MetricTable, EveryNameStandsOnceWithAHelp) {
  std::map<std::string, int> seen;
  for (const MetricSection& section : MetricSections()) {
    for (const Metric& metric : section.metrics) {
      EXPECT_EQ(++seen[metric.name], 1) << metric.name;
      EXPECT_STREQ(MetricHelp(metric.name), metric.help);
      EXPECT_STRNE(metric.help, "") << metric.name;
    }
  }
  EXPECT_GT(seen.size(), 100u);
  EXPECT_STREQ(MetricHelp("no_such_name"), "");
}

TEST(MetricTable, ThePageHasNamesKindsAndLabels) {
  const std::string page = MetricsMarkdown();
  EXPECT_THAT(page, HasSubstr("| `kvgate_hit_tokens_total` | counter | tier | "));
  EXPECT_THAT(page, HasSubstr("| `disk_requests_queued` | gauge | "));
  EXPECT_THAT(page, HasSubstr("| `tokens_saved_total` | counter | "));
}

TEST(Telemetry, HelpComesFromTheTable) {
  Telemetry telemetry;
  const std::string text = Scrape(*telemetry.Serve("127.0.0.1:0"));
  EXPECT_THAT(text, HasSubstr(std::string("# HELP kvgate_tokens_saved_total ") +
                              MetricHelp("tokens_saved_total")));
}

TEST(Telemetry, AnUnknownCodeIsCountedAsUnknown) {
  Telemetry telemetry;
  telemetry.RecordCall(Door::kGrpc, Rpc::kGet, static_cast<absl::StatusCode>(99),
                       absl::ZeroDuration(), 0, 0);
  EXPECT_THAT(Scrape(*telemetry.Serve("127.0.0.1:0")), HasSubstr(R"(code="UNKNOWN")"));
}

TEST(Telemetry, CallsOfManyThreadsAreAllCounted) {
  Telemetry telemetry;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&telemetry] {
      for (int i = 0; i < 1000; ++i) {
        telemetry.RecordCall(Door::kGrpc, Rpc::kLookup, absl::StatusCode::kOk,
                             absl::Microseconds(1), 1, 1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(SnapshotOf(telemetry, "requests_L")["requests_Lookup_total"], 4000);
}

TEST(Telemetry, ATakenAddressIsNamed) {
  Telemetry first, second;
  const std::string address = "127.0.0.1:" + std::to_string(*first.Serve("127.0.0.1:0"));
  const absl::Status status = second.Serve(address).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr(address));
}

TEST(Telemetry, NothingIsServedAfterStop) {
  Telemetry telemetry;
  const int port = *telemetry.Serve("127.0.0.1:0");
  telemetry.Stop();
  EXPECT_EQ(Scrape(port), "");
}

}  // namespace
}  // namespace kvgate::gateway
