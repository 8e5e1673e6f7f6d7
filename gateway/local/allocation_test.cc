// SPDX-License-Identifier: Apache-2.0
//
// No allocation of 64 KiB or more on the way of a Get, in the door, the store or the client.
#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "client/local/local_transport.h"
#include "gateway/local/test_door.h"
#include "proto/wire/identity.h"

namespace {
std::atomic<int> large_allocations{0};
void* CountedAlloc(size_t bytes) {
  if (bytes >= 64 * 1024) ++large_allocations;
  return std::malloc(bytes);
}
}  // namespace

void* operator new(size_t bytes) { return CountedAlloc(bytes); }
void* operator new[](size_t bytes) { return CountedAlloc(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace kvgate::gateway {
namespace {

client::Deadline Soon() { return client::MonotonicNs() + 20'000'000'000; }

TEST(LocalDoor, GetAllocatesNothingLarge) {
  TestDoor door;
  client::Options options;
  options.local_socket = door.socket_path();
  options.connect_timeout_ms = 20'000;
  client::Outcome outcome;
  auto transport = client::LocalTransport::Connect(options, Soon(), {}, &outcome);
  ASSERT_NE(transport, nullptr) << outcome.message;
  client::OpenRequest open;
  open.identity = wire::EncodeIdentity(TestDoor::Identity());
  client::OpenReply opened;
  ASSERT_TRUE(transport->Open(open, Soon(), &opened).ok());

  constexpr size_t kCount = 512, kBytes = 64 * 1024;
  std::vector<std::string> keys;
  const std::string value(kBytes, 'v');
  const auto piece = std::as_bytes(std::span(value.data(), value.size()));
  for (size_t i = 0; i < kCount; ++i) keys.push_back("key/" + std::to_string(i));
  std::vector<client::SetEntry> entries(kCount);
  for (size_t i = 0; i < kCount; ++i) {
    entries[i].key = keys[i];
    entries[i].value = std::span(&piece, 1);
  }
  client::SetRequest set;
  set.ns = opened.ns_handle;
  set.entries = entries;
  std::vector<client::SetResult> stored(kCount);
  ASSERT_TRUE(transport->Set(set, Soon(), stored).ok());

  std::string target(kCount * kBytes, 0);
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  std::vector<std::span<std::byte>> pieces(kCount);
  std::vector<client::Pieces> targets(kCount);
  for (size_t i = 0; i < kCount; ++i) {
    pieces[i] = std::as_writable_bytes(std::span(target.data() + i * kBytes, kBytes));
    targets[i] = std::span(&pieces[i], 1);
  }
  client::GetRequest get;
  get.ns = opened.ns_handle;
  get.keys = views;
  get.targets = targets;
  std::vector<client::GetResult> results(kCount);
  ASSERT_TRUE(transport->Get(get, Soon(), {}, results).ok());  // maps the extents
  large_allocations = 0;
  ASSERT_TRUE(transport->Get(get, Soon(), {}, results).ok());
  EXPECT_EQ(large_allocations, 0);
  EXPECT_EQ(results[kCount - 1].reason, client::Reason::kOk);
}

}  // namespace
}  // namespace kvgate::gateway
