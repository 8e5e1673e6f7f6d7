// SPDX-License-Identifier: Apache-2.0
#include "gateway/local/data_calls.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "gateway/core/deadline.h"
#include "gateway/core/validate.h"
#include "proto/wire/checksum.h"
#include "proto/wire/error_id.h"

namespace kvgate::gateway {
namespace {

using storage::BlockRef;
using GetResults = std::vector<storage::GetResult>;

// Longer copies and checksums leave the thread that the store called back on.
constexpr uint64_t kInlineCopyBytesMax = 256 * 1024;
constexpr uint64_t kCopyOutAlignment = 64;

bool IsWhole(const local::Get& get) { return get.range_bytes == 0; }

// The bytes that were asked for: all, or the range; none when it ends beyond the value.
std::span<const std::byte> Wanted(const local::Get& get, const BlockRef& block) {
  const std::span<const std::byte> all = block.bytes();
  if (IsWhole(get)) return all;
  if (get.range_offset > all.size() || get.range_bytes > all.size() - get.range_offset) return {};
  return all.subspan(get.range_offset, get.range_bytes);
}

// Builds the answer of one GET.
class Answer {
 public:
  Answer(CallOf<GetCall>& call, size_t count)
      : call_(call),
        get_(call.asked.fixed),
        mapped_(call.state().store->pool_export() != nullptr),
        next_(get_.copy_out.offset),
        end_(get_.copy_out.offset + get_.copy_out.bytes) {
    places_.reserve(count);
  }

  void Add(const storage::GetResult& result) {
    local::PlaceWire place{};
    place.state = static_cast<uint8_t>(result.state);
    place.tier = static_cast<uint8_t>(result.tier);
    if (result.block) AddBytes(result.block, &place);
    places_.push_back(place);
  }

  void Send() {
    local::GetOk ok{};
    ok.count = static_cast<uint32_t>(places_.size());
    if (!leased_.empty()) {
      ok.lease = call_.session().Lease(std::move(leased_), charged_, call_.state().clock->Now());
      ok.lease_ms = call_.state().options.lease_ms;
    }
    call_.Reply(AsBytes(ok), {reinterpret_cast<const char*>(places_.data()),
                              places_.size() * sizeof(local::PlaceWire)});
  }

 private:
  void AddBytes(const BlockRef& block, local::PlaceWire* place) {
    const std::span<const std::byte> bytes = Wanted(get_, block);
    place->bytes = bytes.size();
    if (bytes.empty()) {
      place->state = static_cast<uint8_t>(storage::GetState::kMiss);
      return;
    }
    const bool lease = mapped_ && block.bytes().size() >= local::kLeaseValueBytesMin;
    // Once something did not fit, later values are not sent either: the leading ones are.
    no_room_ = no_room_ || !(lease ? Lend(block, bytes, place) : CopyOut(block, bytes, place));
    if (no_room_) {
      place->state = static_cast<uint8_t>(storage::GetState::kNotSent);
      place->flags = local::kPlaceNoRoom;
      return;
    }
    call_.AddBytesOut(bytes.size());
  }

  bool Lend(const BlockRef& block, std::span<const std::byte> bytes, local::PlaceWire* place) {
    if (!call_.session().ChargeLease(block.bytes().size())) return false;
    charged_ += block.bytes().size();
    leased_.push_back(block);
    const storage::PoolPlace at = block.place();
    place->extent = at.extent;
    place->offset = at.offset + (IsWhole(get_) ? 0 : get_.range_offset);
    place->generation_index = at.generation_index;
    place->generation = at.generation;
    place->crc32c = IsWhole(get_) ? block.value_crc() : wire::Crc32c(0, bytes.data(), bytes.size());
    call_.state().counters.leased_values.fetch_add(1, std::memory_order_relaxed);
    return true;
  }

  bool CopyOut(const BlockRef& block, std::span<const std::byte> bytes, local::PlaceWire* place) {
    const uint64_t at = (next_ + kCopyOutAlignment - 1) / kCopyOutAlignment * kCopyOutAlignment;
    if (at > end_ || bytes.size() > end_ - at) return false;
    std::byte* target = call_.session().staging().data() + at;
    if (IsWhole(get_)) {
      std::memcpy(target, bytes.data(), bytes.size());
      place->crc32c = block.value_crc();
    } else {
      // Over our own bytes: the client can write to the target.
      place->crc32c = wire::Crc32c(0, bytes.data(), bytes.size());
      std::memcpy(target, bytes.data(), bytes.size());
    }
    place->flags = local::kPlaceCopiedOut;
    place->offset = at;
    next_ = at + bytes.size();
    DoorCounters& counters = call_.state().counters;
    counters.copied_out_values.fetch_add(1, std::memory_order_relaxed);
    counters.copied_out_bytes.fetch_add(bytes.size(), std::memory_order_relaxed);
    return true;
  }

  CallOf<GetCall>& call_;
  const local::Get& get_;
  const bool mapped_;
  uint64_t next_;  // in staging
  const uint64_t end_;
  uint64_t charged_ = 0;
  bool no_room_ = false;
  std::vector<BlockRef> leased_;
  std::vector<local::PlaceWire> places_;
};

void AnswerGet(CallOf<GetCall>& call, const GetResults& results) {
  Answer answer(call, results.size());
  for (const storage::GetResult& result : results) answer.Add(result);
  answer.Send();
}

// Bytes that answering will touch here.
uint64_t TouchedBytes(const local::Get& get, const GetResults& results) {
  uint64_t bytes = 0;
  for (const storage::GetResult& result : results) {
    if (!result.block) continue;
    const bool lent = result.block.bytes().size() >= local::kLeaseValueBytesMin && IsWhole(get);
    if (!lent) bytes += Wanted(get, result.block).size();
  }
  return bytes;
}

void FinishGet(const std::shared_ptr<CallOf<GetCall>>& call, absl::StatusOr<GetResults> results) {
  call->StoreAnswered();
  if (!results.ok()) return call->Fail(results.status());
  call->RecordWait(FarthestTier(*results));
  if (TouchedBytes(call->asked.fixed, *results) <= kInlineCopyBytesMax) {
    return AnswerGet(*call, *results);
  }
  auto kept = std::make_shared<GetResults>(*std::move(results));
  if (!call->state().work->Post([call, kept] { AnswerGet(*call, *kept); })) {
    call->Fail(absl::UnavailableError(
        wire::Tagged(wire::ErrorId::kDraining, "draining: this gateway is stopping")));
  }
}

absl::StatusOr<storage::SetRequest> SetRequestOf(const CallOf<CommitCall>& call,
                                                 const OpenedNamespace& ns) {
  const local::Commit& fixed = call.asked.fixed;
  absl::StatusOr<storage::SetMode> mode = SetModeFromWire(fixed.mode);
  if (!mode.ok()) return mode.status();
  absl::StatusOr<storage::Durability> durability = SetDurabilityFromWire(fixed.durability, ns);
  if (!durability.ok()) return durability.status();

  storage::SetRequest request;
  request.ns = ns.id();
  const std::span<std::byte> staging = call.session().staging();
  request.items.reserve(call.asked.entries.size());
  for (size_t i = 0; i < call.asked.entries.size(); ++i) {
    const local::EntryWire& entry = call.asked.entries[i];
    storage::SetItem& item = request.items.emplace_back();
    item.key = call.asked.keys[i];
    item.value.push_back(staging.subspan(entry.offset, entry.value_bytes));
    if (entry.has_producer_crc != 0) item.producer_crc = entry.producer_crc;
    item.ttl_s = TtlSeconds(entry.ttl_ms);
  }
  request.mode = *mode;
  request.parent = call.asked.parent;
  request.root = call.asked.root;
  request.depth = fixed.depth;
  request.group = fixed.group;
  request.shard = fixed.shard;
  request.producer = fixed.producer != 0 ? fixed.producer : call.session().producer();
  request.ticket = fixed.ticket;
  request.durability = *durability;
  request.hints = {fixed.hints.prompt_tokens, fixed.hints.output_tokens, fixed.hints.turn,
                   fixed.hints.finished != 0};
  if (Telemetry* telemetry = call.state().telemetry; telemetry != nullptr) {
    telemetry->RecordHints(request.hints);
  }
  request.answer_by = EffectiveAnswerBy(call.arrival(), 0, call.deadline(), absl::ZeroDuration());
  return request;
}

void FinishCommit(CallOf<CommitCall>& call,
                  const absl::StatusOr<std::vector<storage::SetResult>>& results) {
  call.StoreAnswered();
  if (!results.ok()) return call.Fail(results.status());
  std::vector<local::CommitResult> wire_results;
  wire_results.reserve(results->size());
  DoorCounters& counters = call.state().counters;
  for (size_t i = 0; i < results->size(); ++i) {
    const storage::SetResult& result = (*results)[i];
    wire_results.push_back(
        {static_cast<uint8_t>(result.state), static_cast<uint8_t>(result.durability)});
    if (result.state != storage::SetState::kStored) continue;
    counters.committed_values.fetch_add(1, std::memory_order_relaxed);
    counters.committed_bytes.fetch_add(call.asked.entries[i].value_bytes,
                                       std::memory_order_relaxed);
  }
  const local::CommitOk ok{static_cast<uint32_t>(wire_results.size()), 0};
  call.Reply(AsBytes(ok), {reinterpret_cast<const char*>(wire_results.data()),
                           wire_results.size() * sizeof(local::CommitResult)});
}

// Groups, then each group's runs and bitmap, padded to 8.
std::string EncodeHeld(const storage::LookupResult& result) {
  std::string body;
  for (const storage::GroupHeld& held : result.groups) {
    const local::GroupWire group{held.group,
                                 held.first,
                                 held.held,
                                 static_cast<uint32_t>(held.runs.size()),
                                 static_cast<uint32_t>(held.bitmap.size()),
                                 0};
    body.append(AsBytes(group));
  }
  for (const storage::GroupHeld& held : result.groups) {
    for (const storage::HeldRun& run : held.runs) {
      const local::RunWire wire_run{run.count, static_cast<uint32_t>(run.tier), run.value_bytes};
      body.append(AsBytes(wire_run));
    }
    body.append(held.bitmap);
    body.resize((body.size() + 7) / 8 * 8, '\0');
  }
  return body;
}

void FinishLookup(CallOf<LookupCall>& call, storage::NamespaceId ns,
                  const absl::StatusOr<storage::LookupResult>& result) {
  call.StoreAnswered();
  if (!result.ok()) return call.Fail(result.status());
  const local::Lookup& fixed = call.asked.fixed;
  if (fixed.stage != 0) {
    call.RecordWait(call.store_read() ? storage::Tier::kDisk : storage::Tier::kMemory);
  }
  if (result->pin_token != 0) call.session().AddPin(ns, result->pin_token);
  const std::string body = EncodeHeld(*result);
  local::LookupOk ok{};
  ok.pin_token = result->pin_token;
  ok.predicted_load_ms = result->predicted_load_ms;
  ok.boundary_tokens = result->boundary_tokens;
  ok.pin_ms = result->pin_ms;
  ok.advice = AdviceFor(*result, fixed.first_wanted_tokens, fixed.recompute_ms_per_token);
  ok.groups = static_cast<uint32_t>(result->groups.size());
  ok.body_bytes = static_cast<uint32_t>(body.size());
  if (sizeof(local::MsgHeader) + sizeof(ok) + body.size() <= local::kMessageBytesMax) {
    return call.Reply(AsBytes(ok), body);
  }
  if (body.size() > fixed.answer.bytes) {
    return call.Fail(absl::ResourceExhaustedError(absl::StrCat(
        "lookup.answer: ", fixed.answer.bytes, " bytes of room, the answer has ", body.size())));
  }
  std::memcpy(call.session().staging().data() + fixed.answer.offset, body.data(), body.size());
  ok.body_in_region = 1;
  call.Reply(AsBytes(ok));
}

}  // namespace

void HandleGet(std::shared_ptr<CallOf<GetCall>> call) {
  const GetCall& asked = call->asked;
  const local::Get& fixed = asked.fixed;
  absl::StatusOr<NamespaceRef> ns =
      call->state().namespaces->Find(call->state().options.tenant, fixed.ns);
  if (!ns.ok()) return call->Fail(ns.status());

  GetArgs args;
  args.keys = asked.keys;
  if (fixed.pin_token != 0) {
    args.handle = storage::GetHandle{fixed.pin_token, fixed.first, fixed.count};
  }
  args.group = fixed.group;
  args.shard = fixed.shard;
  args.root = asked.root;
  args.depth = fixed.depth;
  args.range_offset = fixed.range_offset;
  args.range_bytes = fixed.range_bytes;
  if (absl::Status s = ValidateGet(**ns, args); !s.ok()) return call->Fail(s);

  storage::GetRequest request;
  request.ns = (*ns)->id();
  request.keys = asked.keys;
  request.handle = args.handle;
  request.group = fixed.group;
  request.shard = fixed.shard;
  request.prefix_only = fixed.prefix_only != 0;
  request.answer_by = EffectiveAnswerBy(call->arrival(), 0, call->deadline(), absl::ZeroDuration());
  call->StoreAsked();
  call->state().store->Get(
      request, [call](absl::StatusOr<GetResults> results) { FinishGet(call, std::move(results)); });
}

void HandleCommit(std::shared_ptr<CallOf<CommitCall>> call) {
  const local::Commit& fixed = call->asked.fixed;
  absl::StatusOr<NamespaceRef> ns =
      call->state().namespaces->Find(call->state().options.tenant, fixed.ns);
  if (!ns.ok()) return call->Fail(ns.status());
  absl::StatusOr<storage::SetRequest> request = SetRequestOf(*call, **ns);
  if (!request.ok()) return call->Fail(request.status());

  SetArgs args;
  args.items = request->items;
  args.parent = request->parent;
  args.root = request->root;
  args.depth = request->depth;
  args.group = request->group;
  args.shard = request->shard;
  args.payload_bytes_max = kNoPayloadLimit;
  if (absl::Status s = ValidateSet(**ns, args); !s.ok()) return call->Fail(s);

  for (const local::EntryWire& entry : call->asked.entries) call->AddBytesIn(entry.value_bytes);
  call->StoreAsked();
  call->state().store->Set(*request,
                           [call](absl::StatusOr<std::vector<storage::SetResult>> results) {
                             FinishCommit(*call, results);
                           });
}

void HandleLookup(std::shared_ptr<CallOf<LookupCall>> call) {
  const LookupCall& asked = call->asked;
  const local::Lookup& fixed = asked.fixed;
  absl::StatusOr<NamespaceRef> ns =
      call->state().namespaces->Find(call->state().options.tenant, fixed.ns);
  if (!ns.ok()) return call->Fail(ns.status());

  storage::LookupRequest request;
  for (size_t i = 0; i < asked.queries.size(); ++i) {
    const local::QueryWire& query = asked.queries[i];
    absl::StatusOr<storage::Match> match = MatchFromWire(query.match);
    if (!match.ok()) return call->Fail(match.status());
    request.queries.push_back(
        {query.group, asked.keys[i], *match, query.window_blocks, query.block_tokens});
  }
  LookupArgs args;
  args.queries = request.queries;
  args.shards = fixed.shards;
  args.pin_ms = fixed.pin_ms;
  args.stage = fixed.stage != 0;
  args.answer_by_ms = fixed.answer_by_ms;
  args.recompute_ms_per_token = fixed.recompute_ms_per_token;
  args.until_deadline = call->until_deadline();
  if (absl::Status s = ValidateLookup(**ns, args); !s.ok()) return call->Fail(s);

  for (storage::LookupQuery& query : request.queries) {
    query.block_tokens = (*ns)->info.identity.groups[query.group].block_tokens;
  }
  request.ns = (*ns)->id();
  request.first_wanted_tokens = fixed.first_wanted_tokens;
  request.recompute_ms_per_token = fixed.recompute_ms_per_token;
  request.pin_ms = fixed.pin_ms;
  request.stage = fixed.stage != 0;
  request.answer_by = EffectiveAnswerBy(call->arrival(), fixed.answer_by_ms, call->deadline(),
                                        absl::ZeroDuration());
  const storage::NamespaceId id = request.ns;
  call->StoreAsked();
  call->state().store->Lookup(request, [call, id](absl::StatusOr<storage::LookupResult> result) {
    FinishLookup(*call, id, result);
  });
}

}  // namespace kvgate::gateway
