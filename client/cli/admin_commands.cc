// SPDX-License-Identifier: Apache-2.0
//
// scan, explain, top: what the operator's socket tells; stats is in stats_command.cc.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

#include "client/cli/admin_client.h"
#include "client/cli/alike.h"
#include "client/cli/commands.h"
#include "client/cli/explain_text.h"
#include "client/cli/top_command.h"
#include "nlohmann/json.hpp"

namespace kvgate::cli {
namespace {

int Scan(const Context& context, uint32_t limit) {
  AdminClient admin(context);
  if (Answer answer = admin.CheckTenant(context); !answer.ok()) {
    return Fail("scan", answer.code, answer.message, context);
  }
  v1::ScanRequest request;
  if (!context.name_space.empty()) {
    v1::NamespaceStats found;
    if (Answer answer = admin.FindNamespace(context.name_space, context.TenantAsked(), &found);
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
      if (context.tenant_named && entry.tenant() != context.tenant) continue;
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
  if (rows.empty()) {
    std::puts("(no key is held)");
    return kDone;
  }
  std::printf("%-12s %-5s %10s  %-11s %s\n", "namespace", "gr/sh", "bytes", "tier", "key");
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

struct ExplainArgs {
  std::string key;
  bool hex = false;
  Only only;
};

// By digest; empty where nothing looks alike, or when it cannot be asked for.
std::map<std::string, std::string> Apart(AdminClient* admin, const v1::ExplainResponse& explained) {
  if (explained.namespaces_size() < 2) return {};
  v1::StatsRequest request;
  request.set_prefix("uptime");  // the namespaces come whatever the prefix
  v1::StatsResponse response;
  if (!admin->Stats(request, &response).ok()) return {};
  std::set<std::string> told;
  for (const auto& ns : explained.namespaces()) told.insert(ns.identity_digest());
  std::vector<v1::NamespaceStats> namespaces;
  for (const v1::NamespaceStats& stats : response.namespaces()) {
    if (told.count(stats.identity_digest()) != 0) namespaces.push_back(stats);
  }
  const std::vector<std::string> apart = TellApart(namespaces);
  std::map<std::string, std::string> out;
  for (size_t i = 0; i < apart.size(); ++i) out[namespaces[i].identity_digest()] = apart[i];
  return out;
}

int Explain(const Context& context, const ExplainArgs& args) {
  v1::ExplainRequest request;
  if (!ParseKey(args.key, args.hex, request.mutable_key())) {
    std::fprintf(stderr, "kvgate explain: \"%s\" is not a key\n", args.key.c_str());
    return kUsage;
  }
  AdminClient admin(context);
  Answer answer = admin.CheckTenant(context);
  request.set_tenant(context.TenantAsked());
  if (answer.ok() && !context.name_space.empty()) {
    v1::NamespaceStats found;
    answer = admin.FindNamespace(context.name_space, context.TenantAsked(), &found);
    request.set_identity_digest(found.identity_digest());
    request.set_tenant(found.tenant());
  }
  v1::ExplainResponse response;
  if (answer.ok()) answer = admin.Explain(request, &response);
  if (!answer.ok()) return Fail("explain", answer.code, answer.message, context);
  const Explained explained =
      ExplainText(request.key(), response, args.only, Apart(&admin, response));
  if (context.json) {
    PrintJson({{"held", explained.held}, {"reason", explained.reason}, {"lines", explained.lines}});
  } else {
    for (const std::string& line : explained.lines) std::puts(line.c_str());
  }
  return explained.held ? kDone : kAbsent;
}

}  // namespace

void AddAdminCommands(CLI::App* app, Context* context, Run* run) {
  AddStatsCommand(app, context, run);
  auto limit = std::make_shared<uint32_t>(100);
  CLI::App* scan = app->add_subcommand("scan", "list keys that are held");
  scan->add_option("--limit", *limit, "at most so many; default 100")
      ->check(CLI::Range(1, 10'000'000));
  scan->callback([=] { *run = [=] { return Scan(*context, *limit); }; });

  auto args = std::make_shared<ExplainArgs>();
  CLI::App* explain = app->add_subcommand("explain", "why a key is there or is not");
  explain->add_option("KEY", args->key, "the key")->required();
  explain->add_flag("--hex", args->hex, "the key is given in hex");
  explain->add_option("--group", args->only.group, "only this KV-cache group; default all")
      ->check(CLI::Range(255));
  explain->add_option("--shard", args->only.shard, "only this shard; default all")
      ->check(CLI::Range(255));
  explain->callback([=] { *run = [=] { return Explain(*context, *args); }; });

  auto top_args = std::make_shared<TopArgs>();
  CLI::App* top = app->add_subcommand("top", "live rates, until Ctrl-C");
  top->add_option("--interval-ms", top_args->interval_ms, "between two pictures; default 1000")
      ->check(CLI::Range(50, 60'000));
  top->add_option("-n", top_args->pictures, "stop after so many; default never");
  top->callback([=] { *run = [=] { return Top(*context, *top_args); }; });
}

}  // namespace kvgate::cli
