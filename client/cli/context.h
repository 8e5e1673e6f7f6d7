// SPDX-License-Identifier: Apache-2.0
//
// What every command of the CLI `kvgate` shares: where the gateway is, how answers are printed, and
// what the exit status means. Owned by the main thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "client/client.h"
#include "nlohmann/json_fwd.hpp"
#include "proto/wire/status.h"

namespace kvgate::cli {

// Exit statuses, part of the interface.
enum Exit : int {
  kDone = 0,
  kAbsent = 1,       // a miss: the key, or what was asked about, is not there
  kUsage = 2,        // the command line is wrong
  kUnreachable = 3,  // no gateway answers
  kRefused = 4,      // it answered and refused, or something is wrong (doctor, bench)
};

struct Context {
  std::string run_dir;  // of the daemon: its sockets
  std::string tenant = "default";
  bool tenant_named = false;  // by --tenant
  std::string name_space;  // alias, model, or the first hex digits of an identity digest; "" = own
  std::string token_file;  // of a gateway that asks for tokens
  bool json = false;
  double timeout_ms = 2000;

  std::string AdminSocket() const { return run_dir + "/admin.sock"; }
  // The tenant "default" has the plain name.
  std::string LocalSocket() const { return TenantSocket("local"); }
  std::string GrpcSocket() const { return TenantSocket("grpc"); }
  std::string TenantSocket(const std::string& door) const;
  // Of what the operator asks about: the tenant that --tenant names, else "", all of them.
  std::string TenantAsked() const { return tenant_named ? tenant : ""; }
  std::vector<std::string> TenantsWithDoor() const;  // sorted; by the sockets of the run directory
};

std::string OwnFolder();  // of this program

// The first of: `given`; `data_dir`/run; KVGATE_RUN_DIR; /run/kvgate. Never fails.
std::string FindRunDir(const std::string& given, const std::string& data_dir);

// Why nothing answers in the run directory, and what to do.
struct Away {
  std::string found, todo;
};
Away WhyAway(const Context& context);

// Prints to stderr what went wrong and, where there is one, what to do; answers the exit status.
int Fail(std::string_view what, wire::Code code, std::string_view message, const Context& context);

void PrintJson(const nlohmann::json& json);

// Text as it is when printable, else 0x and hex digits.
std::string Printable(std::string_view bytes);
std::string Hex(std::string_view bytes);
// A key given on the command line: text, or with `hex` pairs of hex digits; false when it is
// neither.
bool ParseKey(const std::string& text, bool hex, std::string* key);
std::string Joined(const std::vector<std::string>& words);  // "a, b"; "none"
std::string Size(double bytes);                             // "1.5 MiB"
std::string Ago(uint64_t unix_ms);                          // "12 s ago", "3 h ago"
std::string When(uint64_t unix_ms);                         // local time, ISO 8601

}  // namespace kvgate::cli
