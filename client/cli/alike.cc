// SPDX-License-Identifier: Apache-2.0
#include "client/cli/alike.h"

#include <algorithm>
#include <map>
#include <utility>

#include "proto/wire/identity.h"

namespace kvgate::cli {
namespace {

constexpr size_t kComparedMax = 64;
constexpr size_t kFieldsMax = 3;

struct Known {
  wire::Identity identity;
  bool known = false;
};

std::string FieldsOf(const Known& own, const std::vector<const Known*>& others) {
  if (!own.known) return "identity not opened since start";
  std::vector<std::string> fields;
  for (const Known* other : others) {
    if (other == &own || !other->known || fields.size() >= kFieldsMax) continue;
    std::string mine, theirs;
    const std::string field = wire::FirstDifference(own.identity, other->identity, &mine, &theirs);
    if (field.empty()) continue;
    const std::string text = field + "=" + (mine.empty() ? "\"\"" : mine);
    if (std::find(fields.begin(), fields.end(), text) == fields.end()) fields.push_back(text);
  }
  std::string out;
  for (const std::string& field : fields) out += (out.empty() ? "" : " ") + field;
  return out;
}

}  // namespace

std::vector<std::string> TellApart(const std::vector<v1::NamespaceStats>& namespaces) {
  std::vector<Known> known(namespaces.size());
  std::map<std::pair<std::string, std::string>, std::vector<const Known*>> alike;
  for (size_t i = 0; i < namespaces.size(); ++i) {
    std::string error;
    known[i].known = wire::DecodeIdentity(namespaces[i].identity(), &known[i].identity, &error);
    auto& group = alike[{namespaces[i].tenant(), namespaces[i].model()}];
    if (group.size() <= kComparedMax) group.push_back(&known[i]);
  }
  std::vector<std::string> out;
  for (size_t i = 0; i < namespaces.size(); ++i) {
    const auto& group = alike[{namespaces[i].tenant(), namespaces[i].model()}];
    out.push_back(group.size() < 2 ? "" : FieldsOf(known[i], group));
  }
  return out;
}

}  // namespace kvgate::cli
