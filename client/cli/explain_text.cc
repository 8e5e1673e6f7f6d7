// SPDX-License-Identifier: Apache-2.0
#include "client/cli/explain_text.h"

#include <set>

#include "client/cli/context.h"

namespace kvgate::cli {
namespace {

struct Words {
  const char* reason;
  const char* what;
  const char* remedy;
};

Words WordsOf(v1::Departure departure) {
  switch (departure) {
    case v1::DEPARTURE_EVICTED:
      return {"evicted", "was evicted from memory and had no place on disk",
              "give the memory tier more (--memory), or set without VOLATILE; "
              "`kvgate stats --filter set_granted` shows how often the disk could not keep up"};
    case v1::DEPARTURE_RECLAIMED:
      return {"reclaimed", "left with its segment of the log, the oldest one",
              "the disk tier is too small for what is wanted again: give it more (--disk)"};
    case v1::DEPARTURE_EXPIRED:
      return {"expired", "its time to live ended", "set it with a longer one, or with none"};
    case v1::DEPARTURE_DELETED:
      return {"deleted", "was deleted by a client", "nothing is wrong"};
    case v1::DEPARTURE_CORRUPT:
      return {"corrupt", "its bytes on disk did not match their checksum, and it was dropped",
              "look at the device (smartctl, dmesg) and at `kvgate stats --filter corrupt`"};
    case v1::DEPARTURE_REFUSED:
      return {"refused", "was not stored: no space, too large for the disk, or not admitted",
              "`kvgate stats --filter set_` says which"};
    case v1::DEPARTURE_LATE:
      return {"late", "was read from disk, but after the deadline of a Get",
              "the disk is slower than the client waits: `kvgate top`, or longer deadlines"};
    default:
      return {"unknown", "left for a reason that this version does not know", "update the CLI"};
  }
}

std::string Where(const v1::NamespaceExplanation& ns) {
  std::string out = Hex(ns.identity_digest()).substr(0, 12) + " (tenant " + ns.tenant();
  if (!ns.model().empty()) out += ", model " + ns.model();
  if (!ns.alias().empty()) out += ", alias " + ns.alias();
  return out + ")";
}

std::string PlaceOf(uint32_t group, uint32_t shard) {
  return "group " + std::to_string(group) + " shard " + std::to_string(shard);
}

// What of one namespace is asked about, and where else the key is known.
struct Picked {
  std::vector<const v1::HeldBlock*> held;
  std::vector<const v1::DepartureEvent*> events;
  std::set<std::string> elsewhere;
};

Picked Pick(const v1::NamespaceExplanation& ns, const Only& only) {
  Picked out;
  const auto asked = [&](const auto& one) {
    const bool wanted = only.group.value_or(one.group()) == one.group() &&
                        only.shard.value_or(one.shard()) == one.shard();
    if (!wanted) out.elsewhere.insert(PlaceOf(one.group(), one.shard()));
    return wanted;
  };
  for (const v1::HeldBlock& block : ns.held()) {
    if (asked(block)) out.held.push_back(&block);
  }
  for (const v1::DepartureEvent& event : ns.events()) {
    if (asked(event)) out.events.push_back(&event);
  }
  return out;
}

std::string HeldLine(const v1::HeldBlock& block) {
  std::string line = "  held: " + PlaceOf(block.group(), block.shard()) + ", " +
                     Size(static_cast<double>(block.value_bytes())) + ", ";
  line += block.in_memory() ? block.on_disk() ? "in memory and on disk" : "in memory only"
                            : "on disk only";
  line += ", depth " + std::to_string(block.depth());
  if (block.expires_in_s() != 0) {
    line += ", expires in " + std::to_string(block.expires_in_s()) + " s";
  }
  return line;
}

void AddNamespace(const v1::NamespaceExplanation& ns, const Only& only, const std::string& apart,
                  Explained* out) {
  const Picked picked = Pick(ns, only);
  out->lines.push_back("namespace " + Where(ns) + (apart.empty() ? "" : " " + apart) + ":");
  for (const v1::HeldBlock* block : picked.held) {
    out->held = true;
    out->reason = "held";
    out->lines.push_back(HeldLine(*block));
  }
  for (const v1::DepartureEvent* event : picked.events) {
    const Words words = WordsOf(event->departure());
    const bool newest = event == picked.events.front();
    if (newest && out->reason.empty()) out->reason = words.reason;
    out->lines.push_back("  " + When(event->at_unix_ms()) + " (" + Ago(event->at_unix_ms()) +
                         "): " + words.what);
    if (newest) out->lines.push_back(std::string("    to do: ") + words.remedy);
  }
  if (picked.held.empty() && picked.events.empty() && !picked.elsewhere.empty()) {
    out->lines.push_back("  nothing known of what was asked; of this key there is: " +
                         Joined({picked.elsewhere.begin(), picked.elsewhere.end()}));
  }
  for (const v1::ElsewhereHeld& there : ns.elsewhere()) {
    if (!out->held && picked.events.empty()) out->reason = "other_identity";
    out->lines.push_back(
        "  held under another identity, " + Hex(there.identity_digest()).substr(0, 12) +
        (there.alias().empty() ? "" : " (alias " + there.alias() + ")") + ": " + there.field() +
        " is \"" + there.here() + "\" here and \"" + there.there() + "\" there");
    out->lines.push_back("    to do: run both engines with the same " + there.field() +
                         ", if their KV is meant to be the same");
  }
}

}  // namespace

Explained ExplainText(std::string_view key, const v1::ExplainResponse& response, const Only& only,
                      const std::map<std::string, std::string>& apart) {
  Explained out;
  out.lines.push_back("key " + Printable(key));
  for (const v1::NamespaceExplanation& ns : response.namespaces()) {
    const auto told = apart.find(ns.identity_digest());
    AddNamespace(ns, only, told == apart.end() ? "" : told->second, &out);
  }
  if (out.reason.empty()) {
    out.reason = "never_stored";
    out.lines.push_back("  never stored here since " + When(response.remembered_since_unix_ms()) +
                        " (what left before that is forgotten)");
    out.lines.push_back(
        "    to do: `kvgate stats --namespaces` shows what engines store and ask for");
  }
  return out;
}

}  // namespace kvgate::cli
