// SPDX-License-Identifier: Apache-2.0
#include "gateway/core/tokens.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gateway/core/text.h"
#include "proto/wire/error_id.h"

namespace kvgate::gateway {
namespace {

constexpr mode_t kModeMax = 0640;
constexpr double kPromptRefusals = 8;  // of a peer, one more a second
constexpr absl::Duration kPause = absl::Seconds(1);
constexpr size_t kPeersMax = 1024;

// Plain SHA-256.
wire::IdentityDigest DigestOf(std::string_view token) { return wire::DigestIdentity(token); }

// Takes the same time wherever the first difference is.
bool Equal(const wire::IdentityDigest& a, const wire::IdentityDigest& b) {
  unsigned differs = 0;
  for (size_t i = 0; i < a.size(); ++i) differs |= static_cast<unsigned>(a[i] ^ b[i]);
  return differs == 0;
}

absl::Status Refuse(const std::string& path, const std::string& what) {
  return absl::FailedPreconditionError(
      wire::Tagged(wire::ErrorId::kBadSetting, absl::StrCat("tokens_file ", path, ": ", what)));
}

absl::Status CheckFile(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return Refuse(path, absl::StrCat(std::strerror(errno), "; make it, or name another"));
  }
  if (!S_ISREG(info.st_mode)) return Refuse(path, "is not a file; name one");
  if (info.st_uid != geteuid() && info.st_uid != 0) {
    return Refuse(path, absl::StrCat("belongs to uid ", info.st_uid, ", must be root's or uid ",
                                     geteuid(), "'s, as which this daemon runs; chown it"));
  }
  const mode_t mode = info.st_mode & 07777;
  if ((mode & ~kModeMax) == 0) return absl::OkStatus();
  return Refuse(path, absl::StrFormat("has mode %04o, others must not read it; chmod 0600 it, or "
                                      "0640 for the daemon's group",
                                      mode));
}

bool Printable(absl::string_view token) {
  return std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokens>> Tokens::Load(const std::string& path,
                                                     const std::vector<std::string>& tenants) {
  std::unique_ptr<Tokens> tokens(new Tokens(path, tenants));
  if (absl::Status status = tokens->Reload(); !status.ok()) return status;
  return tokens;
}

absl::Status Tokens::Reload() {
  absl::StatusOr<std::vector<Shown>> read = Read();
  if (!read.ok()) {
    reload_failures_.fetch_add(1, std::memory_order_relaxed);
    return read.status();
  }
  absl::MutexLock lock(&mu_);
  known_ = *std::move(read);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Tokens::Shown>> Tokens::Read() const {
  if (absl::Status status = CheckFile(path_); !status.ok()) return status;
  std::ifstream file(path_);
  if (!file) return Refuse(path_, "cannot be read; let the daemon's account read it");
  std::vector<Shown> known;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    const auto wrong = [&](const std::string& what) {
      return absl::InvalidArgumentError(
          wire::Tagged(wire::ErrorId::kBadSetting,
                       absl::StrCat("tokens_file ", path_, ": line ", number, ": ", what)));
    };
    line.resize(std::min(line.find('#'), line.size()));
    const std::vector<std::string> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty()) continue;
    if (words.size() != 2) {
      return wrong(absl::StrCat(words.size(), " words; a tenant and a token are wanted"));
    }
    if (std::find(tenants_.begin(), tenants_.end(), words[0]) == tenants_.end()) {
      return wrong(absl::StrCat("tenant \"", words[0], "\" has no door here; there are ",
                                absl::StrJoin(tenants_, ", ")));
    }
    if (words[1].size() < kTokenBytesMin || words[1].size() > kTokenBytesMax ||
        !Printable(words[1])) {
      return wrong(absl::StrCat("a token of ", words[1].size(), " bytes; ", kTokenBytesMin, " to ",
                                kTokenBytesMax, " printable characters are wanted"));
    }
    Shown shown{words[0], DigestOf(words[1])};
    for (const Shown& other : known) {
      if (Equal(other.digest, shown.digest)) return wrong("a token that stands above already");
    }
    if (known.size() >= kTokensMax)
      return wrong(absl::StrCat("token ", kTokensMax + 1, ", at most ", kTokensMax));
    known.push_back(std::move(shown));
  }
  if (file.bad()) return Refuse(path_, "could not be read to its end");
  if (known.empty()) return Refuse(path_, "has no tokens, and nobody could come in; add some");
  return known;
}

absl::StatusOr<Tokens::Shown> Tokens::Admit(std::string_view token, std::string_view tenant,
                                            std::string_view wanted) const {
  const std::string whose =
      tenant.empty() ? "of a tenant" : absl::StrCat("of tenant \"", Sv(tenant), "\"");
  if (token.empty()) {
    missing_.fetch_add(1, std::memory_order_relaxed);
    return absl::UnauthenticatedError(
        absl::StrCat("token: none; this door wants one ", whose, ": ", Sv(wanted)));
  }
  const wire::IdentityDigest digest = DigestOf(token);
  Shown shown;
  {
    absl::ReaderMutexLock lock(&mu_);
    for (const Shown& known : known_) {
      if (Equal(known.digest, digest)) shown = known;
    }
  }
  if (!shown.tenant.empty() && (tenant.empty() || Sv(tenant) == shown.tenant)) return shown;
  wrong_.fetch_add(1, std::memory_order_relaxed);
  return absl::UnauthenticatedError(
      absl::StrCat("token: not one ", whose, " that is valid now; this door wants ", Sv(wanted)));
}

bool Tokens::Stands(const Shown& shown) const {
  absl::ReaderMutexLock lock(&mu_);
  return std::any_of(known_.begin(), known_.end(), [&](const Shown& known) {
    return known.tenant == shown.tenant && Equal(known.digest, shown.digest);
  });
}

absl::Duration Tokens::Pause(const std::string& peer, absl::Time now) {
  absl::MutexLock lock(&mu_);
  if (refusals_.size() >= kPeersMax && !refusals_.contains(peer)) refusals_.clear();
  const auto [entry, fresh] = refusals_.try_emplace(peer, Refusals{kPromptRefusals, now});
  Refusals& own = entry->second;
  const double earned = std::max(0.0, absl::ToDoubleSeconds(now - own.at));
  own.left = std::min(kPromptRefusals, own.left + earned);
  own.at = now;
  if (own.left >= 1) {
    own.left -= 1;
    return absl::ZeroDuration();
  }
  paused_.fetch_add(1, std::memory_order_relaxed);
  return kPause;
}

void Tokens::VisitCounters(const std::function<void(std::string_view, double)>& visitor) const {
  size_t known = 0;
  {
    absl::ReaderMutexLock lock(&mu_);
    known = known_.size();
  }
  const auto add = [&visitor](const char* name, uint64_t value) {
    visitor(name, static_cast<double>(value));
  };
  add("door_tokens", known);
  add("door_tokens_missing_total", missing_.load(std::memory_order_relaxed));
  add("door_tokens_wrong_total", wrong_.load(std::memory_order_relaxed));
  add("door_refusals_paused_total", paused_.load(std::memory_order_relaxed));
  add("door_tokens_reload_failures_total", reload_failures_.load(std::memory_order_relaxed));
}

}  // namespace kvgate::gateway
