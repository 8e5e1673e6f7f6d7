// SPDX-License-Identifier: Apache-2.0
//
// config, completion, version: what needs no gateway.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "client/cli/admin_client.h"
#include "client/cli/commands.h"
#include "client/cli/version.h"
#include "nlohmann/json.hpp"

namespace kvgate::cli {
namespace {

// The kvgated that was installed with this program, else the one in PATH.
std::string FindDaemon() {
  for (const char* place : {"/kvgated", "/../sbin/kvgated", "/../../gateway/kvgated"}) {
    const std::string candidate = OwnFolder() + place;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "kvgated";
}

int RunConfig(const std::vector<std::string>& arguments) {
  const std::string daemon = FindDaemon();
  std::vector<char*> argv = {const_cast<char*>(daemon.c_str()), const_cast<char*>("config")};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  std::fprintf(stderr, "kvgate config: cannot run %s: %s\n", daemon.c_str(), std::strerror(errno));
  return kRefused;
}

int Version(const Context& context) {
  AdminClient admin(context);
  v1::StatsRequest request;
  request.set_prefix("uptime");
  v1::StatsResponse response;
  const bool reached = admin.Stats(request, &response).ok();
  if (context.json) {
    PrintJson({{"kvgate", kVersionNumber},
               {"wire", "kvgate.v1"},
               {"kvgated", reached ? response.version() : ""}});
  } else {
    std::printf("kvgate %s (wire kvgate.v1)\n", kVersionNumber);
    std::printf("kvgated %s\n", reached ? response.version().c_str()
                                        : ("(none answers in " + context.run_dir + ")").c_str());
  }
  return kDone;
}

}  // namespace

void AddHostCommands(CLI::App* app, Context* context, Run* run) {
  auto arguments = std::make_shared<std::vector<std::string>>();
  CLI::App* config = app->add_subcommand(
      "config", "check or print the daemon's configuration: see kvgated config --help");
  config->prefix_command()->fallthrough(false);
  config->callback([=] {
    *arguments = config->remaining();
    *run = [=] { return RunConfig(*arguments); };
  });

  auto shell = std::make_shared<std::string>("bash");
  CLI::App* completion = app->add_subcommand("completion", "print a completion script");
  completion->add_option("SHELL", *shell, "bash, zsh or fish")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->callback([=] {
    *run = [=] {
      std::fputs(CompletionScript(*app, *shell).c_str(), stdout);
      return static_cast<int>(kDone);
    };
  });
  app->add_subcommand("version", "of this program and of the gateway")->callback([=] {
    *run = [=] { return Version(*context); };
  });
}

}  // namespace kvgate::cli
