// SPDX-License-Identifier: Apache-2.0
//
// MB/s of each engine at a fixed number of requests in flight, 1 MiB each, random places:
//   disk_benchmark [--benchmark_filter=auto_read]
// The file lies in TMPDIR (or /tmp) and is written once before, so that the second lap is measured.
// Labels say what was really used ("io_uring direct").
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "storage/base/aligned_buffer.h"
#include "storage/io/disk.h"
#include "storage/io/file_util.h"

namespace kvgate::storage {
namespace {

constexpr size_t kBlock = 1 << 20;

// The smoke test needs a small file, figures one that no cache of the device holds.
uint64_t FileBytes() {
  const char* megabytes = std::getenv("KVGATE_DISK_BENCHMARK_MB");
  return (megabytes == nullptr ? 64 : std::strtoull(megabytes, nullptr, 10)) << 20;
}

std::string Path() {
  const char* directory = std::getenv("TEST_TMPDIR");
  if (directory == nullptr) directory = std::getenv("TMPDIR");
  return absl::StrCat(directory == nullptr ? "/tmp" : directory, "/kvgate_disk_benchmark_",
                      getpid());
}

class File {
 public:
  explicit File(DiskOptions::Engine engine) : path_(Path()) {
    DiskOptions options;
    options.engine = engine;
    auto disk = OpenDisk(path_, FileBytes(), options);
    if (!disk.ok()) {
      error_ = disk.status().ToString();
      return;
    }
    disk_ = *std::move(disk);
    AlignedBuffer block(kBlock);
    std::memset(block.data(), 0x5a, block.size());
    for (uint64_t at = 0; at < disk_->bytes() && error_.empty(); at += kBlock) {
      if (absl::Status status = disk_->WriteSync(at, block.span()); !status.ok()) {
        error_ = status.ToString();
      }
    }
    if (absl::Status status = disk_->SyncSync(); !status.ok()) error_ = status.ToString();
  }
  ~File() {
    disk_.reset();
    if (absl::Status status = RemovePath(path_); !status.ok()) {
      std::fprintf(stderr, "%s\n", status.ToString().c_str());
    }
  }
  Disk* disk() { return disk_.get(); }
  const std::string& error() const { return error_; }

 private:
  const std::string path_;
  std::unique_ptr<Disk> disk_;
  std::string error_;
};

// Keeps `depth` requests in flight for the whole run: each end starts the next.
void Run(benchmark::State& state, DiskOptions::Engine engine, bool write) {
  File file(engine);
  if (!file.error().empty()) return state.SkipWithError(file.error().c_str());
  Disk* disk = file.disk();
  const auto depth = static_cast<size_t>(state.range(0));
  AlignedBuffer memory = AlignedBuffer::Zeroed(depth * kBlock);
  disk->RegisterBuffer(memory.span());
  std::mt19937_64 random(1);
  const uint64_t blocks = disk->bytes() / kBlock;

  absl::Mutex mutex;
  std::vector<size_t> idle;
  bool failed = false;
  for (size_t i = 0; i < depth; ++i) idle.push_back(i);
  for (auto _ : state) {
    size_t slot = 0;
    {
      absl::MutexLock lock(&mutex);
      mutex.Await(absl::Condition(
          +[](std::vector<size_t>* free) { return !free->empty(); }, &idle));
      slot = idle.back();
      idle.pop_back();
    }
    const auto buffer = memory.span().subspan(slot * kBlock, kBlock);
    const IoDone done = [&, slot](absl::Status status) {
      absl::MutexLock lock(&mutex);
      failed |= !status.ok();
      idle.push_back(slot);
    };
    const uint64_t offset = random() % blocks * kBlock;
    if (write) {
      disk->Write(offset, buffer, IoClass::kFlush, done);
    } else {
      disk->Read(offset, buffer, IoClass::kRead, absl::InfiniteFuture(), done);
    }
  }
  {
    absl::MutexLock lock(&mutex);
    const auto all = [&] { return idle.size() == depth; };
    mutex.Await(absl::Condition(&all));
  }
  disk->UnregisterBuffer(memory.span());
  if (failed) state.SkipWithError("a request failed");
  state.SetLabel(absl::StrCat(std::string(disk->engine()), " ", std::string(disk->mode())));
  state.counters["MB/s"] = benchmark::Counter(
      static_cast<double>(state.iterations()) * kBlock / 1e6, benchmark::Counter::kIsRate);
}

#define KVGATE_DISK_BENCHMARK(name, engine, write)                 \
  BENCHMARK_CAPTURE(Run, name, DiskOptions::Engine::engine, write) \
      ->Arg(1)                                                     \
      ->Arg(8)                                                     \
      ->UseRealTime()                                              \
      ->Unit(benchmark::kMicrosecond)

KVGATE_DISK_BENCHMARK(auto_read, kAuto, false);
KVGATE_DISK_BENCHMARK(auto_write, kAuto, true);
KVGATE_DISK_BENCHMARK(posix_read, kPosix, false);
KVGATE_DISK_BENCHMARK(posix_write, kPosix, true);

}  // namespace
}  // namespace kvgate::storage

BENCHMARK_MAIN();
