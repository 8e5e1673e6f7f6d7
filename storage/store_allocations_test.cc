// SPDX-License-Identifier: Apache-2.0
//
// A Get, from memory and from disk, allocates nothing of 64 KiB or more, whatever its size.
#include "storage/store_allocations.h"

#include <algorithm>

#include "storage/base/manual_clock.h"
#include "storage/io/memory_disk.h"
#include "storage/store_test_util.h"

namespace kvgate::storage {
namespace {

TEST(GetPath, CountsLargeAllocationsOnThePathOnly) {
  EXPECT_TRUE(GetPath::Measured());
  const uint64_t before = GetPath::LargeAllocations();
  auto outside = std::make_unique<std::vector<char>>(128 << 10);
  EXPECT_EQ(GetPath::LargeAllocations(), before);
  {
    const GetPath path;
    outside->resize(256 << 10);
  }
  EXPECT_EQ(GetPath::LargeAllocations(), before + 1);
}

TEST(GetPath, AGetOfAThousandKeysAllocatesNothingLarge) {
  ManualClock clock;
  StoreOptions options = SmallOptions(160 << 20);
  options.log.checkpoint = false;
  const auto medium = MemoryMedium::Create(256 << 20);
  const auto keys = ChainKeys("chain", 1024);
  NamespaceId ns = 0;
  const auto open = [&] {
    std::vector<std::unique_ptr<Disk>> disks;
    disks.push_back(OpenMemoryDisk(medium));
    auto store = Store::OpenOn(options, &clock, std::move(disks));
    EXPECT_TRUE(store.ok()) << store.status();
    ns = store.value()->OpenNamespace("tenant", "", TestIdentity())->id;
    return std::move(*store);
  };
  const std::string value = ValueOf("v", 0, 65536);
  auto store = open();
  SetRequest set;
  set.ns = ns;
  set.durability = Durability::kLogged;
  for (const auto& key : keys) set.items.push_back({key, {BytesOf(value)}, std::nullopt, 0});
  const auto stored = SetSync(*store, set);
  ASSERT_TRUE(stored.ok());
  const auto logged = std::count_if(stored->begin(), stored->end(), [](const SetResult& result) {
    return result.durability == Durability::kLogged;
  });
  ASSERT_GT(logged, 512) << "a Get of few keys would prove little";
  ASSERT_TRUE(store->Close(absl::Seconds(60)).ok());
  store = nullptr;
  store = open();

  const uint64_t before = GetPath::LargeAllocations();
  GetRequest get;
  get.ns = ns;
  get.keys = Views(keys);
  for (const Tier tier : {Tier::kDisk, Tier::kMemory}) {
    const auto results = GetSync(*store, get);
    ASSERT_TRUE(results.ok());
    for (size_t i = 0; i < keys.size(); ++i) {
      if (stored->at(i).durability != Durability::kLogged) continue;
      ASSERT_EQ((*results)[i].state, GetState::kOk) << i;
      ASSERT_EQ((*results)[i].tier, tier) << i;
    }
  }
  EXPECT_EQ(GetPath::LargeAllocations(), before);
  EXPECT_EQ(CounterOf(*store, "get_large_allocations_total"), static_cast<double>(before));
}

}  // namespace
}  // namespace kvgate::storage
