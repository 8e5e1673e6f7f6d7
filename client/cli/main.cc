// SPDX-License-Identifier: Apache-2.0
//
// kvgate: the operator's and the curious user's program. Exit statuses: context.h.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "client/cli/commands.h"
#include "client/cli/version.h"

namespace kvgate::cli {
namespace {

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
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  context.run_dir = FindRunDir(run_dir, data_dir);
  return run();
}

}  // namespace
}  // namespace kvgate::cli

int main(int argc, char** argv) { return kvgate::cli::Main(argc, argv); }
