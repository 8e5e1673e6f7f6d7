// SPDX-License-Identifier: Apache-2.0
//
// stats: counters, namespaces, recent requests.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <set>

#include "client/cli/admin_client.h"
#include "client/cli/alike.h"
#include "client/cli/commands.h"
#include "nlohmann/json.hpp"

namespace kvgate::cli {
namespace {

struct StatsArgs {
  std::string filter;  // part of a counter's name
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

// The namespaces that --ns and --tenant mean; all without them.
Answer Namespaces(const Context& context, AdminClient* admin,
                  std::vector<v1::NamespaceStats>* found) {
  if (Answer answer = admin->CheckTenant(context); !answer.ok()) return answer;
  if (!context.name_space.empty()) {
    return admin->FindNamespaces(context.name_space, context.TenantAsked(), found);
  }
  v1::StatsRequest request;
  request.set_prefix("uptime");  // the namespaces come whatever the prefix
  v1::StatsResponse response;
  if (Answer answer = admin->Stats(request, &response); !answer.ok()) return answer;
  for (const v1::NamespaceStats& stats : response.namespaces()) {
    if (context.tenant_named && stats.tenant() != context.tenant) continue;
    found->push_back(stats);
  }
  return {};
}

Answer RecentRequests(const Context& context, uint32_t limit,
                      std::vector<v1::RequestRecord>* records) {
  AdminClient admin(context);
  const bool some = context.tenant_named || !context.name_space.empty();
  std::set<std::pair<std::string, std::string>> wanted;
  if (some) {
    std::vector<v1::NamespaceStats> found;
    if (Answer answer = Namespaces(context, &admin, &found); !answer.ok()) return answer;
    for (const v1::NamespaceStats& stats : found) {
      wanted.emplace(stats.tenant(), stats.identity_digest());
    }
  }
  v1::RequestsRequest request;
  request.set_limit(some ? 1024 : limit);
  v1::RequestsResponse response;
  if (Answer answer = admin.Requests(request, &response); !answer.ok()) return answer;
  for (const v1::RequestRecord& record : response.requests()) {
    if (some && wanted.count({record.tenant(), record.identity_digest()}) == 0) continue;
    if (records->size() < limit) records->push_back(record);
  }
  return {};
}

int PerRequest(const Context& context, uint32_t limit) {
  std::vector<v1::RequestRecord> records;
  if (Answer answer = RecentRequests(context, limit, &records); !answer.ok()) {
    return Fail("stats", answer.code, answer.message, context);
  }
  if (context.json) {
    nlohmann::json rows = nlohmann::json::array();
    for (const v1::RequestRecord& record : records) rows.push_back(RequestJson(record));
    PrintJson(rows);
    return kDone;
  }
  std::printf("%-14s %-12s %-24s %7s %8s %10s %12s %6s\n", "when", "namespace", "model", "blocks",
              "tokens", "bytes", "bytes/token", "turn");
  for (const v1::RequestRecord& record : records) {
    const double tokens = static_cast<double>(record.tokens());
    std::printf("%-14s %-12.12s %-24.24s %7u %8.0f %10s %12.0f %6u\n",
                Ago(record.at_unix_ms()).c_str(), Hex(record.identity_digest()).c_str(),
                record.model().c_str(), record.blocks(), tokens,
                Size(static_cast<double>(record.bytes())).c_str(),
                tokens == 0 ? 0 : static_cast<double>(record.bytes()) / tokens, record.turn());
  }
  if (records.empty()) std::puts("(no request was finished with Touch yet)");
  return kDone;
}

nlohmann::json NamespaceJson(const v1::NamespaceStats& stats, const std::string& apart) {
  return {{"tenant", stats.tenant()},
          {"model", stats.model()},
          {"aliases", std::vector<std::string>(stats.aliases().begin(), stats.aliases().end())},
          {"identity_digest", Hex(stats.identity_digest())},
          {"lookups", stats.lookups()},
          {"keys_asked", stats.keys_asked()},
          {"keys_held", stats.keys_held()},
          {"blocks_stored", stats.blocks_stored()},
          {"hit_tokens_memory", stats.hit_tokens_memory()},
          {"hit_tokens_disk", stats.hit_tokens_disk()},
          {"differs_in", apart}};
}

void PrintNamespaces(const std::vector<v1::NamespaceStats>& namespaces) {
  std::printf("%-12s %-12s %-24s %-12s %10s %10s %10s %12s\n", "digest", "tenant", "model", "alias",
              "asked", "held", "stored", "hit tokens");
  const std::vector<std::string> apart = TellApart(namespaces);
  for (size_t i = 0; i < namespaces.size(); ++i) {
    const v1::NamespaceStats& stats = namespaces[i];
    const uint64_t hit_tokens = stats.hit_tokens_memory() + stats.hit_tokens_disk();
    std::printf("%-12s %-12.12s %-24.24s %-12.12s %10llu %10llu %10llu %12llu%s\n",
                Hex(stats.identity_digest()).substr(0, 12).c_str(), stats.tenant().c_str(),
                stats.model().c_str(), stats.alias().c_str(),
                static_cast<unsigned long long>(stats.keys_asked()),
                static_cast<unsigned long long>(stats.keys_held()),
                static_cast<unsigned long long>(stats.blocks_stored()),
                static_cast<unsigned long long>(hit_tokens),
                apart[i].empty() ? "" : ("  " + apart[i]).c_str());
  }
  if (namespaces.empty()) std::puts("(no namespace was opened yet)");
}

void PrintCounters(const v1::StatsResponse& response, const StatsArgs& args) {
  std::printf("kvgated %s, up %.0f s, %d namespaces\n", response.version().c_str(),
              static_cast<double>(response.uptime_ms()) / 1000, response.namespaces_size());
  // Who asks for some wants to see a 0 too.
  const bool all = args.all || !args.filter.empty();
  for (const v1::Counter& counter : response.counters()) {
    if (counter.value() == 0 && !all) continue;
    const bool bytes = counter.name().find("bytes") != std::string::npos;
    std::printf("  %-44s %14.0f%s\n", counter.name().c_str(), counter.value(),
                bytes ? ("  " + Size(counter.value())).c_str() : "");
  }
  if (!all) std::puts("  (what is 0 is not shown; --all shows it)");
}

int Stats(const Context& context, const StatsArgs& args) {
  if (args.per_request) return PerRequest(context, args.limit);
  AdminClient admin(context);
  std::vector<v1::NamespaceStats> namespaces;
  v1::StatsResponse response;
  Answer answer = admin.Stats({}, &response);
  if (answer.ok()) answer = Namespaces(context, &admin, &namespaces);
  if (!answer.ok()) return Fail("stats", answer.code, answer.message, context);
  auto* all = response.mutable_counters();
  all->erase(std::remove_if(all->begin(), all->end(),
                            [&](const v1::Counter& counter) {
                              return counter.name().find(args.filter) == std::string::npos;
                            }),
             all->end());
  if (context.json) {
    nlohmann::json counters = nlohmann::json::object();
    nlohmann::json rows = nlohmann::json::array();
    for (const v1::Counter& counter : *all) counters[counter.name()] = counter.value();
    const std::vector<std::string> apart = TellApart(namespaces);
    for (size_t i = 0; i < namespaces.size(); ++i) {
      rows.push_back(NamespaceJson(namespaces[i], apart[i]));
    }
    PrintJson({{"version", response.version()},
               {"uptime_ms", response.uptime_ms()},
               {"counters", counters},
               {"namespaces", rows}});
    return kDone;
  }
  // Counters are of the whole node: who names a namespace asks for its row.
  if (args.namespaces || context.tenant_named || !context.name_space.empty()) {
    PrintNamespaces(namespaces);
    return kDone;
  }
  if (all->empty()) {
    std::fprintf(stderr, "kvgate stats: no counter has \"%s\" in its name; --all shows all\n",
                 args.filter.c_str());
    return kAbsent;
  }
  PrintCounters(response, args);
  return kDone;
}

}  // namespace

void AddStatsCommand(CLI::App* app, Context* context, Run* run) {
  auto stats_args = std::make_shared<StatsArgs>();
  CLI::App* stats = app->add_subcommand("stats", "counters, namespaces, recent requests");
  stats->add_option("--filter,--prefix", stats_args->filter,
                    "only counters with this anywhere in their name, those that are 0 too");
  stats->add_flag("--all", stats_args->all, "those that are 0 too");
  stats->add_flag("--namespaces", stats_args->namespaces,
                  "a table of namespaces and their use; with --ns or --tenant only those");
  stats->add_flag("--per-request", stats_args->per_request,
                  "tokens, bytes and bytes a token of recent requests");
  stats->add_option("--limit", stats_args->limit, "requests shown; default 32")
      ->check(CLI::Range(1, 1024));
  stats->callback([=] { *run = [=] { return Stats(*context, *stats_args); }; });
}

}  // namespace kvgate::cli
