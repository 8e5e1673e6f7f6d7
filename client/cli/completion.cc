// SPDX-License-Identifier: Apache-2.0
//
// Completion scripts, made of the very commands and options that the program has.
#include <CLI/CLI.hpp>

#include "client/cli/commands.h"

namespace kvgate::cli {
namespace {

std::string OptionsOf(const CLI::App& app) {
  std::string out;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) out += " --" + name;
    for (const std::string& name : option->get_snames()) out += " -" + name;
  }
  return out;
}

std::string Bash(const CLI::App& app) {
  std::string commands, cases;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    commands += " " + command->get_name();
    cases += "    " + command->get_name() + ") words=\"" + OptionsOf(*command) + OptionsOf(app) +
             "\" ;;\n";
  }
  return "# bash completion of kvgate: source this file, or put it into\n"
         "# /usr/share/bash-completion/completions/kvgate\n"
         "_kvgate() {\n"
         "  local current=${COMP_WORDS[COMP_CWORD]} command= word\n"
         "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "    [[ $word == -* ]] || { command=$word; break; }\n"
         "  done\n"
         "  local words\n"
         "  case $command in\n" +
         cases + "    *) words=\"" + commands + OptionsOf(app) +
         "\" ;;\n"
         "  esac\n"
         "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
         "}\n"
         "complete -o default -F _kvgate kvgate\n";
}

std::string Zsh(const CLI::App& app) {
  return "#compdef kvgate\n"
         "autoload -U +X bashcompinit && bashcompinit\n" +
         Bash(app);
}

std::string Fish(const CLI::App& app) {
  std::string out;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    const std::string& name = command->get_name();
    out += "complete -c kvgate -n __fish_use_subcommand -a " + name + " -d '" +
           command->get_description() + "'\n";
    for (const CLI::Option* option : command->get_options()) {
      for (const std::string& flag : option->get_lnames()) {
        out += "complete -c kvgate -n '__fish_seen_subcommand_from " + name + "' -l " + flag + "\n";
      }
    }
  }
  return out;
}

}  // namespace

std::string CompletionScript(const CLI::App& app, const std::string& shell) {
  if (shell == "bash") return Bash(app);
  if (shell == "zsh") return Zsh(app);
  if (shell == "fish") return Fish(app);
  return "";
}

}  // namespace kvgate::cli
