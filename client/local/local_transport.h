// SPDX-License-Identifier: Apache-2.0
//
// LocalTransport: Transport over the local door (gateway/local/protocol.h).
//
// A Get asks for places, copies from the pool (or the copied-out region) into the caller's pieces
// in the calling thread, reads each value's generation again and gives the lease back. A Set fills
// staging (values that lie there already are not copied), states a CRC32C of every value, and
// commits; the daemon compares it while it copies, so that staging which changes meanwhile is
// refused and never stored.
// Threads: thread-safe. Errors: as transport.h; nothing is retried here.
// Limits: staging as granted by the daemon, which a Set asks for more when its values find no room;
// what does not fit then answers kOverloaded.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "client/core/mutex.h"
#include "client/local/channel.h"
#include "client/local/pool_view.h"
#include "client/local/staging_arena.h"
#include "client/transport.h"

namespace kvgate::client {

// Points where a test looks in.
struct LocalHooks {
  std::function<void()> before_copy;  // a Get has its lease, nothing is copied yet
  std::function<void()> after_copy;   // copied, the generation is not read yet
};

struct CopyCounters {
  std::atomic<uint64_t> copied_bytes{0}, copied_values{0}, staged_bytes{0};
};

class LocalTransport final : public Transport {
 public:
  // As ConnectLocal.
  static std::unique_ptr<LocalTransport> Connect(const Options& options, Deadline deadline,
                                                 const LocalHooks& hooks, Outcome* outcome);
  ~LocalTransport() override;

  const char* name() const override { return "local"; }
  bool broken() const override { return channel_->broken(); }
  uint64_t incarnation() const override { return incarnation_; }

  Outcome Open(const OpenRequest& request, Deadline deadline, OpenReply* reply) override;
  Outcome Lookup(const LookupRequest& request, Deadline deadline, LookupReply* reply) override;
  Outcome Get(const GetRequest& request, Deadline deadline, std::span<const uint8_t> verify,
              std::span<GetResult> results) override;
  Outcome Set(const SetRequest& request, Deadline deadline, std::span<SetResult> results) override;
  Outcome Offer(const OfferRequest& request, Deadline deadline, OfferReply* reply) override;
  Outcome Delete(const DeleteRequest& request, Deadline deadline, std::span<bool> found) override;
  Outcome Touch(uint64_t ns, std::string_view last_key, uint8_t group, const Hints& hints,
                Deadline deadline) override;
  Outcome Pin(uint64_t ns, uint64_t token, uint32_t pin_ms, Deadline deadline,
              uint32_t* granted_ms) override;
  Outcome Unpin(uint64_t ns, uint64_t token, Deadline deadline) override;
  Outcome Ping(Deadline deadline) override;

  std::byte* AllocStaging(size_t bytes) override;
  bool OwnsStaging(const std::byte* memory) const override { return arena_->Contains(memory); }
  void FreeStaging(std::byte* memory) override { arena_->FreeOwned(memory); }
  void Retire() override;

  const Channel& channel() const { return *channel_; }
  const CopyCounters& copies() const { return copies_; }
  const StagingArena& arena() const { return *arena_; }
  uint64_t growths_asked() const { return growths_asked_.load(std::memory_order_relaxed); }

 private:
  friend class LocalGet;
  friend class LocalSet;

  LocalTransport(std::unique_ptr<Channel> channel, std::shared_ptr<StagingArena> arena,
                 std::shared_ptr<PoolView> pool, const local::HelloOk& hello,
                 const LocalHooks& hooks);

  // Staging that has no room for a value.
  struct Shortage {
    uint64_t seen = 0;         // arena_->bytes() when there was none
    uint64_t value_bytes = 0;  // the longest value of the call
    uint64_t needed = 0;       // the piece of memory that found no room
    uint64_t wanted = 0;       // with what comes behind it
    bool urgent = false;       // ask even though the daemon had none lately
  };
  // OK: staging grew (by us or by another call) and is worth another look. RESOURCE_EXHAUSTED: no
  // more is to be had now.
  Outcome GrowStaging(const Shortage& shortage, Deadline deadline);
  Outcome AskForStaging(const Shortage& shortage, Deadline deadline);
  // What AllocStaging could not give lately, asked for within a call that has a deadline.
  void GrowAsWished(uint64_t value_bytes, Deadline deadline);

  // One call whose request is `fixed` with a body. The body goes inline when it fits, else into
  // staging; `ref` is the BodyRef inside `fixed`. `held`: other parts that the request names.
  Outcome CallWithBody(local::Op op, void* fixed, size_t fixed_bytes, local::BodyRef* ref,
                       std::string_view body, Deadline deadline,
                       std::vector<StagingArena::Part> held, Reply* reply);
  template <typename Fixed>
  Outcome CallFixed(local::Op op, const Fixed& fixed, std::string_view tail, Deadline deadline,
                    Reply* reply);
  Outcome ProtocolError(std::string what);
  // The pool as long as the connection stands; null afterwards, when the last copy that uses it
  // unmaps it (staging may keep this object for long).
  std::shared_ptr<PoolView> pool();
  uint32_t RootGroupKeys(uint64_t ns, uint32_t group) const;  // 0 = unknown

  // Constant.
  const std::unique_ptr<Channel> channel_;
  const std::shared_ptr<StagingArena> arena_;
  const uint64_t incarnation_;
  const bool can_grow_;  // staging, by the version agreed on
  const LocalHooks hooks_;

  // Self-synchronised.
  CopyCounters copies_;
  std::atomic<uint64_t> wished_{0};  // bytes; 0: nothing
  std::atomic<uint64_t> growths_asked_{0};

  mutable Mutex mutex_;
  CondVar grown_;
  bool growing_ KVGATE_GUARDED_BY(mutex_) = false;
  int64_t grow_again_ns_ KVGATE_GUARDED_BY(mutex_) = 0;  // after a refusal
  std::shared_ptr<PoolView> pool_ KVGATE_GUARDED_BY(mutex_);
  std::unordered_map<uint64_t, std::vector<uint32_t>> root_group_keys_ KVGATE_GUARDED_BY(mutex_);
};

}  // namespace kvgate::client
