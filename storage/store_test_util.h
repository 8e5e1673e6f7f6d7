// SPDX-License-Identifier: Apache-2.0
//
// Verbs for tests of the store: calls that wait for their answer, self-describing values, options
// of small stores. Test-only; thread-safe as Store is.
#pragma once

#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/store.h"

namespace kvgate::storage {

inline wire::Identity TestIdentity(uint32_t shards = 1, uint32_t groups = 1) {
  wire::Identity identity;
  identity.model = "test-model";
  identity.weights_id = "weights-1";
  identity.layout = "layers,2,tokens,heads,dim";
  identity.shards = shards;
  for (uint32_t g = 0; g < groups; ++g) {
    wire::KvGroup group;
    group.kind = g == 0 ? wire::GroupKind::kFullAttention : wire::GroupKind::kSlidingWindow;
    group.block_tokens = 16u << g;
    group.layer_names = {"layer" + std::to_string(g)};
    group.page_bytes = 4096;
    group.window_tokens = g == 0 ? 0 : 64;
    identity.groups.push_back(group);
  }
  return identity;
}

// Small enough that tests evict.
inline StoreOptions SmallOptions(uint64_t memory_bytes = 8 << 20) {
  StoreOptions options;
  options.memory.bytes_max = memory_bytes;
  options.memory.extent_bytes = std::min<uint64_t>(memory_bytes, 4 << 20);
  options.log.segment_bytes = 1 << 20;
  options.log.flush_delay_ms = 1;
  return options;
}

// Bytes that name their key and revision all over, so that any foreign byte shows.
inline std::string ValueOf(std::string_view key, uint32_t revision, size_t bytes) {
  const std::string unit = std::string(key) + "#" + std::to_string(revision) + ";";
  std::string value;
  value.reserve(bytes + unit.size());
  while (value.size() < bytes) value += unit;
  value.resize(bytes);
  return value;
}

inline std::string TextOf(const BlockRef& block) {
  if (!block) return "(none)";
  return std::string(reinterpret_cast<const char*>(block.bytes().data()), block.bytes().size());
}

inline std::span<const std::byte> BytesOf(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

inline std::vector<std::string> ChainKeys(std::string_view name, size_t count) {
  std::vector<std::string> keys;
  for (size_t i = 0; i < count; ++i) keys.push_back(std::string(name) + "/" + std::to_string(i));
  return keys;
}

inline std::vector<std::string_view> Views(const std::vector<std::string>& keys) {
  return {keys.begin(), keys.end()};
}

// Waits for a callback. The limit only turns a hang into a failure.
template <typename T>
class Answer {
 public:
  std::function<void(absl::StatusOr<T>)> callback() {
    return
        [promise = promise_](absl::StatusOr<T> answer) { promise->set_value(std::move(answer)); };
  }
  bool ready() { return future_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }
  absl::StatusOr<T> Wait() {
    if (future_.wait_for(std::chrono::seconds(60)) != std::future_status::ready) {
      return absl::InternalError("no answer within the hang detector's limit");
    }
    return future_.get();
  }

 private:
  std::shared_ptr<std::promise<absl::StatusOr<T>>> promise_ =
      std::make_shared<std::promise<absl::StatusOr<T>>>();
  std::future<absl::StatusOr<T>> future_ = promise_->get_future();
};

inline absl::StatusOr<std::vector<GetResult>> GetSync(Store& store, const GetRequest& request) {
  Answer<std::vector<GetResult>> answer;
  store.Get(request, answer.callback());
  return answer.Wait();
}

inline absl::StatusOr<std::vector<SetResult>> SetSync(Store& store, const SetRequest& request) {
  Answer<std::vector<SetResult>> answer;
  store.Set(request, answer.callback());
  return answer.Wait();
}

inline absl::StatusOr<LookupResult> LookupSync(Store& store, const LookupRequest& request) {
  Answer<LookupResult> answer;
  store.Lookup(request, answer.callback());
  return answer.Wait();
}

inline absl::StatusOr<std::vector<bool>> DeleteSync(Store& store, const DeleteRequest& request) {
  Answer<std::vector<bool>> answer;
  store.Delete(request, answer.callback());
  return answer.Wait();
}

// One value under one key.
inline SetResult PutOne(Store& store, NamespaceId ns, std::string_view key, std::string_view value,
                        SetRequest request = {}) {
  request.ns = ns;
  request.items = {{key, {BytesOf(value)}, std::nullopt, 0}};
  const auto results = SetSync(store, request);
  EXPECT_TRUE(results.ok()) << results.status();
  return results.ok() ? results->front() : SetResult{};
}

inline GetResult GetOne(Store& store, NamespaceId ns, std::string_view key, uint8_t shard = 0) {
  GetRequest request;
  request.ns = ns;
  request.keys = {key};
  request.shard = shard;
  auto results = GetSync(store, request);
  EXPECT_TRUE(results.ok()) << results.status();
  return results.ok() ? results->front() : GetResult{};
}

inline double CounterOf(const Store& store, std::string_view wanted) {
  double found = -1;
  store.VisitCounters([&](std::string_view name, double value) {
    if (name == wanted) found = value;
  });
  return found;
}

}  // namespace kvgate::storage
