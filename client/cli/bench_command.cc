// SPDX-License-Identifier: Apache-2.0
//
// bench: what this gateway does here and now, beside a memcpy of the same bytes. Its keys are
// deleted afterwards.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <vector>

#include "client/cli/commands.h"
#include "client/cli/session.h"
#include "nlohmann/json.hpp"

namespace kvgate::cli {
namespace {

struct BenchArgs {
  uint64_t block_bytes = 1 << 20;
  uint32_t blocks = 64, batch = 16, rounds = 5;
};

using Steady = std::chrono::steady_clock;

double Seconds(Steady::time_point since) {
  return std::chrono::duration<double>(Steady::now() - since).count();
}

class Bench {
 public:
  Bench(const Context& context, const BenchArgs& args, Session* session)
      : context_(context),
        args_(args),
        session_(session),
        source_(args.block_bytes * args.blocks),
        target_(source_.size()) {
    const std::string run = std::to_string(Steady::now().time_since_epoch().count());
    for (uint32_t i = 0; i < args.blocks; ++i) {
      keys_.push_back("kvgate-bench/" + run + "/" + std::to_string(i));
    }
    for (size_t i = 0; i < source_.size(); ++i) source_[i] = static_cast<std::byte>(i * 31 >> 3);
    std::memset(target_.data(), 1, target_.size());
  }

  client::Outcome SetAll() {
    for (uint32_t first = 0; first < args_.blocks; first += args_.batch) {
      const uint32_t n = std::min(args_.batch, args_.blocks - first);
      std::vector<std::span<const std::byte>> pieces;
      std::vector<client::SetEntry> entries;
      for (uint32_t i = 0; i < n; ++i) pieces.push_back(Source(first + i));
      for (uint32_t i = 0; i < n; ++i) {
        entries.push_back(
            {.key = keys_[first + i], .value = {&pieces[i], 1}, .producer_crc = std::nullopt});
      }
      std::vector<client::SetResult> results(n);
      const client::Outcome outcome = session_->client->Set(
          {.ns = session_->ns, .entries = entries, .mode = 2}, Deadline(), results);
      if (!outcome.ok()) return outcome;
      for (const auto& result : results) stored_ += result.reason == client::Reason::kOk ? 1 : 0;
    }
    return {};
  }

  client::Outcome GetAll(bool memcpy_only) {
    for (uint32_t first = 0; first < args_.blocks; first += args_.batch) {
      const uint32_t n = std::min(args_.batch, args_.blocks - first);
      if (memcpy_only) {
        std::memcpy(target_.data() + first * args_.block_bytes,
                    source_.data() + first * args_.block_bytes, n * args_.block_bytes);
        continue;
      }
      std::vector<std::string_view> keys(keys_.begin() + first, keys_.begin() + first + n);
      std::vector<std::span<std::byte>> pieces;
      std::vector<client::Pieces> targets;
      for (uint32_t i = 0; i < n; ++i) pieces.push_back(Target(first + i));
      for (uint32_t i = 0; i < n; ++i) targets.push_back({&pieces[i], 1});
      std::vector<client::GetResult> results(n);
      const auto start = Steady::now();
      const client::Outcome outcome = session_->client->Get(
          {.ns = session_->ns, .keys = keys, .targets = targets}, Deadline(), results);
      batch_ms_.push_back(Seconds(start) * 1000);
      if (!outcome.ok()) return outcome;
      for (const auto& result : results) hits_ += result.reason == client::Reason::kOk ? 1 : 0;
    }
    return {};
  }

  client::Outcome DeleteAll() {
    for (uint32_t first = 0; first < args_.blocks; first += 1024) {
      const size_t n = std::min<size_t>(1024, args_.blocks - first);
      const std::vector<std::string_view> keys(keys_.begin() + first, keys_.begin() + first + n);
      const auto found = std::make_unique<bool[]>(n);
      const client::Outcome outcome = session_->client->Delete({.ns = session_->ns, .keys = keys},
                                                               Deadline(), {found.get(), n});
      if (!outcome.ok()) return outcome;
    }
    return {};
  }

  bool Same() const { return std::memcmp(source_.data(), target_.data(), source_.size()) == 0; }
  void Forget() { std::memset(target_.data(), 1, target_.size()); }
  double bytes() const { return static_cast<double>(source_.size()); }
  uint64_t hits() const { return hits_; }
  uint64_t stored() const { return stored_; }
  double BatchMs(double quantile) {
    if (batch_ms_.empty()) return 0;
    std::sort(batch_ms_.begin(), batch_ms_.end());
    return batch_ms_[static_cast<size_t>(quantile * static_cast<double>(batch_ms_.size() - 1))];
  }

 private:
  client::Deadline Deadline() const { return client::DeadlineIn(10 * context_.timeout_ms); }
  std::span<const std::byte> Source(uint32_t i) const {
    return {source_.data() + i * args_.block_bytes, args_.block_bytes};
  }
  std::span<std::byte> Target(uint32_t i) {
    return {target_.data() + i * args_.block_bytes, args_.block_bytes};
  }

  const Context& context_;
  const BenchArgs& args_;
  Session* const session_;
  std::vector<std::byte> source_, target_;
  std::vector<std::string> keys_;
  std::vector<double> batch_ms_;
  uint64_t hits_ = 0, stored_ = 0;
};

int RunBench(const Context& context, const BenchArgs& args) {
  Session session;
  if (Answer answer = session.Open(context); !answer.ok()) {
    return Fail("bench", answer.code, answer.message, context);
  }
  Bench bench(context, args, &session);
  std::vector<double> set_s, get_s, copy_s;
  client::Outcome outcome;
  bool same = true;
  for (uint32_t round = 0; round < args.rounds && outcome.ok(); ++round) {
    auto start = Steady::now();
    outcome = bench.SetAll();
    set_s.push_back(Seconds(start));
    if (!outcome.ok()) break;
    bench.Forget();
    start = Steady::now();
    outcome = bench.GetAll(false);
    get_s.push_back(Seconds(start));
    same = same && bench.Same();
    bench.Forget();
    start = Steady::now();
    if (outcome.ok()) outcome = bench.GetAll(true);
    copy_s.push_back(Seconds(start));
  }
  const client::Outcome deleted = bench.DeleteAll();
  if (!outcome.ok()) return Fail("bench", outcome.code, outcome.message, context);
  if (!deleted.ok()) return Fail("bench", deleted.code, deleted.message, context);
  const auto gbs = [&](std::vector<double>& seconds) {
    std::sort(seconds.begin(), seconds.end());
    return bench.bytes() / seconds[seconds.size() / 2] / 1e9;
  };
  const uint64_t asked = uint64_t{args.blocks} * args.rounds;
  const bool whole = same && bench.hits() == asked;
  const double set = gbs(set_s), get = gbs(get_s), copy = gbs(copy_s);
  if (context.json) {
    PrintJson({{"block_bytes", args.block_bytes},
               {"blocks", args.blocks},
               {"batch", args.batch},
               {"rounds", args.rounds},
               {"set_gb_s", set},
               {"get_gb_s", get},
               {"memcpy_gb_s", copy},
               {"get_batch_ms_p50", bench.BatchMs(0.5)},
               {"get_batch_ms_p99", bench.BatchMs(0.99)},
               {"hits", bench.hits()},
               {"stored", bench.stored()},
               {"asked", asked},
               {"bytes_right", same}});
  } else {
    std::printf("%u blocks of %s in batches of %u, median of %u rounds\n", args.blocks,
                Size(static_cast<double>(args.block_bytes)).c_str(), args.batch, args.rounds);
    std::printf("  set     %7.2f GB/s\n  get     %7.2f GB/s   a batch: p50 %.2f ms, p99 %.2f ms\n",
                set, get, bench.BatchMs(0.5), bench.BatchMs(0.99));
    std::printf("  memcpy  %7.2f GB/s   (get is %.2f of it)\n", copy, get / copy);
    if (!whole) {
      std::printf("  %llu of %llu gets were hits%s\n",
                  static_cast<unsigned long long>(bench.hits()),
                  static_cast<unsigned long long>(asked),
                  same ? "" : "; THE BYTES WERE NOT THOSE THAT WERE SET");
    }
  }
  return whole ? kDone : kRefused;
}

}  // namespace

void AddBenchCommand(CLI::App* app, Context* context, Run* run) {
  auto args = std::make_shared<BenchArgs>();
  CLI::App* bench = app->add_subcommand("bench", "set and get through the local door, timed");
  bench->add_option("--block-bytes", args->block_bytes, "default 1 MiB")
      ->check(CLI::Range(1, 64 << 20));
  bench->add_option("--blocks", args->blocks, "default 64")->check(CLI::Range(1, 4096));
  bench->add_option("--batch", args->batch, "blocks a call; default 16")
      ->check(CLI::Range(1, 1024));
  bench->add_option("--rounds", args->rounds, "default 5")->check(CLI::Range(1, 1000));
  bench->callback([=] { *run = [=] { return RunBench(*context, *args); }; });
}

}  // namespace kvgate::cli
