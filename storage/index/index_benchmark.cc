// SPDX-License-Identifier: Apache-2.0
//
// The index alone: filling it as a recovery does, finding at random, and what a block costs.
#include <random>

#include "benchmark/benchmark.h"
#include "storage/index/index.h"

namespace kvgate::storage {
namespace {

// Blocks in chains of 100, as prompts make them.
IndexEntry BlockOf(uint64_t number) {
  const auto hash = [](uint64_t n) {
    const uint64_t lo = (n + 1) * 0x9e3779b97f4a7c15;  // the index mixes it
    return wire::Hash128{lo, ~lo};
  };
  IndexEntry entry;
  entry.id = {1, hash(number), 0, 0};
  entry.version = number + 1;
  entry.place = {static_cast<uint32_t>(number >> 12), static_cast<uint16_t>(1 + number % 4096)};
  entry.length = 65536;
  entry.depth = static_cast<uint32_t>(number % 100);
  if (number % 100 != 0) entry.parent = hash(number - 1);
  return entry;
}

std::vector<IndexEntry> Blocks(uint64_t count) {
  std::vector<IndexEntry> blocks;
  blocks.reserve(count);
  for (uint64_t i = 0; i < count; ++i) blocks.push_back(BlockOf(i));
  return blocks;
}

void BM_Fill(benchmark::State& state) {
  const auto count = static_cast<uint64_t>(state.range(0));
  const std::vector<IndexEntry> blocks = Blocks(count);
  double bytes = 0;
  for (auto _ : state) {
    auto index = NewSlabIndex(count + count / 8);
    for (const IndexEntry& block : blocks) index->Put(block);
    bytes = static_cast<double>(index->MemoryBytes());
    state.PauseTiming();
    index.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * count));
  state.counters["bytes_a_block"] = bytes / static_cast<double>(count);
}
BENCHMARK(BM_Fill)->Arg(100'000)->Arg(2'000'000)->Unit(benchmark::kMillisecond);

void BM_FindState(benchmark::State& state) {
  const auto count = static_cast<uint64_t>(state.range(0));
  const std::vector<IndexEntry> blocks = Blocks(count);
  auto index = NewSlabIndex(count + count / 8);
  for (const IndexEntry& block : blocks) index->Put(block);
  std::mt19937_64 random(1);
  std::vector<BlockId> ids;
  for (int i = 0; i < 1 << 16; ++i) ids.push_back(blocks[random() % count].id);
  size_t at = 0;
  for (auto _ : state) benchmark::DoNotOptimize(index->FindState(ids[at++ % ids.size()]));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_FindState)->Arg(100'000)->Arg(2'000'000);

}  // namespace
}  // namespace kvgate::storage

BENCHMARK_MAIN();
