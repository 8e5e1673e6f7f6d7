// SPDX-License-Identifier: Apache-2.0
//
// How long a start takes, as facts in JSON; the benchmark's driver (tests/bench) puts them
// together.
//
//   recovery_bench fill DIR BLOCKS BLOCK_BYTES   stores that many, says so, waits to be killed
//   recovery_bench open DIR BLOCKS               first answer, and until all is known
//   recovery_bench footers DIR TIB BLOCK_BYTES   segments of that much data in a sparse file, of
//                                                which only headers, first batches and footers
//                                                exist
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "storage/log/device_set.h"
#include "storage/log/segment_reader.h"
#include "storage/store.h"

namespace kvgate::storage {
namespace {

constexpr uint64_t kTiB = 1ull << 40;
constexpr uint64_t kPoolBytes = 64ull << 30;  // configured, never touched
constexpr size_t kChain = 256;

[[noreturn]] void Die(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  std::exit(1);
}

wire::Identity BenchIdentity() {
  wire::Identity identity;
  identity.model = "bench";
  identity.weights_id = "1";
  identity.layout = "bench";
  wire::KvGroup group;
  group.kind = wire::GroupKind::kFullAttention;
  group.block_tokens = 16;
  group.layer_names = {"layer"};
  group.page_bytes = 4096;
  identity.groups.push_back(group);
  return identity;
}

std::string KeyOf(uint64_t number) {
  return absl::StrCat("block-", absl::Hex(number, absl::kZeroPad16));
}

StoreOptions Options(const std::string& directory, uint64_t disk_bytes) {
  StoreOptions options;
  options.log.directories = {directory};
  options.log.bytes_max = disk_bytes;
  options.index_blocks_max = 20u << 20;
  options.serve_while_loading = true;
  return options;
}

uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

void Fill(const std::string& directory, uint64_t blocks, uint64_t bytes) {
  RealClock clock;
  StoreOptions options = Options(directory, blocks * (bytes + 512) * 5 / 4 + (4ull << 30));
  options.memory.bytes_max = 256 << 20;
  auto store = Store::Open(options, &clock);
  if (!store.ok()) Die(store.status());
  auto ns = (*store)->OpenNamespace("bench", "bench", BenchIdentity());
  if (!ns.ok()) Die(ns.status());
  const std::string value(bytes, 'v');
  std::string parent;
  for (uint64_t first = 0; first < blocks; first += kChain) {
    SetRequest request;
    request.ns = ns->id;
    request.durability = Durability::kLogged;
    std::vector<std::string> keys;
    for (uint64_t i = first; i < std::min(first + kChain, blocks); ++i) keys.push_back(KeyOf(i));
    for (const std::string& key : keys) {
      request.items.push_back(
          {key, {{reinterpret_cast<const std::byte*>(value.data()), bytes}}, std::nullopt, 0});
    }
    absl::Notification answered;
    (*store)->Set(request, [&](auto results) {
      if (!results.ok()) Die(results.status());
      for (const SetResult& result : *results) {
        if (result.state != SetState::kStored) Die(absl::InternalError("a block was not stored"));
      }
      answered.Notify();
    });
    answered.WaitForNotification();
  }
  std::puts("filled");
  std::fflush(stdout);
  pause();
}

void Open(const std::string& directory, uint64_t blocks) {
  const auto began = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  };
  RealClock clock;
  StoreOptions options = Options(directory, 0);
  options.memory.bytes_max = kPoolBytes;
  // As large as it was made.
  std::ifstream data(directory + "/kvgate.data", std::ios::ate);
  options.log.bytes_max = static_cast<uint64_t>(data.tellg());
  auto store = Store::Open(options, &clock);
  if (!store.ok()) Die(store.status());
  const double open_s = seconds();
  const bool loading = (*store)->facts().loading;
  auto ns = (*store)->OpenNamespace("bench", "bench", BenchIdentity());
  if (!ns.ok()) Die(ns.status());
  const auto state_of = [&](uint64_t number) {
    const std::string key = KeyOf(number);
    GetRequest request;
    request.ns = ns->id;
    request.keys = {key};
    absl::Notification answered;
    GetState state = GetState::kMiss;
    (*store)->Get(request, [&](auto results) {
      if (results.ok()) state = results->front().state;
      answered.Notify();
    });
    answered.WaitForNotification();
    return state;
  };
  state_of(0);
  const double first_answer_s = seconds();
  absl::Notification loaded;
  (*store)->WhenLoaded([&](const absl::Status& status) {
    if (!status.ok()) Die(status);
    loaded.Notify();
  });
  loaded.WaitForNotification();
  const double warm_s = seconds();
  double entries = 0, index_bytes = 0;
  (*store)->VisitCounters([&](std::string_view name, double value) {
    if (name == "index_entries") entries = value;
    if (name == "index_bytes") index_bytes = value;
  });
  uint64_t hits = 0, asked = 0;
  for (uint64_t i = 0; blocks > 0 && i < 100; ++i, ++asked) {
    hits += state_of(blocks / 100 * i) == GetState::kOk;
  }
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  std::printf(
      "{\"open_s\": %.4f, \"served_while_loading\": %s, \"first_answer_s\": %.4f, \"warm_s\": "
      "%.4f, "
      "\"entries\": %.0f, \"index_bytes\": %.0f, \"asked\": %llu, \"hits\": %llu, "
      "\"rss_bytes\": %llu, \"rss_max_bytes\": %llu, \"cpu_s\": %.3f}\n",
      open_s, loading ? "true" : "false", first_answer_s, warm_s, entries, index_bytes,
      static_cast<unsigned long long>(asked), static_cast<unsigned long long>(hits),
      static_cast<unsigned long long>(ResidentBytes()),
      static_cast<unsigned long long>(usage.ru_maxrss) * 1024,
      static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
          static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
  std::fflush(stdout);
  _exit(0);  // as a kill would: the next run finds what this one found
}

// One sealed segment: what a recovery reads of it is real, what lies between is a hole.
absl::Status WriteFooters(const LogDevice& device, uint32_t segment, uint64_t block_bytes,
                          const NamespaceRef& ns, std::mt19937_64* random, uint64_t* version) {
  const auto block_pages = static_cast<uint32_t>(block_bytes / kPageBytes);
  const uint32_t per_batch = kBatchEntriesMax;
  const std::string key = KeyOf(segment);
  FooterBuilder builder;
  wire::Hash128 parent;
  RecordMeta first;
  uint32_t page = 1;
  for (uint32_t i = 0; page + 3 + block_pages + builder.Pages(1) < device.segment_pages(); ++i) {
    if (i % per_batch == 0) page += 2;  // the batch's header
    RecordMeta meta;
    meta.ns = ns.id;
    const uint64_t lo = (*random)();
    meta.hash = {lo, (*random)()};
    if (i % kChain != 0) meta.parent = parent;
    parent = meta.hash;
    meta.version = ++*version;
    meta.length = static_cast<uint32_t>(block_bytes);
    meta.depth = i % kChain;
    if (i == 0) first = meta;
    builder.Add(ns, meta, static_cast<uint16_t>(page));
    page += block_pages;
  }
  SetMarks marks{.sequence_max = segment + 1, .version_max = *version, .namespace_id_max = ns.id};
  const BatchRecord record{&first, key};
  const uint32_t header_pages = BatchHeaderPages({&record, 1});
  BatchInfo info{.device_uuid = device.uuid,
                 .segment = segment,
                 .first_page = 1,
                 .header_pages = header_pages,
                 .batch_pages = header_pages + block_pages,
                 .lap = 1,
                 .sequence = segment + 1,
                 .batch_seq = segment + 1,
                 .marks = marks};
  std::vector<uint16_t> pages_of;
  AlignedBuffer header(header_pages * kPageBytes);
  EncodeBatchHeader(info, ns, {&record, 1}, {header.data(), header_pages * kPageBytes}, &pages_of);
  if (absl::Status s = device.disk->WriteSync(device.OffsetOf(segment, 1),
                                              {header.data(), header_pages * kPageBytes});
      !s.ok()) {
    return s;
  }
  const FooterInfo footer{.device_uuid = device.uuid,
                          .segment = segment,
                          .data_pages = page,
                          .lap = 1,
                          .sequence = segment + 1,
                          .last_batch_seq = segment + 1,
                          .marks = marks};
  return WriteFooter(device, segment, builder.Encode(footer));
}

void Footers(const std::string& directory, double tib, uint64_t block_bytes) {
  RealClock clock;
  LogOptions options;
  options.directories = {directory};
  options.bytes_max = static_cast<uint64_t>(tib * static_cast<double>(kTiB));
  // Larger than the file system: it stays a file of holes.
  const std::string path = directory + "/kvgate.data";
  std::ofstream(path).close();
  std::error_code failed;
  std::filesystem::resize_file(path, options.bytes_max, failed);
  if (failed) Die(absl::UnavailableError(failed.message()));
  auto disk = OpenDisk(directory + "/kvgate.data", options.bytes_max, DiskOptions());
  if (!disk.ok()) Die(disk.status());
  std::vector<std::unique_ptr<Disk>> disks;
  disks.push_back(std::move(*disk));
  auto set = OpenDeviceSet(options, std::move(disks), clock);
  if (!set.ok()) Die(set.status());
  NamespaceRef ns{.id = 1, .tenant = "bench", .identity_digest = {}};
  ns.identity_digest = wire::DigestIdentity(wire::EncodeIdentity(BenchIdentity()));
  std::mt19937_64 random(1);
  uint64_t version = 0;
  LogDevice& device = *set->devices[0];
  for (uint32_t segment = 0; segment + 4 < device.segments; ++segment) {
    absl::Status status = WriteFooters(device, segment, block_bytes, ns, &random, &version);
    if (!status.ok()) Die(status);
  }
  if (absl::Status status = device.disk->SyncSync(); !status.ok()) Die(status);
  std::printf("{\"segments\": %u, \"blocks\": %llu}\n", device.segments,
              static_cast<unsigned long long>(version));
}

int Main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  if (verb == "fill" && argc == 5) {
    Fill(argv[2], std::strtoull(argv[3], nullptr, 10), std::strtoull(argv[4], nullptr, 10));
  } else if (verb == "open" && argc == 4) {
    Open(argv[2], std::strtoull(argv[3], nullptr, 10));
  } else if (verb == "footers" && argc == 5) {
    Footers(argv[2], std::strtod(argv[3], nullptr), std::strtoull(argv[4], nullptr, 10));
  } else {
    std::fputs(
        "usage: recovery_bench fill DIR BLOCKS BYTES | open DIR BLOCKS | footers DIR TIB BYTES\n",
        stderr);
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace kvgate::storage

int main(int argc, char** argv) { return kvgate::storage::Main(argc, argv); }
