// SPDX-License-Identifier: Apache-2.0
//
// config, completion, errors, version: what needs no gateway.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "client/cli/admin_client.h"
#include "client/cli/commands.h"
#include "client/cli/usage.h"
#include "client/cli/version.h"
#include "nlohmann/json.hpp"
#include "proto/wire/error_id.h"

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

nlohmann::json ErrorJson(const wire::ErrorEntry& entry) {
  return {{"id", wire::ErrorText(entry.id)},
          {"name", entry.name},
          {"cause", entry.cause},
          {"remedy", entry.remedy}};
}

void PrintError(const wire::ErrorEntry& entry) {
  std::printf("%s %s\n%s\nWhat to do: %s\n", wire::ErrorText(entry.id).c_str(),
              std::string(entry.name).c_str(), std::string(entry.cause).c_str(),
              std::string(entry.remedy).c_str());
}

const wire::ErrorEntry* FindEntry(const std::string& typed) {
  if (const wire::ErrorEntry* entry = wire::FindError(ErrorIdOf(typed))) return entry;
  for (const wire::ErrorEntry& entry : wire::Errors()) {
    if (entry.name == typed) return &entry;
  }
  return nullptr;
}

// `id` empty: all of them, a line each.
int ErrorsCommand(const Context& context, const std::string& id, bool markdown) {
  if (markdown) {
    std::fputs(wire::ErrorsMarkdown().c_str(), stdout);
    return kDone;
  }
  if (!id.empty()) {
    const wire::ErrorEntry* entry = FindEntry(id);
    if (entry == nullptr) {
      std::fprintf(stderr,
                   "kvgate errors: there is no \"%s\": ids look like KVG101, and `kvgate errors` "
                   "lists all\n",
                   id.c_str());
      return kAbsent;
    }
    if (context.json) {
      PrintJson(ErrorJson(*entry));
    } else {
      PrintError(*entry);
    }
    return kDone;
  }
  nlohmann::json rows = nlohmann::json::array();
  for (const wire::ErrorEntry& entry : wire::Errors()) {
    rows.push_back(ErrorJson(entry));
    if (context.json) continue;
    std::printf("%s %-26s %s\n", wire::ErrorText(entry.id).c_str(), std::string(entry.name).c_str(),
                std::string(entry.cause).c_str());
  }
  if (context.json) PrintJson(rows);
  return kDone;
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

void AddErrorsCommand(CLI::App* app, Context* context, Run* run) {
  auto id = std::make_shared<std::string>();
  auto markdown = std::make_shared<bool>(false);
  CLI::App* errors =
      app->add_subcommand("errors", "what the [KVG101] at the end of a message means");
  errors->add_option("ID", *id, "one of them: KVG101, 101, or its name; default all");
  errors->add_flag("--markdown", *markdown, "all of them as docs/troubleshooting.md");
  errors->callback([=] { *run = [=] { return ErrorsCommand(*context, *id, *markdown); }; });
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
  AddErrorsCommand(app, context, run);
  app->add_subcommand("version", "of this program and of the gateway")->callback([=] {
    *run = [=] { return Version(*context); };
  });
}

}  // namespace kvgate::cli
