// SPDX-License-Identifier: Apache-2.0
#include "proto/wire/error_id.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "proto/wire/error_table.h"

namespace kvgate::wire {
namespace {

constexpr std::string_view kPrefix = "KVG";
constexpr size_t kIdChars = 6;

bool IsId(std::string_view text) {
  if (text.size() != kIdChars) return false;
  for (size_t i = 0; i < kPrefix.size(); ++i) {
    if (std::toupper(static_cast<unsigned char>(text[i])) != kPrefix[i]) return false;
  }
  return std::all_of(text.begin() + kPrefix.size(), text.end(),
                     [](unsigned char c) { return std::isdigit(c) != 0; });
}

bool EndsWithId(std::string_view text) {
  constexpr size_t kTailChars = kIdChars + 3;  // " [KVG101]"
  if (text.size() < kTailChars || text.back() != ']') return false;
  const std::string_view tail = text.substr(text.size() - kTailChars);
  return tail.substr(0, 2) == " [" && IsId(tail.substr(2, kIdChars));
}

std::string_view GroupName(uint16_t hundred) {
  constexpr std::string_view kNames[] = {
      "Start and configuration", "Requests", "Not now", "Data", "Clients", "The connector of vLLM"};
  return kNames[hundred - 1];
}

}  // namespace

std::span<const ErrorEntry> Errors() { return kErrorTable; }

std::string ErrorText(ErrorId id) {
  return std::string(kPrefix) + std::to_string(static_cast<uint16_t>(id));
}

const ErrorEntry* FindError(std::string_view text) {
  if (!IsId(text)) return nullptr;
  for (const ErrorEntry& entry : kErrorTable) {
    const std::string id = ErrorText(entry.id);
    if (text.substr(kPrefix.size()) == std::string_view(id).substr(kPrefix.size())) return &entry;
  }
  return nullptr;
}

std::string Tagged(ErrorId id, std::string text) {
  if (EndsWithId(text)) return text;
  return std::move(text) + " [" + ErrorText(id) + "]";
}

ErrorId ErrorOf(Code code) {
  switch (code) {
    case Code::kCancelled:
      return ErrorId::kCancelled;
    case Code::kInvalidArgument:
    case Code::kOutOfRange:
      return ErrorId::kBadField;
    case Code::kDeadlineExceeded:
      return ErrorId::kDeadline;
    case Code::kNotFound:
      return ErrorId::kNotFound;
    case Code::kPermissionDenied:
    case Code::kUnauthenticated:
      return ErrorId::kNotAllowed;
    case Code::kResourceExhausted:
      return ErrorId::kOverloaded;
    case Code::kFailedPrecondition:
      return ErrorId::kFeatureNotInEffect;
    case Code::kUnimplemented:
      return ErrorId::kUnknownCall;
    case Code::kUnavailable:
    case Code::kAborted:
      return ErrorId::kUnavailable;
    case Code::kDataLoss:
      return ErrorId::kDataLoss;
    case Code::kOk:
    case Code::kAlreadyExists:
    case Code::kUnknown:
    case Code::kInternal:
      return ErrorId::kInternal;
  }
  return ErrorId::kInternal;
}

std::string ErrorsMarkdown() {
  std::string page =
      "<!-- SPDX-License-Identifier: Apache-2.0 -->\n"
      "# Troubleshooting\n\n"
      "Messages of kvgate end with a number, `[KVG101]`, that names their kind. This page is what\n"
      "`kvgate errors --markdown` prints; `kvgate errors KVG101` prints one entry, and\n"
      "`kvgate doctor` looks at the host.\n";
  uint16_t group = 0;
  for (const ErrorEntry& entry : kErrorTable) {
    const auto hundred = static_cast<uint16_t>(static_cast<uint16_t>(entry.id) / 100);
    if (hundred != group) {
      group = hundred;
      page += "\n## " + std::string(GroupName(group)) + "\n";
    }
    page += "\n### " + ErrorText(entry.id) + " " + std::string(entry.name) + "\n\n" +
            std::string(entry.cause) + "\n\n**What to do**: " + std::string(entry.remedy) + "\n";
  }
  return page;
}

}  // namespace kvgate::wire
