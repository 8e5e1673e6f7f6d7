// SPDX-License-Identifier: Apache-2.0
//
// Worker: one client of a TestDoor with an open namespace, and verbs for its calls. Test-only.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "client/local/local_transport.h"
#include "gateway/local/test_door.h"
#include "gtest/gtest.h"
#include "proto/wire/identity.h"

namespace kvgate::gateway {

inline constexpr double kCallMs = 20'000;  // hang detector

inline client::Deadline DeadlineIn(double ms) {
  return client::MonotonicNs() + static_cast<int64_t>(ms * 1e6);
}

// Bytes that name their key: any foreign byte shows.
inline std::string ValueOf(const std::string& key, size_t bytes) {
  std::string value;
  value.reserve(bytes + key.size() + 1);
  while (value.size() < bytes) value += key + ";";
  value.resize(bytes);
  return value;
}

inline std::span<const std::byte> Bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

inline std::string Key(size_t i) { return "key/" + std::to_string(i); }

// One client with an open namespace.
class Worker {
 public:
  explicit Worker(TestDoor& door, client::LocalHooks hooks = {},
                  uint64_t staging_bytes = 128ull << 20, const std::string& weights = "weights-1") {
    client::Options options;
    options.local_socket = door.socket_path();
    options.client_name = "test";
    options.producer = 7;
    options.staging_bytes = staging_bytes;
    options.connect_timeout_ms = 10'000;
    client::Outcome outcome;
    transport_ = client::LocalTransport::Connect(options, DeadlineIn(kCallMs), hooks, &outcome);
    EXPECT_TRUE(outcome.ok()) << outcome.message;
    client::OpenRequest open;
    open.identity = wire::EncodeIdentity(TestDoor::Identity(weights));
    outcome = transport_->Open(open, DeadlineIn(kCallMs), &opened_);
    EXPECT_TRUE(outcome.ok()) << outcome.message;
  }

  client::LocalTransport& transport() { return *transport_; }
  uint64_t ns() const { return opened_.ns_handle; }
  const client::OpenReply& opened() const { return opened_; }
  void Disconnect() { transport_.reset(); }

  client::Reason Set(const std::string& key, const std::string& value, uint8_t mode = 1) {
    return SetMany({key}, {value}, mode)[0];
  }
  std::vector<client::Reason> SetMany(const std::vector<std::string>& keys,
                                      const std::vector<std::string>& values, uint8_t mode = 1) {
    std::vector<std::span<const std::byte>> pieces;
    for (const std::string& value : values) pieces.push_back(Bytes(value));
    std::vector<client::SetEntry> entries(keys.size());
    for (size_t i = 0; i < keys.size(); ++i) {
      entries[i].key = keys[i];
      entries[i].value = std::span(&pieces[i], 1);
    }
    client::SetRequest request;
    request.ns = ns();
    request.entries = entries;
    request.mode = mode;
    std::vector<client::SetResult> results(keys.size());
    outcome_ = transport_->Set(request, DeadlineIn(kCallMs), results);
    std::vector<client::Reason> reasons;
    for (const auto& result : results) reasons.push_back(result.reason);
    return reasons;
  }

  struct Got {
    std::vector<client::GetResult> results;
    std::vector<std::string> values;
  };
  Got Get(const std::vector<std::string>& keys, const std::vector<size_t>& sizes,
          bool verify = true, double ms = kCallMs, uint64_t range_offset = 0,
          uint64_t range_bytes = 0) {
    std::vector<std::string_view> views(keys.begin(), keys.end());
    client::GetRequest request;
    request.keys = views;
    request.range_offset = range_offset;
    request.range_bytes = range_bytes;
    return GetBy(request, sizes, verify, ms);
  }
  Got GetBy(client::GetRequest request, const std::vector<size_t>& sizes, bool verify = true,
            double ms = kCallMs) {
    Got got;
    got.results.resize(sizes.size());
    got.values.resize(sizes.size());
    std::vector<std::span<std::byte>> pieces(sizes.size());
    std::vector<client::Pieces> targets(sizes.size());
    for (size_t i = 0; i < sizes.size(); ++i) {
      got.values[i].assign(sizes[i], '\xAA');
      pieces[i] = std::as_writable_bytes(std::span(got.values[i].data(), sizes[i]));
      targets[i] = std::span(&pieces[i], 1);
    }
    request.ns = ns();
    request.targets = targets;
    const std::vector<uint8_t> checks(sizes.size(), verify ? 1 : 0);
    outcome_ = transport_->Get(request, DeadlineIn(ms), checks, got.results);
    return got;
  }

  const client::Outcome& outcome() const { return outcome_; }

 private:
  std::unique_ptr<client::LocalTransport> transport_;
  client::OpenReply opened_;
  client::Outcome outcome_;
};

}  // namespace kvgate::gateway
