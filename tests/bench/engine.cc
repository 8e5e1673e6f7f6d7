// SPDX-License-Identifier: Apache-2.0
//
// The store without doors, for figures: `./dev bench engine` (engine.py) writes one command a line
// to standard input and reads one JSON object a line.
//
//   open DIR MEMORY_BYTES DISK_BYTES auto|posix THREADS   close
//   fill BLOCK_BYTES BYTES           writes so many new blocks and waits for the disk
//   read BLOCK_BYTES DEPTH SECONDS BYTES   Gets of the last BYTES, each in turn of a shuffle
//   write BLOCK_BYTES DEPTH SECONDS        Sets of new blocks, LOGGED
//   mixed BLOCK_BYTES DEPTH SECONDS BYTES SKIP   both; reads what was written SKIP bytes ago
//   raw FILE FILE_BYTES auto|posix THREADS DEPTH BLOCK_BYTES SECONDS   reads through Disk alone
//   counters
//
// Single-threaded but for the store's threads and the writer of `mixed`. A failed command ends it.
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "nlohmann/json.hpp"
#include "storage/base/aligned_buffer.h"
#include "storage/io/disk.h"
#include "storage/store.h"

namespace kvgate {
namespace {

using nlohmann::json;
using storage::Store;
using Steady = std::chrono::steady_clock;

constexpr size_t kPatternBytes = 64 << 20;
constexpr double kGiB = 1 << 30;

[[noreturn]] void Die(const std::string& what) {
  std::cout << json{{"error", what}} << std::endl;
  std::exit(1);
}

void Need(const absl::Status& status, const char* what) {
  if (!status.ok()) Die(absl::StrCat(what, ": ", status.ToString()));
}

double CpuSeconds() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

// A number that comes back when what it counts has ended.
class InFlight {
 public:
  void Take(uint32_t max) {
    absl::MutexLock lock(&mutex_);
    const auto room = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return count_ < max; };
    mutex_.Await(absl::Condition(&room));
    ++count_;
  }
  void Give() {
    absl::MutexLock lock(&mutex_);
    --count_;
  }
  void Drain() {
    absl::MutexLock lock(&mutex_);
    const auto none = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return count_ == 0; };
    mutex_.Await(absl::Condition(&none));
  }

 private:
  absl::Mutex mutex_;
  uint32_t count_ ABSL_GUARDED_BY(mutex_) = 0;
};

// What a stretch of time cost.
class Meter {
 public:
  explicit Meter(double seconds) : seconds_(seconds), began_(Steady::now()), cpu_(CpuSeconds()) {}
  bool over() const { return elapsed() >= seconds_; }
  double elapsed() const { return std::chrono::duration<double>(Steady::now() - began_).count(); }
  json Result(double bytes, double operations) const {
    const double took = elapsed(), cpu = CpuSeconds() - cpu_;
    return {{"bytes_per_s", bytes / took},
            {"per_s", operations / took},
            {"cpu_s_per_gib", bytes > 0 ? cpu / (bytes / kGiB) : 0}};
  }

 private:
  const double seconds_;
  const Steady::time_point began_;
  const double cpu_;
};

wire::Identity BenchIdentity() {
  wire::Identity identity;
  identity.model = "bench";
  identity.weights_id = "1";
  identity.layout = "opaque";
  identity.shards = 1;
  wire::KvGroup group;
  group.kind = wire::GroupKind::kFullAttention;
  group.block_tokens = 16;
  group.layer_names = {"all"};
  group.page_bytes = 4096;
  identity.groups.push_back(group);
  return identity;
}

class Engine {
 public:
  Engine() : pattern_(kPatternBytes) {
    std::mt19937_64 random(1);
    for (size_t i = 0; i < pattern_.size(); i += sizeof(uint64_t)) {
      const uint64_t word = random();
      std::memcpy(&pattern_[i], &word, sizeof(word));
    }
  }

  json Open(std::istream& words) {
    storage::StoreOptions options;
    std::string directory, engine;
    uint32_t threads = 0;
    words >> directory >> options.memory.bytes_max >> options.log.bytes_max >> engine >> threads;
    options.log.directories = {directory};
    if (engine == "posix") options.disk.engine = storage::DiskOptions::Engine::kPosix;
    if (threads > 0) options.disk.posix_threads = threads;
    auto store = Store::Open(options, &clock_);
    Need(store.status(), "open");
    store_ = *std::move(store);
    auto ns = store_->OpenNamespace("bench", "", BenchIdentity());
    Need(ns.status(), "namespace");
    ns_ = ns->id;
    const storage::StoreFacts facts = store_->facts();
    return {{"engine", facts.disk_engine}, {"mode", facts.disk_mode}};
  }

  json Close() {
    Need(store_->Close(absl::Seconds(60)), "close");
    store_.reset();
    return json::object();
  }

  json Fill(std::istream& words) {
    uint64_t block = 0, bytes = 0;
    words >> block >> bytes;
    first_ = next_;
    for (uint64_t done = 0; done < bytes; done += block) SetNext(block, 16);
    writing_.Drain();
    return {{"blocks", next_ - first_}, {"not_logged", not_logged_.load()}};
  }

  // `window` blocks that were written last but for the youngest `skip`: in a shuffle's order, so
  // that each has left memory when its turn comes again.
  json Read(std::istream& words) {
    uint64_t block = 0;
    uint32_t depth = 0;
    double seconds = 0;
    uint64_t window = 0;
    words >> block >> depth >> seconds >> window;
    Shuffle(window / block);
    return RunReads(block, depth, seconds, next_ - window / block);
  }

  json Write(std::istream& words) {
    uint64_t block = 0;
    uint32_t depth = 0;
    double seconds = 0;
    words >> block >> depth >> seconds;
    return RunWrites(block, depth, seconds);
  }

  json Mixed(std::istream& words) {
    uint64_t block = 0, window = 0, skip = 0;
    uint32_t depth = 0;
    double seconds = 0;
    words >> block >> depth >> seconds >> window >> skip;
    json written;
    Shuffle(window / block);
    moving_skip_ = (window + skip) / block;
    std::thread writer([&] { written = RunWrites(block, 16, seconds); });
    json read = RunReads(block, depth, seconds, 0);
    writer.join();
    moving_skip_ = 0;
    return {{"read", read}, {"write", written}};
  }

  json Counters() {
    json out = json::object();
    store_->VisitCounters(
        [&](std::string_view name, double value) { out[std::string(name)] = value; });
    return out;
  }

 private:
  void Shuffle(uint64_t count) {
    if (order_.size() == count) return;
    order_.resize(count);
    for (uint64_t i = 0; i < count; ++i) order_[i] = i;
    std::shuffle(order_.begin(), order_.end(), std::mt19937_64(2));
    turn_ = 0;
  }

  static std::string KeyOf(uint64_t number) { return absl::StrFormat("%032d", number); }

  void SetNext(uint64_t block, uint32_t depth) {
    const uint64_t number = next_;
    const std::string key = KeyOf(number);
    storage::SetRequest request;
    request.ns = ns_;
    request.durability = storage::Durability::kLogged;
    const size_t at = number * 4096 % (kPatternBytes - block);
    request.items.push_back(
        {key, {std::as_bytes(std::span(pattern_)).subspan(at, block)}, std::nullopt, 0});
    writing_.Take(depth);
    store_->Set(request, [this](absl::StatusOr<std::vector<storage::SetResult>> results) {
      if (!results.ok() || results->front().durability != storage::Durability::kLogged) {
        ++not_logged_;
      }
      writing_.Give();
    });
    ++next_;
  }

  json RunWrites(uint64_t block, uint32_t depth, double seconds) {
    const json before = Counters();
    const uint64_t first = next_, not_logged = not_logged_;
    const Meter meter(seconds);
    while (!meter.over()) SetNext(block, depth);
    writing_.Drain();
    const double count = static_cast<double>(next_ - first);
    json result = meter.Result(count * static_cast<double>(block), count);
    const json after = Counters();
    const auto grew = [&](const char* name) {
      return after[name].get<double>() - before[name].get<double>();
    };
    result["device_bytes_per_s"] =
        (grew("disk_written_bytes_total") + grew("rocksdb_bytes_written_total")) / meter.elapsed();
    result["not_logged"] = not_logged_ - not_logged;
    return result;
  }

  // Each end starts the next read, on the store's thread: nobody is woken for it.
  void StartRead() {
    if (meter_->over()) return reading_.Give();
    const uint64_t place = order_[turn_++ % order_.size()];
    const uint64_t first = moving_skip_ > 0 ? next_ - moving_skip_ : first_read_;
    const std::string key = KeyOf(first + place);
    storage::GetRequest request;
    request.ns = ns_;
    request.keys = {key};
    store_->Get(request, [this](absl::StatusOr<std::vector<storage::GetResult>> results) {
      Need(results.status(), "get");
      const storage::GetResult& result = results->front();
      if (result.state != storage::GetState::kOk) {
        ++missed_;
        last_miss_ = static_cast<int>(result.state);
      } else if (result.tier == storage::Tier::kDisk) {
        ++from_disk_;
      } else {
        ++from_memory_;
      }
      results->clear();  // gives the bytes back
      StartRead();
    });
  }

  json RunReads(uint64_t block, uint32_t depth, double seconds, uint64_t first) {
    from_disk_ = from_memory_ = missed_ = 0;
    first_read_ = first;
    meter_ = std::make_unique<Meter>(seconds);
    for (uint32_t i = 0; i < depth; ++i) {
      reading_.Take(depth);
      StartRead();
    }
    reading_.Drain();
    const auto count = static_cast<double>(from_disk_);
    json result = meter_->Result(count * static_cast<double>(block), count);
    result["from_memory"] = from_memory_.load();
    result["missed"] = missed_.load();
    result["last_miss"] = last_miss_.load();  // a GetState
    return result;
  }

  storage::RealClock clock_;
  std::vector<char> pattern_;
  std::unique_ptr<Store> store_;
  storage::NamespaceId ns_ = 0;
  std::atomic<uint64_t> next_{0}, not_logged_{0}, moving_skip_{0};
  uint64_t first_ = 0, first_read_ = 0;
  std::vector<uint64_t> order_;
  std::atomic<uint64_t> turn_{0}, from_disk_{0}, from_memory_{0}, missed_{0};
  std::atomic<int> last_miss_{0};
  std::unique_ptr<Meter> meter_;
  InFlight writing_, reading_;
};

// The Disk alone: what the store adds is the difference, its checksum included.
json Raw(std::istream& words) {
  std::string path, engine;
  uint32_t depth = 0, threads = 0;
  uint64_t block = 0;
  double seconds = 0;
  uint64_t file_bytes = 0;
  words >> path >> file_bytes >> engine >> threads >> depth >> block >> seconds;
  storage::DiskOptions options;
  if (engine == "posix") options.engine = storage::DiskOptions::Engine::kPosix;
  if (threads > 0) options.posix_threads = threads;
  auto disk = storage::OpenDisk(path, file_bytes, options);
  Need(disk.status(), "raw");
  storage::AlignedBuffer memory = storage::AlignedBuffer::Zeroed(depth * block);
  (*disk)->RegisterBuffer(memory.span());
  std::mt19937_64 random(3);
  const uint64_t blocks = (*disk)->bytes() / block;
  if (blocks == 0) Die("raw: the file is smaller than a block");
  absl::Mutex mutex;
  uint64_t done = 0;
  InFlight reading;
  const Meter meter(seconds);
  std::function<void(uint32_t)> start = [&](uint32_t slot) {
    if (meter.over()) return reading.Give();
    uint64_t place = 0;
    {
      absl::MutexLock lock(&mutex);
      place = random() % blocks;
    }
    (*disk)->Read(place * block, memory.span().subspan(slot * block, block),
                  storage::IoClass::kRead, absl::InfiniteFuture(),
                  [&, slot](const absl::Status& status) {
                    Need(status, "raw read");
                    {
                      absl::MutexLock lock(&mutex);
                      ++done;
                    }
                    start(slot);
                  });
  };
  for (uint32_t i = 0; i < depth; ++i) {
    reading.Take(depth);
    start(i);
  }
  reading.Drain();
  const auto count = static_cast<double>(done);
  json result = meter.Result(count * static_cast<double>(block), count);
  (*disk)->UnregisterBuffer(memory.span());
  return result;
}

int Run() {
  Engine engine;
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    json answer;
    if (verb == "open")
      answer = engine.Open(words);
    else if (verb == "close")
      answer = engine.Close();
    else if (verb == "fill")
      answer = engine.Fill(words);
    else if (verb == "read")
      answer = engine.Read(words);
    else if (verb == "write")
      answer = engine.Write(words);
    else if (verb == "mixed")
      answer = engine.Mixed(words);
    else if (verb == "counters")
      answer = engine.Counters();
    else if (verb == "raw")
      answer = Raw(words);
    else
      Die(absl::StrCat("unknown command: ", line));
    std::cout << answer << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace kvgate

int main() { return kvgate::Run(); }
