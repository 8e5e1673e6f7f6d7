// SPDX-License-Identifier: Apache-2.0
//
// The commands of `kvgate`: each registers its subcommand with its options; what it does runs when
// the command line was parsed and answers the exit status (context.h). Owned by the main thread.
#pragma once

#include <functional>
#include <string>

#include "client/cli/context.h"

namespace CLI {
class App;
}

namespace kvgate::cli {

// Filled by the subcommand that the command line names.
using Run = std::function<int()>;

void AddDataCommands(CLI::App* app, Context* context, Run* run);   // ping get set del lookup
void AddAdminCommands(CLI::App* app, Context* context, Run* run);  // stats scan explain top
void AddStatsCommand(CLI::App* app, Context* context, Run* run);
void AddBenchCommand(CLI::App* app, Context* context, Run* run);
void AddDoctorCommand(CLI::App* app, Context* context, Run* run);
void AddHostCommands(CLI::App* app, Context* context,
                     Run* run);  // config completion errors version

// A completion script made of the commands and options of `app`; empty for an unknown shell.
std::string CompletionScript(const CLI::App& app, const std::string& shell);

}  // namespace kvgate::cli
