// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "proto/wire/checksum.h"

namespace kvgate::wire {
namespace {

void Crc(benchmark::State& state) {
  const std::vector<char> bytes(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) benchmark::DoNotOptimize(Crc32c(0, bytes.data(), bytes.size()));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Crc)->Arg(64)->Arg(4096)->Arg(1 << 20);

// Copies walk through 64 MiB, so that they do not stay in a cache.
template <typename Copy>
void Walk(benchmark::State& state, Copy copy) {
  const size_t bytes = static_cast<size_t>(state.range(0)), all = 64 << 20;
  const std::vector<char> from(all, 'x');
  std::vector<char> to(all, 'y');
  size_t at = 0;
  for (auto _ : state) {
    copy(to.data() + at, from.data() + at, bytes);
    at = (at + bytes) % all;
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void CopyCrc(benchmark::State& state) {
  Walk(state, [](char* to, const char* from, size_t bytes) {
    benchmark::DoNotOptimize(CopyCrc32c(0, to, from, bytes));
  });
}
BENCHMARK(CopyCrc)->Arg(1 << 20);

void Memcpy(benchmark::State& state) {
  Walk(state, [](char* to, const char* from, size_t bytes) {
    benchmark::DoNotOptimize(std::memcpy(to, from, bytes));
  });
}
BENCHMARK(Memcpy)->Arg(1 << 20);

void Combine(benchmark::State& state) {
  uint32_t crc = 1;
  for (auto _ : state) benchmark::DoNotOptimize(crc = Crc32cCombine(crc, 7, 2 << 20));
}
BENCHMARK(Combine);

}  // namespace
}  // namespace kvgate::wire

BENCHMARK_MAIN();
