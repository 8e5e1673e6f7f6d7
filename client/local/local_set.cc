// SPDX-License-Identifier: Apache-2.0
#include "client/local/local_set.h"

#include <algorithm>

#include "client/core/batches.h"
#include "client/core/reasons.h"
#include "client/local/codec.h"
#include "proto/wire/checksum.h"
#include "proto/wire/key.h"

namespace kvgate::client {
namespace {

// After these the later keys of a chain are refused as well.
bool EndsChain(Reason reason) {
  return reason == Reason::kDataLoss || reason == Reason::kNotAdmitted;
}

}  // namespace

LocalSet::LocalSet(LocalTransport& transport, const SetRequest& request, Deadline deadline,
                   std::span<SetResult> results)
    : transport_(transport), request_(request), deadline_(deadline), results_(results) {}

Outcome LocalSet::Check() const {
  if (request_.entries.size() > wire::kKeysMax || request_.entries.size() != results_.size()) {
    return InvalidArgument("entries: " + std::to_string(request_.entries.size()) + " with " +
                           std::to_string(results_.size()) + " results, at most " +
                           std::to_string(wire::kKeysMax) + " are allowed");
  }
  if (request_.entries.empty()) return InvalidArgument("entries: the batch is empty");
  if (Outcome o = CheckKeyBytes(request_.parent, "parent"); !o.ok()) return o;
  if (Outcome o = CheckKeyBytes(request_.root, "root"); !o.ok()) return o;
  for (const SetEntry& entry : request_.entries) {
    if (Outcome o = CheckKeyBytes(entry.key, "entries.key"); !o.ok()) return o;
    const uint64_t bytes = ValueBytes(entry);
    if (bytes == 0 || bytes > wire::kValueBytesMax) {
      return InvalidArgument("entries.value: " + std::to_string(bytes) + " bytes, 1 to " +
                             std::to_string(wire::kValueBytesMax) + " are allowed");
    }
  }
  return {};
}

std::optional<LocalSet::Staged> LocalSet::Stage(const SetEntry& entry) {
  if (entry.value.size() == 1) {
    const std::span<const std::byte> piece = entry.value[0];
    if (std::optional<StagingArena::Part> part = transport_.arena_->HoldOf(piece)) {
      // What the caller does to it from here on is noticed by the daemon.
      const uint32_t crc =
          entry.producer_crc ? *entry.producer_crc : wire::Crc32c(0, piece.data(), piece.size());
      return Staged{*std::move(part), crc};
    }
  }
  std::optional<StagingArena::Part> part = transport_.arena_->AllocValue(ValueBytes(entry));
  if (!part) return std::nullopt;
  uint32_t crc = 0;
  std::byte* target = part->data();
  for (const std::span<const std::byte> piece : entry.value) {
    crc = wire::CopyCrc32c(crc, target, piece.data(), piece.size());
    target += piece.size();
  }
  transport_.copies_.staged_bytes.fetch_add(part->bytes(), std::memory_order_relaxed);
  return Staged{*std::move(part), entry.producer_crc.value_or(crc)};
}

std::optional<LocalSet::Staged> LocalSet::StageOrGrow(size_t index, bool urgent, Outcome* outcome) {
  while (outcome->ok()) {
    LocalTransport::Shortage shortage;
    shortage.seen = transport_.arena_->bytes();
    if (std::optional<Staged> staged = Stage(request_.entries[index])) return staged;
    shortage.needed = ValueBytes(request_.entries[index]);
    shortage.value_bytes = LongestValue();
    for (size_t i = index; i < request_.entries.size(); ++i) {
      shortage.wanted += ValueBytes(request_.entries[i]);
    }
    shortage.urgent = urgent;
    if (MonotonicNs() >= deadline_) {
      *outcome = Outcome{wire::Code::kDeadlineExceeded, false,
                         "the deadline passed while asking for staging memory"};
      break;
    }
    *outcome = transport_.GrowStaging(shortage, deadline_);
  }
  return std::nullopt;
}

uint64_t LocalSet::LongestValue() const {
  uint64_t longest = 0;
  for (const SetEntry& entry : request_.entries) longest = std::max(longest, ValueBytes(entry));
  return longest;
}

local::Commit LocalSet::FixedOf(size_t first, size_t count, std::string_view* parent,
                                std::string_view* root) const {
  const ChainPlace place = PlaceOf({request_.depth, request_.root}, static_cast<uint32_t>(first),
                                   transport_.RootGroupKeys(request_.ns, request_.group),
                                   [this](uint32_t i) { return request_.entries[i].key; });
  *parent = first == 0 ? request_.parent : request_.entries[first - 1].key;
  *root = place.root;
  local::Commit commit{};
  commit.ns = request_.ns;
  commit.producer = request_.producer;
  commit.ticket = request_.ticket;
  commit.count = static_cast<uint32_t>(count);
  commit.depth = place.depth;
  commit.group = request_.group;
  commit.shard = request_.shard;
  commit.mode = request_.mode;
  commit.durability = request_.durability;
  commit.parent_bytes = static_cast<uint16_t>(parent->size());
  commit.root_bytes = static_cast<uint16_t>(root->size());
  commit.hints = WireHints(request_.hints);
  return commit;
}

Outcome LocalSet::Send(size_t first, std::vector<Staged> staged) {
  std::string_view parent, root;
  local::Commit commit = FixedOf(first, staged.size(), &parent, &root);
  std::string body;
  for (size_t i = 0; i < staged.size(); ++i) {
    const SetEntry& entry = request_.entries[first + i];
    local::EntryWire wire_entry{};
    wire_entry.offset = staged[i].part.offset();
    wire_entry.value_bytes = staged[i].part.bytes();
    wire_entry.ttl_ms = entry.ttl_ms;
    wire_entry.has_producer_crc = 1;
    wire_entry.producer_crc = staged[i].crc32c;
    wire_entry.key_bytes = static_cast<uint16_t>(entry.key.size());
    body.append(StructBytes(wire_entry));
  }
  body.append(parent).append(root);
  std::vector<StagingArena::Part> held;
  for (size_t i = 0; i < staged.size(); ++i) {
    body.append(request_.entries[first + i].key);
    held.push_back(std::move(staged[i].part));
  }
  Reply reply;
  Outcome outcome = transport_.CallWithBody(local::Op::kCommit, &commit, sizeof(commit),
                                            &commit.body, body, deadline_, std::move(held), &reply);
  if (!outcome.ok()) return outcome;
  std::string_view rest = reply.rest();
  local::CommitOk ok;
  if (!TakeStruct(&rest, &ok) || ok.count != commit.count ||
      rest.size() != ok.count * sizeof(local::CommitResult)) {
    return transport_.ProtocolError("COMMIT");
  }
  for (uint32_t i = 0; i < ok.count; ++i) {
    local::CommitResult result;
    if (!TakeStruct(&rest, &result)) return transport_.ProtocolError("COMMIT");
    results_[first + i] = {ReasonOfSetState(result.state), result.durability};
  }
  return outcome;
}

Outcome LocalSet::CommitFrom(size_t first, size_t* next) {
  std::vector<Staged> staged;
  size_t i = first;
  for (; i < request_.entries.size(); ++i) {
    if (MonotonicNs() >= deadline_) {
      return Outcome{wire::Code::kDeadlineExceeded, first > 0,
                     "the deadline passed while filling staging memory"};
    }
    Outcome room;
    std::optional<Staged> one = StageOrGrow(i, staged.empty(), &room);
    if (!one && staged.empty()) {
      room.sent = first > 0;
      if (room.code == wire::Code::kResourceExhausted) {
        room.message = "no staging memory for a value of " +
                       std::to_string(ValueBytes(request_.entries[first])) +
                       " bytes: " + room.message;
      }
      return room;
    }
    if (!one) break;
    staged.push_back(*std::move(one));
  }
  *next = i;
  return Send(first, std::move(staged));
}

Outcome LocalSet::Run() {
  Outcome outcome = Check();
  if (outcome.ok()) transport_.GrowAsWished(LongestValue(), deadline_);
  size_t done = 0;
  bool ended = false;
  while (outcome.ok() && done < results_.size() && !ended) {
    size_t next = done;
    outcome = CommitFrom(done, &next);
    if (!outcome.ok()) break;
    for (; done < next; ++done) ended = ended || EndsChain(results_[done].reason);
  }
  const Reason rest = outcome.ok() ? Reason::kNotAdmitted : ReasonOf(outcome.code);
  for (size_t i = done; i < results_.size(); ++i) results_[i] = SetResult{.reason = rest};
  return outcome;
}

Outcome LocalTransport::Set(const SetRequest& request, Deadline deadline,
                            std::span<SetResult> results) {
  return LocalSet(*this, request, deadline, results).Run();
}

}  // namespace kvgate::client
