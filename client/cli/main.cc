// SPDX-License-Identifier: Apache-2.0
//
// kvgate: the operator's and the curious user's program. Exit statuses: context.h.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "client/cli/commands.h"
#include "client/cli/usage.h"
#include "client/cli/version.h"

namespace kvgate::cli {
namespace {

std::vector<std::string> LongOptions(const CLI::App& app) {
  std::vector<std::string> out;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) out.push_back("--" + name);
  }
  return out;
}

// The words of a command line that no command and no option answers to.
struct Unknown {
  std::string command, option;
};

Unknown FindUnknown(const CLI::App& app, const CLI::App* command, int argc, char** argv) {
  Unknown out;
  std::vector<std::string> known = LongOptions(app);
  if (command != nullptr) {
    for (const std::string& name : LongOptions(*command)) known.push_back(name);
  }
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--") break;
    if (word.rfind('-', 0) != 0) {
      if (command == nullptr && out.command.empty()) out.command = word;
      continue;
    }
    const std::string name = word.substr(0, word.find('='));
    if (name.rfind("--", 0) != 0) continue;
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      if (out.option.empty()) out.option = name;
      continue;
    }
    const CLI::Option* option = app.get_option_no_throw(name);
    if (option != nullptr && option->get_items_expected_max() > 0 && name == word) ++i;
  }
  return out;
}

// Says what is wrong with the command line; false: nothing that this knows.
bool SayUnknown(const CLI::App& app, int argc, char** argv) {
  const std::vector<const CLI::App*> commands =
      app.get_subcommands([](const CLI::App* one) { return !one->get_name().empty(); });
  const CLI::App* command = nullptr;
  std::vector<std::string> names;
  for (const CLI::App* one : commands) {
    names.push_back(one->get_name());
    if (one->parsed()) command = one;
  }
  const Unknown unknown = FindUnknown(app, command, argc, argv);
  const std::string own = command == nullptr ? "kvgate" : "kvgate " + command->get_name();
  if (!unknown.option.empty()) {
    std::vector<std::string> options = LongOptions(app);
    if (command != nullptr) {
      const std::vector<std::string> more = LongOptions(*command);
      options.insert(options.begin(), more.begin(), more.end());
    }
    std::fprintf(stderr, "%s: there is no option \"%s\"%s\n", own.c_str(), unknown.option.c_str(),
                 DidYouMean(unknown.option, options).c_str());
  } else if (!unknown.command.empty()) {
    std::fprintf(stderr, "kvgate: there is no command \"%s\"%s\n", unknown.command.c_str(),
                 DidYouMean(unknown.command, names).c_str());
  } else {
    return false;
  }
  std::fprintf(stderr, "See %s --help\n", own.c_str());
  return true;
}

int Main(int argc, char** argv) {
  CLI::App app("kvgate: asks and steers the KV-cache gateway of this node", "kvgate");
  Context context;
  std::string run_dir, data_dir;
  Run run;
  app.add_option("--run-dir", run_dir,
                 "where the daemon has its sockets; default KVGATE_RUN_DIR, else /run/kvgate");
  app.add_option("--data-dir", data_dir, "the daemon's data directory: its run folder is used");
  app.add_option(
      "--tenant", context.tenant,
      "whose door; default \"default\". stats, scan and explain: only this tenant; default all");
  app.add_option("--ns", context.name_space,
                 "a namespace: alias, model, or first hex digits of its digest; default the CLI's");
  app.add_option("--token-file", context.token_file,
                 "file whose first line is the token that the tenant's door asks for; default "
                 "KVGATE_TOKEN_FILE, else the token KVGATE_TOKEN");
  app.add_option("--timeout-ms", context.timeout_ms, "of each call; default 2000")
      ->check(CLI::Range(1.0, 600'000.0));
  app.add_flag("--json", context.json, "answers for programs");
  app.set_version_flag("--version", std::string("kvgate ") + kVersionNumber);
  app.require_subcommand(1);
  app.fallthrough();
  app.footer("Exit status: 0 done, 1 not there, 2 wrong usage, 3 no gateway answers, 4 refused.");
  AddDataCommands(&app, &context, &run);
  AddAdminCommands(&app, &context, &run);
  AddBenchCommand(&app, &context, &run);
  AddDoctorCommand(&app, &context, &run);
  AddHostCommands(&app, &context, &run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0 && SayUnknown(app, argc, argv)) return kUsage;
    if (error.get_name() == "RequiredError" && app.get_subcommands().empty()) {
      std::fputs("kvgate: name a command\n", stderr);
      std::fputs(app.help().c_str(), stderr);
      return kUsage;
    }
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  context.tenant_named = app.get_option("--tenant")->count() > 0;
  context.run_dir = FindRunDir(run_dir, data_dir);
  return run();
}

}  // namespace
}  // namespace kvgate::cli

int main(int argc, char** argv) { return kvgate::cli::Main(argc, argv); }
