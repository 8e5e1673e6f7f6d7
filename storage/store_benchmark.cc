// SPDX-License-Identifier: Apache-2.0
//
// The store's verbs in memory, without a door: Set and Get of 1 MiB blocks in batches of 32, Lookup
// of a chain of 1,000 keys of 32 bytes.
#include <cstring>

#include "absl/strings/str_format.h"
#include "benchmark/benchmark.h"
#include "storage/store_test_util.h"

namespace kvgate::storage {
namespace {

constexpr size_t kBatch = 32, kBlockBytes = 1 << 20;

struct Fixture {
  explicit Fixture(size_t keys, size_t bytes) {
    StoreOptions options;
    options.memory.bytes_max = 512 << 20;
    store = std::move(*Store::OpenOn(options, &clock, {}));
    ns = store->OpenNamespace("tenant", "", TestIdentity())->id;
    for (size_t i = 0; i < keys; ++i) names.push_back(absl::StrFormat("%032d", i));
    value = ValueOf("value", 0, bytes);
  }

  void Set(SetMode mode) {
    for (size_t first = 0; first < names.size(); first += kBatch) {
      SetRequest request;
      request.ns = ns;
      request.mode = mode;
      if (first > 0) request.parent = names[first - 1];
      request.depth = static_cast<uint32_t>(first);
      for (size_t i = first; i < std::min(first + kBatch, names.size()); ++i) {
        request.items.push_back({names[i], {BytesOf(value)}, std::nullopt, 0});
      }
      store->Set(request, [](auto results) { benchmark::DoNotOptimize(results); });
    }
  }

  RealClock clock;
  std::unique_ptr<Store> store;
  NamespaceId ns = 0;
  std::vector<std::string> names;
  std::string value;
};

void BM_SetMemory(benchmark::State& state) {
  Fixture fixture(kBatch, kBlockBytes);
  fixture.Set(SetMode::kOverwrite);
  for (auto _ : state) fixture.Set(SetMode::kOverwrite);
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBatch * kBlockBytes));
}
BENCHMARK(BM_SetMemory);

void BM_GetMemoryAndCopy(benchmark::State& state) {
  Fixture fixture(kBatch, kBlockBytes);
  fixture.Set(SetMode::kIfAbsent);
  std::vector<char> target(kBatch * kBlockBytes);
  GetRequest request;
  request.ns = fixture.ns;
  request.keys = Views(fixture.names);
  for (auto _ : state) {
    fixture.store->Get(request, [&](absl::StatusOr<std::vector<GetResult>> results) {
      for (size_t i = 0; i < kBatch; ++i) {
        std::memcpy(target.data() + i * kBlockBytes, (*results)[i].block.bytes().data(),
                    kBlockBytes);
      }
    });
    benchmark::DoNotOptimize(target.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBatch * kBlockBytes));
}
BENCHMARK(BM_GetMemoryAndCopy);

void BM_GetMemory(benchmark::State& state) {
  Fixture fixture(kBatch, 4096);
  fixture.Set(SetMode::kIfAbsent);
  GetRequest request;
  request.ns = fixture.ns;
  request.keys = Views(fixture.names);
  for (auto _ : state) {
    fixture.store->Get(request, [](auto results) { benchmark::DoNotOptimize(results); });
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kBatch));
}
BENCHMARK(BM_GetMemory);

void BM_Lookup(benchmark::State& state) {
  Fixture fixture(static_cast<size_t>(state.range(0)), 4096);
  fixture.Set(SetMode::kIfAbsent);
  LookupRequest request;
  request.ns = fixture.ns;
  request.pin_ms = static_cast<uint32_t>(state.range(1));
  request.queries.resize(1);
  request.queries[0].keys = Views(fixture.names);
  for (auto _ : state) {
    uint64_t token = 0;
    fixture.store->Lookup(request, [&](auto result) { token = result->pin_token; });
    if (token != 0) benchmark::DoNotOptimize(fixture.store->Unpin(fixture.ns, token));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Lookup)->Args({1000, 0})->Args({1000, 1000})->Args({32, 1000});

}  // namespace
}  // namespace kvgate::storage

BENCHMARK_MAIN();
