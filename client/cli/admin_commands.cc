// SPDX-License-Identifier: Apache-2.0
//
// stats, scan, explain: what the operator's socket tells. `top` is in top_command.cc.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "client/cli/admin_client.h"
#include "client/cli/commands.h"
#include "client/cli/explain_text.h"
#include "client/cli/top_command.h"
#include "nlohmann/json.hpp"

namespace kvgate::cli {
namespace {

struct StatsArgs {
  std::string prefix;
  bool per_request = false, namespaces = false, all = false;
  uint32_t limit = 32;
};

nlohmann::json RequestJson(const v1::RequestRecord& record) {
  return {{"tenant", record.tenant()},
          {"model", record.model()},
          {"identity_digest", Hex(record.identity_digest())},
          {"at_unix_ms", record.at_unix_ms()},
          {"group", record.group()},
          {"blocks", record.blocks()},
          {"tokens", record.tokens()},
          {"bytes", record.bytes()},
          {"bytes_a_token", record.tokens() == 0 ? 0.0
                                                 : static_cast<double>(record.bytes()) /
                                                       static_cast<double>(record.tokens())},
          {"prompt_tokens", record.prompt_tokens()},
          {"output_tokens", record.output_tokens()},
          {"turn", record.turn()}};
}

int PerRequest(const Context& context, uint32_t limit) {
  AdminClient admin(context);
  v1::RequestsRequest request;
  request.set_limit(limit);
  v1::RequestsResponse response;
  if (Answer answer = admin.Requests(request, &response); !answer.ok()) {
    return Fail("stats", answer.code, answer.message, context);
  }
  nlohmann::json rows = nlohmann::json::array();
  for (const v1::RequestRecord& record : response.requests()) rows.push_back(RequestJson(record));
  if (context.json) {
    PrintJson(rows);
    return kDone;
  }
  std::printf("%-14s %-24s %7s %8s %10s %12s %6s\n", "when", "model", "blocks", "tokens", "bytes",
              "bytes/token", "turn");
  for (const v1::RequestRecord& record : response.requests()) {
    const double tokens = static_cast<double>(record.tokens());
    std::printf("%-14s %-24.24s %7u %8.0f %10s %12.0f %6u\n", Ago(record.at_unix_ms()).c_str(),
                record.model().c_str(), record.blocks(), tokens,
                Size(static_cast<double>(record.bytes())).c_str(),
                tokens == 0 ? 0 : static_cast<double>(record.bytes()) / tokens, record.turn());
  }
  if (response.requests().empty()) std::puts("(no request was finished with Touch yet)");
  return kDone;
}

nlohmann::json NamespaceJson(const v1::NamespaceStats& stats) {
  return {{"tenant", stats.tenant()},
          {"model", stats.model()},
          {"aliases", std::vector<std::string>(stats.aliases().begin(), stats.aliases().end())},
          {"identity_digest", Hex(stats.identity_digest())},
          {"lookups", stats.lookups()},
          {"keys_asked", stats.keys_asked()},
          {"keys_held", stats.keys_held()},
          {"blocks_stored", stats.blocks_stored()},
          {"hit_tokens_memory", stats.hit_tokens_memory()},
          {"hit_tokens_disk", stats.hit_tokens_disk()}};
}

void PrintNamespaces(const v1::StatsResponse& response) {
  std::printf("%-12s %-12s %-24s %-12s %10s %10s %10s %12s\n", "digest", "tenant", "model", "alias",
              "asked", "held", "stored", "hit tokens");
  for (const v1::NamespaceStats& stats : response.namespaces()) {
    const uint64_t hit_tokens = stats.hit_tokens_memory() + stats.hit_tokens_disk();
    std::printf("%-12s %-12.12s %-24.24s %-12.12s %10llu %10llu %10llu %12llu\n",
                Hex(stats.identity_digest()).substr(0, 12).c_str(), stats.tenant().c_str(),
                stats.model().c_str(), stats.alias().c_str(),
                static_cast<unsigned long long>(stats.keys_asked()),
                static_cast<unsigned long long>(stats.keys_held()),
                static_cast<unsigned long long>(stats.blocks_stored()),
                static_cast<unsigned long long>(hit_tokens));
  }
}

int Stats(const Context& context, const StatsArgs& args) {
  if (args.per_request) return PerRequest(context, args.limit);
  AdminClient admin(context);
  v1::StatsRequest request;
  request.set_prefix(args.prefix);
  v1::StatsResponse response;
  if (Answer answer = admin.Stats(request, &response); !answer.ok()) {
    return Fail("stats", answer.code, answer.message, context);
  }
  nlohmann::json counters = nlohmann::json::object();
  nlohmann::json namespaces = nlohmann::json::array();
  for (const v1::Counter& counter : response.counters()) {
    counters[counter.name()] = counter.value();
  }
  for (const v1::NamespaceStats& stats : response.namespaces()) {
    namespaces.push_back(NamespaceJson(stats));
  }
  if (context.json) {
    PrintJson({{"version", response.version()},
               {"uptime_ms", response.uptime_ms()},
               {"counters", counters},
               {"namespaces", namespaces}});
    return kDone;
  }
  if (args.namespaces) {
    PrintNamespaces(response);
    return kDone;
  }
  std::printf("kvgated %s, up %.0f s, %d namespaces\n", response.version().c_str(),
              static_cast<double>(response.uptime_ms()) / 1000, response.namespaces_size());
  for (const v1::Counter& counter : response.counters()) {
    if (counter.value() == 0 && !args.all) continue;
    const bool bytes = counter.name().find("bytes") != std::string::npos;
    std::printf("  %-44s %14.0f%s\n", counter.name().c_str(), counter.value(),
                bytes ? ("  " + Size(counter.value())).c_str() : "");
  }
  if (!args.all) std::puts("  (what is 0 is not shown; --all shows it)");
  return kDone;
}

int Scan(const Context& context, uint32_t limit) {
  AdminClient admin(context);
  v1::ScanRequest request;
  if (!context.name_space.empty()) {
    v1::NamespaceStats found;
    if (Answer answer = admin.FindNamespace(context.name_space, context.tenant, &found);
        !answer.ok()) {
      return Fail("scan", answer.code, answer.message, context);
    }
    request.set_identity_digest(found.identity_digest());
  }
  nlohmann::json rows = nlohmann::json::array();
  do {
    request.set_limit(std::min<uint32_t>(limit - static_cast<uint32_t>(rows.size()), 1024));
    v1::ScanResponse response;
    if (Answer answer = admin.Scan(request, &response); !answer.ok()) {
      return Fail("scan", answer.code, answer.message, context);
    }
    for (const v1::ScanEntry& entry : response.entries()) {
      rows.push_back({{"key", entry.key().empty() ? "" : Printable(entry.key())},
                      {"key_hash", Hex(entry.key_hash())},
                      {"group", entry.group()},
                      {"shard", entry.shard()},
                      {"value_bytes", entry.value_bytes()},
                      {"depth", entry.depth()},
                      {"in_memory", entry.in_memory()},
                      {"on_disk", entry.on_disk()},
                      {"tenant", entry.tenant()},
                      {"identity_digest", Hex(entry.identity_digest())}});
    }
    request.set_cursor(response.next_cursor());
  } while (!request.cursor().empty() && rows.size() < limit);
  if (context.json) {
    PrintJson(rows);
    return kDone;
  }
  for (const auto& row : rows) {
    const auto key = row["key"].get<std::string>();
    std::printf("%-12s %2u/%-2u %10s  %-11s %s\n",
                row["identity_digest"].get<std::string>().substr(0, 12).c_str(),
                row["group"].get<uint32_t>(), row["shard"].get<uint32_t>(),
                Size(row["value_bytes"].get<double>()).c_str(),
                row["in_memory"] && row["on_disk"] ? "memory+disk"
                : row["in_memory"]                 ? "memory"
                                                   : "disk",
                key.empty() ? ("hash " + row["key_hash"].get<std::string>()).c_str() : key.c_str());
  }
  if (!request.cursor().empty()) std::puts("(more; --limit shows more)");
  return kDone;
}

int Explain(const Context& context, const std::string& text, bool hex) {
  v1::ExplainRequest request;
  if (!ParseKey(text, hex, request.mutable_key())) {
    std::fprintf(stderr, "kvgate explain: \"%s\" is not a key\n", text.c_str());
    return kUsage;
  }
  AdminClient admin(context);
  if (!context.name_space.empty()) {
    v1::NamespaceStats found;
    if (Answer answer = admin.FindNamespace(context.name_space, context.tenant, &found);
        !answer.ok()) {
      return Fail("explain", answer.code, answer.message, context);
    }
    request.set_identity_digest(found.identity_digest());
    request.set_tenant(context.tenant);
  }
  v1::ExplainResponse response;
  if (Answer answer = admin.Explain(request, &response); !answer.ok()) {
    return Fail("explain", answer.code, answer.message, context);
  }
  const Explained explained = ExplainText(request.key(), response);
  if (context.json) {
    PrintJson({{"held", explained.held}, {"reason", explained.reason}, {"lines", explained.lines}});
  } else {
    for (const std::string& line : explained.lines) std::puts(line.c_str());
  }
  return explained.held ? kDone : kAbsent;
}

}  // namespace

void AddAdminCommands(CLI::App* app, Context* context, Run* run) {
  auto stats_args = std::make_shared<StatsArgs>();
  CLI::App* stats = app->add_subcommand("stats", "counters, namespaces, recent requests");
  stats->add_option("--prefix", stats_args->prefix, "only counters that begin so");
  stats->add_flag("--all", stats_args->all, "those that are 0 too");
  stats->add_flag("--namespaces", stats_args->namespaces, "a table of namespaces and their use");
  stats->add_flag("--per-request", stats_args->per_request,
                  "tokens, bytes and bytes a token of recent requests");
  stats->add_option("--limit", stats_args->limit, "requests shown; default 32")
      ->check(CLI::Range(1, 1024));
  stats->callback([=] { *run = [=] { return Stats(*context, *stats_args); }; });

  auto limit = std::make_shared<uint32_t>(100);
  CLI::App* scan = app->add_subcommand("scan", "list keys that are held");
  scan->add_option("--limit", *limit, "at most so many; default 100")
      ->check(CLI::Range(1, 10'000'000));
  scan->callback([=] { *run = [=] { return Scan(*context, *limit); }; });

  auto key = std::make_shared<std::string>();
  auto hex = std::make_shared<bool>(false);
  CLI::App* explain = app->add_subcommand("explain", "why a key is there or is not");
  explain->add_option("KEY", *key, "the key")->required();
  explain->add_flag("--hex", *hex, "the key is given in hex");
  explain->callback([=] { *run = [=] { return Explain(*context, *key, *hex); }; });

  auto top_args = std::make_shared<TopArgs>();
  CLI::App* top = app->add_subcommand("top", "live rates, until Ctrl-C");
  top->add_option("--interval-ms", top_args->interval_ms, "between two pictures; default 1000")
      ->check(CLI::Range(50, 60'000));
  top->add_option("-n", top_args->pictures, "stop after so many; default never");
  top->callback([=] { *run = [=] { return Top(*context, *top_args); }; });
}

}  // namespace kvgate::cli
