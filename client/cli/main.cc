// SPDX-License-Identifier: Apache-2.0
//
// kvgate: the operator's and the curious user's program. Exit statuses: context.h.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "client/cli/commands.h"
#include "client/cli/version.h"

namespace kvgate::cli {
namespace {

// What stands where a command should.
std::string FirstWord(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (argv[i][0] != '-') return argv[i];
  }
  return "";
}

int Main(int argc, char** argv) {
  CLI::App app("kvgate: asks and steers the KV-cache gateway of this node");
  Context context;
  std::string run_dir, data_dir;
  Run run;
  app.add_option("--run-dir", run_dir,
                 "where the daemon has its sockets; default KVGATE_RUN_DIR, else /run/kvgate");
  app.add_option("--data-dir", data_dir, "the daemon's data directory: its run folder is used");
  app.add_option("--tenant", context.tenant, "whose door; default \"default\"");
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
    if (error.get_exit_code() != 0 && app.get_subcommands().empty()) {
      const std::string word = FirstWord(argc, argv);
      if (!word.empty()) std::fprintf(stderr, "kvgate: there is no command \"%s\"\n", word.c_str());
    }
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  context.run_dir = FindRunDir(run_dir, data_dir);
  return run();
}

}  // namespace
}  // namespace kvgate::cli

int main(int argc, char** argv) { return kvgate::cli::Main(argc, argv); }
