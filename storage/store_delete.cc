// SPDX-License-Identifier: Apache-2.0
//
// Delete: gone for every call that starts from now on; answered when the tombstones are as durable
// as was asked, because only then it stays gone after a crash. A tombstone is logged whether or not
// the index knows the key: a log may hold more than an index.
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/wire/error_id.h"
#include "storage/store_append.h"
#include "storage/store_checks.h"
#include "storage/store_impl.h"

namespace kvgate::storage {
namespace {

class DeleteCall final : public WaitingCall {
 public:
  DeleteCall(DeleteDone done, size_t keys) : done_(std::move(done)), found_(keys) {}

  void OnLoaded(uint32_t, GetState, const BlockRef&) override {}
  void OnAppended(uint32_t, const absl::Status& status) override {
    if (failure_.ok()) failure_ = status;
  }
  std::function<void()> Finish() override {
    absl::StatusOr<std::vector<bool>> answer = std::move(found_);
    if (!failure_.ok()) {
      answer = absl::Status(failure_.code(),
                            absl::StrCat("deleted here, but not durably: ", failure_.message()));
    } else if (pending > 0) {
      answer = absl::DeadlineExceededError(
          wire::Tagged(wire::ErrorId::kNotDurable, "deleted here, but not durably by answer_by"));
    }
    return [done = std::move(done_), answer = std::move(answer)]() mutable {
      done(std::move(answer));
    };
  }

  void SetFound(size_t i) { found_[i] = true; }

 private:
  DeleteDone done_;
  std::vector<bool> found_;
  absl::Status failure_;
};

}  // namespace

void StoreImpl::Delete(const DeleteRequest& request, DeleteDone done) {
  auto ns = FindNamespace(request.ns);
  if (!ns.ok()) return done(ns.status());
  for (const absl::Status& status :
       {CheckKeys(request.keys, wire::kKeysMax), CheckGroup(**ns, request.group.value_or(0)),
        CheckShard(**ns, request.shard.value_or(0))}) {
    if (!status.ok()) return done(status);
  }
  if (absl::Status status = EnterCall(); !status.ok()) return done(status);
  std::vector<wire::Hash128> hashes;
  for (const std::string_view key : request.keys) {
    hashes.push_back(wire::HashKey(secret_, (*ns)->info.ns_digest, key));
  }
  auto call = std::make_shared<DeleteCall>(std::move(done), hashes.size());
  call->answer_by = request.answer_by;
  Deferred deferred;
  absl::MutexLock lock(&mu_);
  for (size_t i = 0; i < hashes.size(); ++i) {
    Count(counters_.deletes_total);
    if (DeleteOne(**ns, request, request.keys[i], hashes[i], call, &deferred)) call->SetFound(i);
  }
  Await(call, &deferred);
}

bool StoreImpl::DeleteOne(const Namespace& ns, const DeleteRequest& request, std::string_view key,
                          const wire::Hash128& hash, const std::shared_ptr<WaitingCall>& call,
                          Deferred* deferred) {
  bool found = false;
  for (const IndexEntry& entry : index_->Siblings(request.ns, hash)) {
    if (request.group && entry.id.group != *request.group) continue;
    if (request.shard && entry.id.shard != *request.shard) continue;
    found = found || Live(entry);
    Departed(entry.id, Departure::kDeleted);
    RemoveEntry(entry);
  }
  RecordMeta tombstone;
  tombstone.type = RecordType::kTombstone;
  tombstone.ns = request.ns;
  tombstone.hash = hash;
  tombstone.version = next_version_++;
  if (log_ == nullptr) return found;
  const bool wait =
      request.durability != Durability::kVolatile && request.durability != Durability::kBuffered;
  const bool device = request.durability == Durability::kDevice;
  const auto queue = [&] {
    mu_.AssertHeld();
    if (merge_ != nullptr) merge_->AddTombstone(tombstone);
    QueueTombstone(tombstone, std::string(key), device, wait ? call : nullptr, 0, deferred);
  };
  if (!request.group && !request.shard) {
    tombstone.all_siblings = true;
    queue();
    return found;
  }
  // One of the two is named: a record for each member of the other.
  const uint32_t groups = request.group ? 1 : ns.groups();
  const uint32_t shards = request.shard ? 1 : ns.shards;
  for (uint32_t group = 0; group < groups; ++group) {
    for (uint32_t shard = 0; shard < shards; ++shard) {
      tombstone.group = request.group.value_or(static_cast<uint8_t>(group));
      tombstone.shard = request.shard.value_or(static_cast<uint8_t>(shard));
      queue();
    }
  }
  return found;
}

}  // namespace kvgate::storage
