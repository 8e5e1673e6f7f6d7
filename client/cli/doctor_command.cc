// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>

#include "client/cli/admin_client.h"
#include "client/cli/commands.h"
#include "client/cli/doctor.h"
#include "nlohmann/json.hpp"

namespace kvgate::cli {
namespace {

// The daemon itself: reachable, and what it counts that should be 0. `data_dirs`: those it names.
std::vector<Finding> CheckGateway(const Context& context, std::vector<std::string>* data_dirs) {
  AdminClient admin(context);
  v1::StatsResponse response;
  const Answer answer = admin.Stats({}, &response);
  if (!answer.ok()) {
    const Away why = WhyAway(context);
    return {{"gateway", Level::kFail, "no kvgated answers: " + why.found, why.todo}};
  }
  data_dirs->assign(response.data_dirs().begin(), response.data_dirs().end());
  std::vector<Finding> all = {{"gateway", Level::kOk, "kvgated " + response.version(), ""}};
  uint64_t asked = 0, held = 0;
  for (const v1::NamespaceStats& stats : response.namespaces()) {
    asked += stats.keys_asked();
    held += stats.keys_held();
  }
  for (const v1::Counter& counter : response.counters()) {
    if (counter.value() == 0) continue;
    if (counter.name() == "corrupt_total" || counter.name() == "log_corrupt_records_total") {
      all.push_back({counter.name(), Level::kWarn,
                     std::to_string(static_cast<uint64_t>(counter.value())),
                     "blocks on disk were damaged and became misses: look at the device"});
    }
    if (counter.name() == "disk_devices_offline") {
      all.push_back({counter.name(), Level::kFail,
                     std::to_string(static_cast<uint64_t>(counter.value())),
                     "a device failed and is not used: look at dmesg, replace it, restart"});
    }
  }
  if (asked > 1000 && held == 0) {
    all.push_back({"hits", Level::kWarn, std::to_string(asked) + " keys asked for, none held",
                   "two engines with different identities? `kvgate stats --namespaces`, then "
                   "`kvgate explain KEY --ns NAME`"});
  }
  return all;
}

int Doctor(const Context& context, Host host) {
  std::vector<std::string> told;
  std::vector<Finding> all = CheckGateway(context, &told);
  if (host.data_dirs.empty()) {
    host.data_dirs = told;
    host.dirs_of_daemon = true;
  }
  for (Finding& finding : CheckHost(host)) all.push_back(std::move(finding));
  bool failed = false;
  nlohmann::json rows = nlohmann::json::array();
  for (const Finding& finding : all) {
    failed = failed || finding.level == Level::kFail;
    rows.push_back({{"name", finding.name},
                    {"level", LevelName(finding.level)},
                    {"found", finding.found},
                    {"todo", finding.todo}});
    if (context.json) continue;
    std::printf("%-5s %-15s %s\n", LevelName(finding.level).c_str(), finding.name.c_str(),
                finding.found.c_str());
    if (!finding.todo.empty()) std::printf("      %-15s -> %s\n", "", finding.todo.c_str());
  }
  if (context.json) PrintJson(rows);
  return failed ? kRefused : kDone;
}

}  // namespace

void AddDoctorCommand(CLI::App* app, Context* context, Run* run) {
  auto host = std::make_shared<Host>();
  CLI::App* doctor =
      app->add_subcommand("doctor", "looks at this host and says what to do for each point");
  doctor->add_option("--python", host->python, "the interpreter of your engine; default python3");
  doctor->callback([=] {
    if (const CLI::Option* given = app->get_option("--data-dir"); !given->empty()) {
      host->data_dirs = {given->as<std::string>()};
    }
    *run = [=] { return Doctor(*context, *host); };
  });
}

}  // namespace kvgate::cli
