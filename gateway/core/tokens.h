// SPDX-License-Identifier: Apache-2.0
//
// Tokens: which token lets in whom: the operator's tokens_file, read at start and again by Reload.
//
// Lines `TENANT TOKEN`; '#' begins a comment; a tenant may have several, so that they can be
// changed one after the other. Promises: only SHA-256 digests of tokens are kept, and no text of an
// error holds one; a token is compared with all, whole, so that time tells nothing about them; a
// file that cannot be taken changes nothing. The file must be the daemon's or root's and closed to
// others (0640 at most). Threads: thread-safe; Load and Reload block on the file. Limits:
// kTokenBytesMin to kTokenBytesMax printable characters, kTokensMax lines.
// Errors: UNAUTHENTICATED says what is wanted; FAILED_PRECONDITION and INVALID_ARGUMENT name the
// file and the line.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/wire/identity_digest.h"

namespace kvgate::gateway {

inline constexpr size_t kTokenBytesMin = 16, kTokenBytesMax = 256;
inline constexpr size_t kTokensMax = 256;

class Tokens {
 public:
  // What a token that was shown stands for.
  struct Shown {
    std::string tenant;
    wire::IdentityDigest digest{};  // of the token
  };

  // `tenants` are those that have a door: a line of another one is a mistake.
  static absl::StatusOr<std::unique_ptr<Tokens>> Load(const std::string& path,
                                                      const std::vector<std::string>& tenants);
  absl::Status Reload();

  // `tenant` is that of the door; empty: the token decides. `wanted` says how a token is shown.
  absl::StatusOr<Shown> Admit(std::string_view token, std::string_view tenant,
                              std::string_view wanted) const;
  // Whether the file still has it.
  bool Stands(const Shown& shown) const;

  // How long the answer to one more refusal of `peer` is kept back: nothing for the first few, one
  // a second after that. Who shows a good token never waits.
  absl::Duration Pause(const std::string& peer, absl::Time now);

  void VisitCounters(const std::function<void(std::string_view, double)>& visitor) const;

 private:
  struct Refusals {
    double left = 0;
    absl::Time at;
  };

  Tokens(std::string path, std::vector<std::string> tenants)
      : path_(std::move(path)), tenants_(std::move(tenants)) {}
  absl::StatusOr<std::vector<Shown>> Read() const;

  const std::string path_;
  const std::vector<std::string> tenants_;

  // Self-synchronised.
  mutable std::atomic<uint64_t> missing_{0}, wrong_{0};
  std::atomic<uint64_t> reload_failures_{0}, paused_{0};

  mutable absl::Mutex mu_;
  std::vector<Shown> known_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, Refusals> refusals_ ABSL_GUARDED_BY(mu_);
};

}  // namespace kvgate::gateway
