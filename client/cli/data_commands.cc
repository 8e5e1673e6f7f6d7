// SPDX-License-Identifier: Apache-2.0
//
// ping, get, set, del, lookup: what a worker does, by hand.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <vector>

#include "client/cli/commands.h"
#include "client/cli/session.h"
#include "nlohmann/json.hpp"

namespace kvgate::cli {
namespace {

constexpr size_t kKeyBytesMax = 1024;

struct KeyArgs {
  bool one = true;  // a command of one key: `text`; else `texts`
  std::string text;
  std::vector<std::string> texts;
  bool hex = false;
  uint32_t group = 0, shard = 0;
};

const char* TierName(uint8_t tier) { return tier == 1 ? "memory" : tier == 2 ? "disk" : "none"; }

bool ParseKeys(const KeyArgs& args, std::vector<std::string>* keys) {
  for (const std::string& text : args.one ? std::vector{args.text} : args.texts) {
    if (!ParseKey(text, args.hex, &keys->emplace_back())) {
      std::fprintf(stderr, "kvgate: \"%s\" is not a key%s\n", text.c_str(),
                   args.hex ? ": pairs of hex digits are" : "");
      return false;
    }
    if (const size_t bytes = keys->back().size(); bytes > kKeyBytesMax) {
      std::fprintf(stderr, "kvgate: the key \"%.16s...\" has %zu bytes, at most %zu are allowed\n",
                   text.c_str(), bytes, kKeyBytesMax);
      return false;
    }
  }
  return true;
}

bool IsBelow(const char* what, const char* flag, uint32_t value, size_t count) {
  if (value < count) return true;
  std::fprintf(stderr, "kvgate %s: --%s %u: this namespace has %zu %s%s, 0 to %zu\n", what, flag,
               value, count, flag, count == 1 ? "" : "s", count - 1);
  return false;
}

// In words of the command line, before the gateway says it in words of its contract.
bool CheckPlace(const char* what, const Session& session, const KeyArgs& args) {
  return IsBelow(what, "group", args.group, session.identity.groups.size()) &&
         IsBelow(what, "shard", args.shard, session.identity.shard_count());
}

int FailOutcome(const char* what, const client::Outcome& outcome, const Context& context) {
  return Fail(what, outcome.code, outcome.message, context);
}

int Ping(const Context& context) {
  Session session;
  if (Answer answer = session.Open(context); !answer.ok()) {
    return Fail("ping", answer.code, answer.message, context);
  }
  const auto start = std::chrono::steady_clock::now();
  const client::Outcome outcome = session.client->Ping(client::DeadlineIn(context.timeout_ms));
  const double ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  if (!outcome.ok()) return FailOutcome("ping", outcome, context);
  if (context.json) {
    PrintJson({{"ms", ms},
               {"server_version", session.opened.server_version},
               {"disk_mode", session.opened.disk_mode}});
  } else {
    std::printf("kvgated %s answers in %.3f ms (disk: %s)\n", session.opened.server_version.c_str(),
                ms, session.opened.disk_mode.c_str());
  }
  return kDone;
}

// The lengths of the keys' values, as Lookup tells them, by asking for each key alone.
client::Outcome LengthOf(Session* session, std::string_view key, uint32_t group, double timeout_ms,
                         uint64_t* bytes, uint8_t* tier) {
  const client::GroupQuery query{.group = group,
                                 .keys = {&key, 1},
                                 .match = 1,  // PREFIX, of a chain of one
                                 .block_tokens = group < session->identity.groups.size()
                                                     ? session->identity.groups[group].block_tokens
                                                     : 0};
  client::LookupReply reply;
  const client::Outcome outcome = session->client->Lookup(
      {.ns = session->ns, .queries = {&query, 1}}, client::DeadlineIn(timeout_ms), &reply);
  *bytes = 0;
  *tier = 0;
  if (!outcome.ok() || reply.groups.empty() || reply.groups[0].runs.empty()) return outcome;
  *bytes = reply.groups[0].runs[0].value_bytes / session->identity.shard_count();
  *tier = reply.groups[0].runs[0].tier;
  return outcome;
}

// One value into `value`; asks again with the right length when its shards differ.
client::Outcome GetValue(Session* session, std::string_view key, const KeyArgs& args,
                         double timeout_ms, std::string* value, client::GetResult* result) {
  uint64_t bytes = 0;
  uint8_t tier = 0;
  client::Outcome outcome = LengthOf(session, key, args.group, timeout_ms, &bytes, &tier);
  if (!outcome.ok()) return outcome;
  for (int attempt = 0; attempt < 2 && bytes > 0; ++attempt) {
    value->resize(bytes);
    const std::span<std::byte> piece(reinterpret_cast<std::byte*>(value->data()), bytes);
    const client::Pieces pieces(&piece, 1);
    client::GetRequest request{.ns = session->ns,
                               .keys = {&key, 1},
                               .group = static_cast<uint8_t>(args.group),
                               .shard = static_cast<uint8_t>(args.shard),
                               .targets = {&pieces, 1}};
    outcome = session->client->Get(request, client::DeadlineIn(timeout_ms), std::span(result, 1));
    if (result->reason != client::Reason::kWrongSize) break;
    bytes = result->value_bytes;
  }
  return outcome;
}

int Get(const Context& context, const KeyArgs& args, const std::string& output) {
  std::vector<std::string> keys;
  if (!ParseKeys(args, &keys)) return kUsage;
  Session session;
  if (Answer answer = session.Open(context); !answer.ok()) {
    return Fail("get", answer.code, answer.message, context);
  }
  if (!CheckPlace("get", session, args)) return kUsage;
  std::string value;
  client::GetResult result;
  const client::Outcome outcome =
      GetValue(&session, keys[0], args, context.timeout_ms, &value, &result);
  if (!outcome.ok()) return FailOutcome("get", outcome, context);
  const bool hit = result.reason == client::Reason::kOk;
  if (context.json) {
    PrintJson({{"key", Printable(keys[0])},
               {"hit", hit},
               {"reason", std::string(client::ReasonName(result.reason))},
               {"tier", TierName(result.tier)},
               {"value_bytes", hit ? value.size() : 0},
               {"crc32c", result.crc32c}});
  }
  if (!hit) {
    if (!context.json) {
      std::fprintf(stderr, "miss: %s (`kvgate explain` says more)\n",
                   std::string(client::ReasonName(result.reason)).c_str());
    }
    return kAbsent;
  }
  if (!output.empty()) {
    std::ofstream file(output, std::ios::binary);
    file.write(value.data(), static_cast<std::streamsize>(value.size()));
    if (!file.flush()) {
      std::fprintf(stderr, "kvgate get: cannot write %s\n", output.c_str());
      return kRefused;
    }
  } else if (!context.json) {
    std::fwrite(value.data(), 1, value.size(), stdout);
    if (isatty(STDOUT_FILENO) == 1 && value.back() != '\n') std::putchar('\n');
  }
  return kDone;
}

bool ReadValue(const std::string& file, const std::string& text, std::string* value) {
  if (file.empty()) {
    *value = text;
    return true;
  }
  if (file == "-") {
    value->assign(std::istreambuf_iterator<char>(std::cin), {});
    return true;
  }
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    std::fprintf(stderr, "kvgate set: cannot read the file %s (--value gives the value as text)\n",
                 file.c_str());
    return false;
  }
  value->assign(std::istreambuf_iterator<char>(in), {});
  return true;
}

struct SetArgs {
  std::string file, text;
  bool overwrite = false;
  double ttl_s = 0;
};

int Set(const Context& context, const KeyArgs& args, const SetArgs& set) {
  std::vector<std::string> keys;
  std::string value;
  if (!ParseKeys(args, &keys) || !ReadValue(set.file, set.text, &value)) return kUsage;
  if (value.empty()) {
    std::fputs(
        "kvgate set: no value: name a FILE, - for stdin, or give --value TEXT; it has at "
        "least one byte\n",
        stderr);
    return kUsage;
  }
  Session session;
  if (Answer answer = session.Open(context); !answer.ok()) {
    return Fail("set", answer.code, answer.message, context);
  }
  if (!CheckPlace("set", session, args)) return kUsage;
  const std::span<const std::byte> piece(reinterpret_cast<const std::byte*>(value.data()),
                                         value.size());
  const client::SetEntry entry{.key = keys[0],
                               .value = {&piece, 1},
                               .producer_crc = std::nullopt,
                               .ttl_ms = static_cast<uint32_t>(set.ttl_s * 1000)};
  client::SetRequest request{.ns = session.ns,
                             .entries = {&entry, 1},
                             .mode = static_cast<uint8_t>(set.overwrite ? 2 : 1),
                             .group = static_cast<uint8_t>(args.group),
                             .shard = static_cast<uint8_t>(args.shard)};
  client::SetResult result;
  const client::Outcome outcome =
      session.client->Set(request, client::DeadlineIn(context.timeout_ms), std::span(&result, 1));
  if (!outcome.ok()) return FailOutcome("set", outcome, context);
  const std::string reason(client::ReasonName(result.reason));
  const bool held = result.reason == client::Reason::kAlreadyHeld;
  if (context.json) {
    PrintJson({{"key", Printable(keys[0])}, {"result", reason}, {"value_bytes", value.size()}});
  } else {
    std::printf("%s%s\n", reason.c_str(),
                held ? ": a value is there already; --overwrite replaces it" : "");
  }
  return result.reason == client::Reason::kOk || held ? kDone : kRefused;
}

int Del(const Context& context, const KeyArgs& args) {
  std::vector<std::string> keys;
  if (!ParseKeys(args, &keys)) return kUsage;
  Session session;
  if (Answer answer = session.Open(context); !answer.ok()) {
    return Fail("del", answer.code, answer.message, context);
  }
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  const auto found = std::make_unique<bool[]>(keys.size());
  const client::Outcome outcome =
      session.client->Delete({.ns = session.ns, .keys = views},
                             client::DeadlineIn(context.timeout_ms), {found.get(), keys.size()});
  if (!outcome.ok()) return FailOutcome("del", outcome, context);
  size_t deleted = 0;
  for (size_t i = 0; i < keys.size(); ++i) deleted += found[i] ? 1 : 0;
  if (context.json) {
    PrintJson({{"deleted", deleted}, {"asked", keys.size()}});
  } else {
    std::printf("%zu of %zu deleted\n", deleted, keys.size());
  }
  return deleted > 0 ? kDone : kAbsent;
}

int Lookup(const Context& context, const KeyArgs& args) {
  std::vector<std::string> keys;
  if (!ParseKeys(args, &keys)) return kUsage;
  Session session;
  if (Answer answer = session.Open(context); !answer.ok()) {
    return Fail("lookup", answer.code, answer.message, context);
  }
  if (!CheckPlace("lookup", session, args)) return kUsage;
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  const client::GroupQuery query{
      .group = args.group,
      .keys = views,
      .match = 1,
      .block_tokens = args.group < session.identity.groups.size()
                          ? session.identity.groups[args.group].block_tokens
                          : 0};
  client::LookupReply reply;
  const client::Outcome outcome = session.client->Lookup(
      {.ns = session.ns, .queries = {&query, 1}}, client::DeadlineIn(context.timeout_ms), &reply);
  if (!outcome.ok()) return FailOutcome("lookup", outcome, context);
  const uint32_t held = reply.groups.empty() ? 0 : reply.groups[0].held;
  nlohmann::json runs = nlohmann::json::array();
  for (const client::HeldRun& run :
       reply.groups.empty() ? std::vector<client::HeldRun>{} : reply.groups[0].runs) {
    runs.push_back(
        {{"count", run.count}, {"tier", TierName(run.tier)}, {"value_bytes", run.value_bytes}});
  }
  if (context.json) {
    PrintJson({{"keys", keys.size()},
               {"held", held},
               {"runs", runs},
               {"predicted_load_ms", reply.predicted_load_ms}});
  } else {
    std::printf("%u of %zu keys are held, in a row from the first (load: %.2f ms)\n", held,
                keys.size(), reply.predicted_load_ms);
    for (const auto& run : runs) {
      std::printf("  %u x %s in %s\n", run["count"].get<uint32_t>(),
                  Size(run["value_bytes"].get<double>()).c_str(),
                  run["tier"].get<std::string>().c_str());
    }
  }
  return held > 0 ? kDone : kAbsent;
}

CLI::App* AddKeyed(CLI::App* app, const std::string& name, const std::string& help,
                   const std::shared_ptr<KeyArgs>& args) {
  CLI::App* command = app->add_subcommand(name, help);
  if (!args->one) {
    command->add_option("KEYS", args->texts, "the keys, in the order of their chain")->required();
  } else {
    command->add_option("KEY", args->text, "the key")->required();
  }
  command->add_flag("--hex", args->hex, "keys are given in hex");
  return command;
}

void AddGroup(CLI::App* command, const std::shared_ptr<KeyArgs>& args) {
  command->add_option("--group", args->group, "KV-cache group; default 0")->check(CLI::Range(255));
}

void AddShard(CLI::App* command, const std::shared_ptr<KeyArgs>& args) {
  command->add_option("--shard", args->shard, "shard; default 0")->check(CLI::Range(255));
}

}  // namespace

void AddDataCommands(CLI::App* app, Context* context, Run* run) {
  app->add_subcommand("ping", "does the gateway answer, and how fast")->callback([=] {
    *run = [=] { return Ping(*context); };
  });
  auto args = std::make_shared<KeyArgs>();
  auto output = std::make_shared<std::string>();
  CLI::App* get = AddKeyed(app, "get", "print a value", args);
  AddGroup(get, args);
  AddShard(get, args);
  get->add_option("-o,--output", *output, "write it to this file");
  get->callback([=] { *run = [=] { return Get(*context, *args, *output); }; });

  auto set_args = std::make_shared<SetArgs>();
  CLI::App* set = AddKeyed(app, "set", "store a value", args);
  AddGroup(set, args);
  AddShard(set, args);
  CLI::Option* file = set->add_option("FILE", set_args->file, "of the value; - is stdin");
  set->add_option("--value", set_args->text, "the value as text")->excludes(file);
  set->add_flag("--overwrite", set_args->overwrite, "replace a value that is there");
  set->add_option("--ttl-s", set_args->ttl_s, "seconds to live; default for ever")
      ->check(CLI::Range(0.001, 4e6));
  set->callback([=] { *run = [=] { return Set(*context, *args, *set_args); }; });

  auto chain = std::make_shared<KeyArgs>();
  chain->one = false;
  CLI::App* del = AddKeyed(app, "del", "delete keys, all groups and shards", chain);
  del->callback([=] { *run = [=] { return Del(*context, *chain); }; });
  CLI::App* lookup =
      AddKeyed(app, "lookup", "how much of a chain of keys is held, by all shards", chain);
  AddGroup(lookup, chain);
  lookup->callback([=] { *run = [=] { return Lookup(*context, *chain); }; });
}

}  // namespace kvgate::cli
