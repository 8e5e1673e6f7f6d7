// SPDX-License-Identifier: Apache-2.0
//
// TestDoor: a local door over a real memory-only store in this process, with a clock that stands
// still until a test moves it. Test-only.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <string>

#include "gateway/core/namespace_table.h"
#include "gateway/local/door.h"
#include "gtest/gtest.h"
#include "proto/wire/identity.h"
#include "storage/base/clock.h"
#include "storage/base/manual_clock.h"
#include "storage/store.h"

namespace kvgate::gateway {

inline constexpr absl::Duration kHang = absl::Seconds(30);

class TestDoor {
 public:
  struct Options {
    uint64_t memory_bytes = 64ull << 20;
    uint64_t extent_bytes = 0;
    LocalDoorOptions door;
  };
  static Options DefaultOptions() {
    Options options;
    options.door.staging_bytes_total = 256ull << 20;
    return options;
  }

  explicit TestDoor(const Options& options = DefaultOptions()) : options_(options) {
    storage::StoreOptions store_options;
    store_options.memory.bytes_max = options.memory_bytes;
    store_options.memory.extent_bytes = options.extent_bytes;
    auto store = storage::Store::Open(store_options, &clock_);
    if (!store.ok()) {
      ADD_FAILURE() << store.status();
      abort();
    }
    store_ = *std::move(store);
    namespaces_ = std::make_unique<NamespaceTable>(store_.get(), NamespaceTable::Options{});
    // sun_path is short, so not TEST_TMPDIR.
    char directory[] = "/tmp/kvgate-door-XXXXXX";
    EXPECT_NE(mkdtemp(directory), nullptr);
    directory_ = directory;
    options_.door.socket_path = directory_ + "/local.sock";
    Start();
  }
  ~TestDoor() {
    door_.reset();
    (void)rmdir(directory_.c_str());
  }

  void Start() {
    auto door = LocalDoor::Start(options_.door, &clock_, store_.get(), namespaces_.get(), nullptr);
    if (!door.ok()) {
      ADD_FAILURE() << door.status();
      abort();
    }
    door_ = *std::move(door);
  }
  void Stop(absl::Duration limit = kHang) {
    door_->Stop(limit);
    door_.reset();
  }

  LocalDoor& door() { return *door_; }
  storage::Store& store() { return *store_; }
  storage::ManualClock& clock() { return clock_; }
  NamespaceTable& namespaces() { return *namespaces_; }
  const std::string& socket_path() const { return options_.door.socket_path; }
  const LocalDoorOptions& door_options() const { return options_.door; }

  double Counter(const std::string& name) const {
    std::map<std::string, double> values;
    door_->VisitCounters([&](std::string_view n, double v) { values[std::string(n)] = v; });
    EXPECT_TRUE(values.contains(name)) << name;
    return values[name];
  }

  // Waits until a counter that threads move reaches `value`; a hang detector, nothing more.
  void AwaitCounter(const std::string& name, double value) {
    for (int i = 0; i < 30000 && Counter(name) != value; ++i) usleep(1000);
    EXPECT_EQ(Counter(name), value) << name;
  }

  static wire::Identity Identity(const std::string& weights = "weights-1") {
    wire::Identity identity;
    identity.model = "test";
    identity.weights_id = weights;
    identity.layout = "nhd";
    wire::KvGroup group;
    group.kind = wire::GroupKind::kFullAttention;
    group.block_tokens = 16;
    group.layer_names = {"layer.0"};
    group.page_bytes = 4096;
    identity.groups.push_back(group);
    return identity;
  }

 private:
  Options options_;
  storage::ManualClock clock_;
  std::unique_ptr<storage::Store> store_;
  std::unique_ptr<NamespaceTable> namespaces_;
  std::string directory_;
  std::unique_ptr<LocalDoor> door_;
};

}  // namespace kvgate::gateway
