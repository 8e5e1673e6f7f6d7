// SPDX-License-Identifier: Apache-2.0
//
// replay: plays a request trace through the real client against a running kvgated.
//
// Each request of the trace is what an engine would do: Lookup of its chain with a pin, Get of the
// held prefix by handle into own buffers, every byte compared with what the block must hold, then
// Set of the blocks that were missing, then Touch. A hit is a block whose bytes were compared.
// Threads: --threads workers take requests in trace order. Prints one JSON object.
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "client/client.h"
#include "gateway/flags.h"
#include "nlohmann/json.hpp"
#include "proto/wire/identity.h"
#include "tests/bench/pattern.h"

namespace kvgate::testing {
namespace {

using Steady = std::chrono::steady_clock;

constexpr uint32_t kBlockTokens = 512;  // of the trace
constexpr size_t kGetBatch = 16;
constexpr size_t kSetBatch = 4;

struct Flags {
  std::string transport = "auto", local_socket, grpc_target, grpc_library, trace, json;
  uint64_t first = 0, count = UINT64_MAX, block_bytes = 2 << 20;
  uint32_t threads = 2;
};

struct TraceRequest {
  std::vector<uint64_t> blocks;
  uint64_t input_tokens = 0, output_tokens = 0;
};

std::vector<TraceRequest> ReadTrace(const Flags& flags) {
  std::vector<TraceRequest> requests;
  std::ifstream file(flags.trace);
  std::string line;
  for (uint64_t i = 0; std::getline(file, line); ++i) {
    if (i < flags.first || i - flags.first >= flags.count) continue;
    const auto object = nlohmann::json::parse(line);
    requests.push_back({object["hash_ids"].get<std::vector<uint64_t>>(), object["input_length"],
                        object["output_length"]});
  }
  return requests;
}

// Totals of the run and a row every half second, for the plot.
struct Totals {
  std::atomic<uint64_t> requests{0}, refs{0}, hits_memory{0}, hits_disk{0}, stored{0}, already{0};
  std::atomic<uint64_t> wrong_bytes{0}, failed_calls{0}, refused{0}, input_tokens{0};
  std::atomic<uint64_t> loaded_bytes{0}, stored_bytes{0};
  std::atomic<uint64_t> misses[32] = {};
};

class Worker {
 public:
  Worker(const Flags& flags, client::Client* client, uint64_t ns, uint32_t root_group_keys,
         Totals* totals)
      : flags_(flags), client_(client), ns_(ns), root_keys_(root_group_keys), totals_(totals) {
    for (size_t i = 0; i < kGetBatch; ++i) {
      buffers_.emplace_back(static_cast<std::byte*>(std::aligned_alloc(4096, flags.block_bytes)),
                            &std::free);
    }
  }

  void Play(const TraceRequest& request) {
    std::vector<std::string> keys;
    for (uint64_t block : request.blocks) keys.push_back(PatternKey(block));
    const std::vector<std::string_view> views(keys.begin(), keys.end());
    client::LookupReply held;
    const client::GroupQuery query{.group = 0, .keys = views, .match = 1};
    const auto outcome = client_->Lookup({.ns = ns_, .queries = {&query, 1}, .pin_ms = 10000},
                                         client::DeadlineIn(200), &held);
    if (!outcome.ok()) ++totals_->failed_calls;
    const uint32_t count = outcome.ok() && !held.groups.empty() ? held.groups[0].held : 0;
    const size_t loaded = Load(request, views, count, held.pin_token);
    if (held.pin_token != 0) {
      if (!client_->Unpin(ns_, held.pin_token, client::DeadlineIn(100)).ok())
        ++totals_->failed_calls;
    }
    Store(request, views, loaded);
    const client::Hints hints{.prompt_tokens = static_cast<uint32_t>(request.input_tokens),
                              .output_tokens = static_cast<uint32_t>(request.output_tokens),
                              .finished = true};
    if (!client_->Touch(ns_, views.back(), 0, hints, client::DeadlineIn(100)).ok()) {
      ++totals_->failed_calls;
    }
    ++totals_->requests;
    totals_->refs += request.blocks.size();
    totals_->input_tokens += request.input_tokens;
  }

 private:
  // Loads up to `count` leading blocks; returns how many came whole and right.
  size_t Load(const TraceRequest& request, std::span<const std::string_view> keys, size_t count,
              uint64_t pin_token) {
    size_t good = 0;
    while (good < count) {
      const size_t n = std::min(kGetBatch, count - good);
      std::vector<std::span<std::byte>> spans;
      std::vector<client::Pieces> targets;
      for (size_t i = 0; i < n; ++i) spans.push_back({buffers_[i].get(), flags_.block_bytes});
      for (size_t i = 0; i < n; ++i) targets.push_back({&spans[i], 1});
      client::GetRequest get{.ns = ns_, .prefix_only = true, .targets = targets};
      if (pin_token != 0) {
        get.pin_token = pin_token, get.first = good, get.count = n;
      } else {
        get.keys = keys.subspan(good, n), get.depth = good;
        if (good % root_keys_ != 0) get.root = keys[good - good % root_keys_];
      }
      std::vector<client::GetResult> results(n);
      if (!client_->Get(get, client::DeadlineIn(2000), results).ok()) ++totals_->failed_calls;
      for (size_t i = 0; i < n; ++i) {
        if (results[i].reason != client::Reason::kOk) {
          ++totals_->misses[static_cast<size_t>(results[i].reason) % 32];
          return good;
        }
        if (!IsPattern(buffers_[i].get(), flags_.block_bytes, request.blocks[good], 0)) {
          ++totals_->wrong_bytes;
        }
        ++(results[i].tier == 1 ? totals_->hits_memory : totals_->hits_disk);
        totals_->loaded_bytes += flags_.block_bytes;
        ++good;
      }
    }
    return good;
  }

  void Store(const TraceRequest& request, std::span<const std::string_view> keys, size_t from) {
    while (from < keys.size()) {
      const size_t n = std::min(kSetBatch, keys.size() - from);
      std::vector<std::byte*> staged;
      std::vector<std::span<const std::byte>> spans;
      std::vector<client::SetEntry> entries;
      for (size_t i = 0; i < n; ++i) {
        std::byte* to = client_->AllocStaging(flags_.block_bytes);
        if (to != nullptr) staged.push_back(to);
        if (to == nullptr) to = buffers_[i].get();  // ordinary memory: the client copies it
        FillPattern(to, flags_.block_bytes, request.blocks[from + i], 0);
        spans.push_back({to, flags_.block_bytes});
      }
      for (size_t i = 0; i < n; ++i) {
        entries.push_back({.key = keys[from + i], .value = {&spans[i], 1}});
      }
      client::SetRequest set{.ns = ns_, .entries = entries, .depth = static_cast<uint32_t>(from)};
      if (from > 0) set.parent = keys[from - 1];
      if (from % root_keys_ != 0) set.root = keys[from - from % root_keys_];
      std::vector<client::SetResult> results(n);
      if (!client_->Set(set, client::DeadlineIn(5000), results).ok()) ++totals_->failed_calls;
      for (const auto& result : results) {
        if (result.reason == client::Reason::kOk) {
          ++totals_->stored;
          totals_->stored_bytes += flags_.block_bytes;
        } else if (result.reason == client::Reason::kAlreadyHeld) {
          ++totals_->already;
        } else {
          ++totals_->refused;
          ++totals_->misses[static_cast<size_t>(result.reason) % 32];
        }
      }
      for (std::byte* memory : staged) client_->FreeStaging(memory);
      from += n;
    }
  }

  const Flags& flags_;
  client::Client* const client_;
  const uint64_t ns_;
  const uint32_t root_keys_;
  Totals* const totals_;
  std::vector<std::unique_ptr<std::byte, decltype(&std::free)>> buffers_;
};

nlohmann::json Row(double seconds, const Totals& totals) {
  return {{"seconds", seconds},
          {"loaded_bytes", totals.loaded_bytes.load()},
          {"stored_bytes", totals.stored_bytes.load()},
          {"hits_memory", totals.hits_memory.load()},
          {"hits_disk", totals.hits_disk.load()}};
}

std::string ReplayIdentity(uint64_t block_bytes) {
  wire::Identity identity;
  identity.model = "trace-replay";
  identity.weights_id = "pattern-1";
  identity.dtype = identity.kv_cache_dtype = "bytes";
  identity.attention_backend = "none";
  identity.arch = "any";
  identity.layout = "opaque";
  identity.prefix_hash_algorithm = "trace";
  identity.hash_block_tokens = kBlockTokens;
  identity.engine_version = "replay 1";
  identity.tp_size = identity.pp_size = 1;
  identity.groups.push_back({.kind = wire::GroupKind::kFullAttention,
                             .block_tokens = kBlockTokens,
                             .layer_names = {"all"},
                             .spec = "opaque",
                             .page_bytes = block_bytes});
  return EncodeIdentity(identity);
}

nlohmann::json Run(const Flags& flags, client::Client* client, uint64_t ns, uint32_t root_keys) {
  const std::vector<TraceRequest> requests = ReadTrace(flags);
  Totals totals;
  std::atomic<size_t> next{0};
  std::atomic<uint32_t> running{flags.threads};
  const auto start = Steady::now();
  const auto seconds = [start] {
    return std::chrono::duration<double>(Steady::now() - start).count();
  };
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < flags.threads; ++t) {
    threads.emplace_back([&] {
      Worker worker(flags, client, ns, root_keys, &totals);
      for (size_t i = next++; i < requests.size(); i = next++) worker.Play(requests[i]);
      --running;
    });
  }
  nlohmann::json timeline = nlohmann::json::array();
  while (running > 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    timeline.push_back(Row(seconds(), totals));
  }
  for (auto& thread : threads) thread.join();
  nlohmann::json reasons = nlohmann::json::object();
  for (size_t i = 0; i < 32; ++i) {
    if (totals.misses[i] > 0) {
      reasons[std::string(client::ReasonName(static_cast<client::Reason>(i)))] =
          totals.misses[i].load();
    }
  }
  return {{"requests", totals.requests.load()},
          {"block_refs", totals.refs.load()},
          {"input_tokens", totals.input_tokens.load()},
          {"hits_memory", totals.hits_memory.load()},
          {"hits_disk", totals.hits_disk.load()},
          {"stored", totals.stored.load()},
          {"already_held", totals.already.load()},
          {"not_stored", totals.refused.load()},
          {"wrong_bytes", totals.wrong_bytes.load()},
          {"failed_calls", totals.failed_calls.load()},
          {"loaded_bytes", totals.loaded_bytes.load()},
          {"stored_bytes", totals.stored_bytes.load()},
          {"reasons", reasons},
          {"block_bytes", flags.block_bytes},
          {"seconds", seconds()},
          {"transport", client->stats().transport},
          {"timeline", timeline}};
}

const gateway::Flag kFlags[] = {
    {"trace", "JSON lines with hash_ids (required)"},
    {"transport", "auto, local or grpc; default auto"},
    {"local-socket", "path of the local door"},
    {"grpc-target", "unix:/path or host:port"},
    {"grpc-library", "path of libkvgate_grpc.so"},
    {"first", "first request; default 0"},
    {"count", "requests; default all"},
    {"block-bytes", "bytes of a block; default 2 MiB"},
    {"threads", "requests at once; default 2"},
    {"json", "file for the result; default stdout"},
};

// The last value given for a flag; `unset` when there is none.
std::string Text(const gateway::FlagValues& values, const char* name, const char* unset = "") {
  const auto found = values.find(name);
  return found == values.end() ? unset : found->second.back();
}

// False when the value of a flag is no whole number that fits.
template <typename Number>
bool ReadNumber(const gateway::FlagValues& values, const char* name, Number* number) {
  const std::string text = Text(values, name);
  if (values.count(name) == 0) return true;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

// What is wrong with the flags; empty when nothing is.
std::string ReadFlags(const gateway::FlagValues& values, Flags* flags) {
  flags->trace = Text(values, "trace");
  if (flags->trace.empty()) return "--trace is required";
  flags->transport = Text(values, "transport", "auto");
  flags->local_socket = Text(values, "local-socket");
  flags->grpc_target = Text(values, "grpc-target");
  flags->grpc_library = Text(values, "grpc-library");
  flags->json = Text(values, "json");
  if (!ReadNumber(values, "first", &flags->first)) return "--first: not a number";
  if (!ReadNumber(values, "count", &flags->count)) return "--count: not a number";
  if (!ReadNumber(values, "block-bytes", &flags->block_bytes)) return "--block-bytes: not a number";
  if (!ReadNumber(values, "threads", &flags->threads)) return "--threads: not a number";
  return "";
}

int Main(int argc, char** argv) {
  const absl::StatusOr<gateway::FlagValues> values = gateway::ParseFlags(kFlags, argc, argv);
  if (values.ok() && values->count("help") > 0) {
    std::cout << gateway::FlagHelp(
        "Plays a request trace through the kvgate client and checks every byte.", kFlags);
    return 0;
  }
  Flags flags;
  const std::string wrong =
      values.ok() ? ReadFlags(*values, &flags) : std::string(values.status().message());
  if (!wrong.empty()) {
    std::cerr << "replay: " << wrong << "; see --help\n";
    return 2;
  }

  std::string error;
  const auto client = client::Client::Create({.transport = flags.transport,
                                              .local_socket = flags.local_socket,
                                              .grpc_target = flags.grpc_target,
                                              .grpc_library = flags.grpc_library,
                                              .client_name = "replay",
                                              .staging_bytes = 64ull << 20},
                                             &error);
  if (client == nullptr) {
    std::cerr << "replay: " << error << "\n";
    return 2;
  }
  uint64_t ns = 0;
  client::OpenReply reply;
  const auto outcome = client->Open({.identity = ReplayIdentity(flags.block_bytes)},
                                    client::DeadlineIn(2000), &ns, &reply);
  if (!outcome.ok()) {
    std::cerr << "replay: open: " << wire::CodeName(outcome.code) << ": " << outcome.message
              << "\n";
    return 1;
  }
  const uint32_t root_keys = reply.root_group_keys.empty() ? 8 : reply.root_group_keys[0];
  const nlohmann::json result = Run(flags, client.get(), ns, root_keys);
  if (flags.json.empty()) {
    std::cout << result.dump() << "\n";
  } else {
    std::ofstream(flags.json) << result.dump() << "\n";
  }
  return result["wrong_bytes"] == 0 ? 0 : 1;
}

}  // namespace
}  // namespace kvgate::testing

int main(int argc, char** argv) { return kvgate::testing::Main(argc, argv); }
