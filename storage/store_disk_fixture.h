// SPDX-License-Identifier: Apache-2.0
//
// Fixture: the store over a simulated device that can fail, hang, lie and be found again.
// Test-only.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/manual_clock.h"
#include "storage/io/faulty_disk.h"
#include "storage/io/memory_disk.h"
#include "storage/store_test_util.h"

namespace kvgate::storage {

class StoreOnDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.log.checkpoint = false;
    options_.log.events = [this](const StoreEvent& event) {
      absl::MutexLock lock(&events_mu_);
      events_.push_back(event);
    };
    Restart();
  }
  // The destructor of a store waits for its device: by then it has come back.
  void TearDown() override {
    if (faulty_ != nullptr) ComeBack();
    store_ = nullptr;  // before what its events go to
  }

  void Restart() {
    store_ = nullptr;
    faulty_ = nullptr;
    auto disk = std::make_unique<FaultyDisk>(OpenMemoryDisk(medium_));
    faulty_ = disk.get();
    std::vector<std::unique_ptr<Disk>> disks;
    disks.push_back(std::move(disk));
    auto store = Store::OpenOn(options_, &clock_, std::move(disks));
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = std::move(*store);
    auto ns = store_->OpenNamespace("tenant", "prod", TestIdentity());
    ASSERT_TRUE(ns.ok()) << ns.status();
    ns_ = ns->id;
  }
  void ComeBack() {
    faulty_->Clear();
    faulty_->Release();
  }
  // What was told of a kind, each as "text name=value …".
  std::vector<std::string> Told(EventKind kind) {
    absl::MutexLock lock(&events_mu_);
    std::vector<std::string> lines;
    for (const StoreEvent& event : events_) {
      if (event.kind != kind) continue;
      std::string& line = lines.emplace_back(event.text);
      for (const auto& [name, value] : event.details) {
        line += " " + std::string(name) + "=" + value;
      }
    }
    return lines;
  }

  absl::Mutex events_mu_;
  std::vector<StoreEvent> events_ ABSL_GUARDED_BY(events_mu_);
  StoreOptions options_ = SmallOptions();
  ManualClock clock_;
  std::shared_ptr<MemoryMedium> medium_ = MemoryMedium::Create(64 << 20);
  FaultyDisk* faulty_ = nullptr;  // the store's
  std::unique_ptr<Store> store_;
  NamespaceId ns_ = 0;
};

}  // namespace kvgate::storage
