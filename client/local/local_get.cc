// SPDX-License-Identifier: Apache-2.0
#include "client/local/local_get.h"

#include <time.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "client/core/batches.h"
#include "client/core/reasons.h"
#include "client/local/codec.h"
#include "proto/wire/checksum.h"
#include "proto/wire/error_id.h"
#include "proto/wire/key.h"

namespace kvgate::client {
namespace {

constexpr uint64_t kCopyChunk = 1 << 20;  // between two looks at the clock
constexpr uint64_t kCopyOutAlignment = 64;
constexpr uint64_t kRoomTries[] = {8 << 20, 2 << 20, 512 << 10, local::kLeaseValueBytesMin};
constexpr int64_t kRoomPauseNs = 1'000'000;

uint64_t RoomFor(uint64_t value_bytes) {
  if (value_bytes >= local::kLeaseValueBytesMin) return 0;  // lent
  return (value_bytes + kCopyOutAlignment - 1) / kCopyOutAlignment * kCopyOutAlignment;
}

Outcome TooLate() {
  return Outcome{wire::Code::kDeadlineExceeded, true, "the deadline passed while copying"};
}

// Gives a lease back at the end, whatever happened.
class LeaseGuard {
 public:
  LeaseGuard(Channel& channel, uint64_t lease) : channel_(channel), lease_(lease) {}
  ~LeaseGuard() {
    if (lease_ != 0) channel_.Release(lease_);
  }

 private:
  Channel& channel_;
  const uint64_t lease_;
};

}  // namespace

LocalGet::LocalGet(LocalTransport& transport, const GetRequest& request, Deadline deadline,
                   std::span<const uint8_t> verify, std::span<GetResult> results)
    : transport_(transport),
      pool_(transport.pool()),
      request_(request),
      deadline_(deadline),
      verify_(verify),
      results_(results) {
  target_bytes_.reserve(request.targets.size());
  for (const Pieces& pieces : request.targets) {
    uint64_t bytes = 0;
    for (const auto& piece : pieces) bytes += piece.size();
    target_bytes_.push_back(bytes);
  }
}

Outcome LocalGet::Check() const {
  if (Outcome o = CheckKeyList(request_.keys, wire::kKeysMax); !o.ok()) return o;
  if (Outcome o = CheckKeyBytes(request_.root, "root"); !o.ok()) return o;
  const size_t count = request_.pin_token != 0 ? request_.count : request_.keys.size();
  if (count != request_.targets.size() || count != results_.size() ||
      (!verify_.empty() && verify_.size() != count)) {
    return InvalidArgument("targets: " + std::to_string(request_.targets.size()) + " for " +
                           std::to_string(count) + " keys and " + std::to_string(results_.size()) +
                           " results");
  }
  if (count > wire::kKeysMax) {
    return InvalidArgument("handle.count: " + std::to_string(count) + ", at most " +
                           std::to_string(wire::kKeysMax) + " are allowed");
  }
  if (request_.pin_token != 0 && !request_.keys.empty()) {
    return InvalidArgument("handle: stands beside keys, only one of the two is allowed");
  }
  return {};
}

// As many keys as there is copy-out room for.
std::optional<LocalGet::Round> LocalGet::Plan(size_t first) const {
  for (uint64_t room_max : kRoomTries) {
    Round round;
    round.first = first;
    uint64_t room = 0;
    for (size_t i = first; i < results_.size(); ++i, ++round.count) {
      const uint64_t needed = RoomFor(target_bytes_[i]);
      if (round.count > 0 && needed > 0 && room + needed > room_max) break;
      room += needed;
    }
    if (room == 0) return round;
    std::optional<StagingArena::Part> part = transport_.arena_->AllocControl(room);
    if (!part) continue;
    round.copy_out_offset = part->offset();
    round.copy_out_bytes = room;
    round.copy_out.push_back(*std::move(part));
    return round;
  }
  return std::nullopt;
}

Outcome LocalGet::Ask(Round* round, Reply* reply) {
  local::Get get{};
  get.ns = request_.ns;
  get.count = static_cast<uint32_t>(round->count);
  get.group = request_.group;
  get.shard = request_.shard;
  get.prefix_only = request_.prefix_only ? 1 : 0;
  get.range_offset = request_.range_offset;
  get.range_bytes = request_.range_bytes;
  get.copy_out = {round->copy_out_offset, round->copy_out_bytes};
  std::string body;
  if (request_.pin_token != 0) {
    get.pin_token = request_.pin_token;
    get.first = request_.first + static_cast<uint32_t>(round->first);
    get.depth = request_.depth;
    get.root_bytes = static_cast<uint16_t>(request_.root.size());
    body.assign(request_.root);
  } else {
    const ChainPlace place =
        PlaceOf({request_.depth, request_.root}, static_cast<uint32_t>(round->first),
                transport_.RootGroupKeys(request_.ns, request_.group),
                [this](uint32_t i) { return request_.keys[i]; });
    get.depth = place.depth;
    get.root_bytes = static_cast<uint16_t>(place.root.size());
    body.assign(place.root);
    AppendKeys(request_.keys.subspan(round->first, round->count), &body);
  }
  // A second hold for us: the call keeps the first when the answer is late.
  std::vector<StagingArena::Part> held = std::move(round->copy_out);
  round->copy_out.clear();
  if (!held.empty()) {
    round->copy_out.push_back(*transport_.arena_->HoldOf(
        transport_.arena_->At(round->copy_out_offset, round->copy_out_bytes)));
  }
  return transport_.CallWithBody(local::Op::kGet, &get, sizeof(get), &get.body, body, deadline_,
                                 std::move(held), reply);
}

Reason LocalGet::Copy(std::span<const std::byte> source, size_t index, uint32_t crc32c) {
  const bool verify = !verify_.empty() && verify_[index] != 0;
  uint32_t crc = 0;
  size_t done = 0;
  for (const std::span<std::byte> piece : request_.targets[index]) {
    for (size_t at = 0; at < piece.size();) {
      if (MonotonicNs() >= deadline_) return Reason::kDeadline;
      const size_t bytes = std::min<size_t>(piece.size() - at, kCopyChunk);
      if (verify) {
        crc = wire::CopyCrc32c(crc, piece.data() + at, source.data() + done, bytes);
      } else {
        std::memcpy(piece.data() + at, source.data() + done, bytes);
      }
      at += bytes;
      done += bytes;
    }
  }
  transport_.copies_.copied_bytes.fetch_add(done, std::memory_order_relaxed);
  transport_.copies_.copied_values.fetch_add(1, std::memory_order_relaxed);
  return verify && crc != crc32c ? Reason::kChecksum : Reason::kOk;
}

Outcome LocalGet::TakeOne(const local::PlaceWire& place, const Round& round, size_t index) {
  GetResult& result = results_[index];
  result.tier = place.tier;
  result.value_bytes = place.bytes;
  result.crc32c = place.crc32c;
  result.reason = ReasonOfGetState(place.state);
  if (result.reason != Reason::kOk) return {};
  if (place.bytes != target_bytes_[index]) {
    result.reason = Reason::kWrongSize;
    return {};
  }
  std::span<const std::byte> source;
  const bool copied_out = (place.flags & local::kPlaceCopiedOut) != 0;
  if (copied_out) {
    const uint64_t end = round.copy_out_offset + round.copy_out_bytes;
    if (place.offset < round.copy_out_offset || place.offset > end ||
        place.bytes > end - place.offset) {
      return transport_.ProtocolError("GET: a value outside the copy-out region");
    }
    source = transport_.arena_->At(place.offset, place.bytes);
  } else if (Outcome o = pool_->Find(place, deadline_, &source); !o.ok()) {
    return o;
  }
  result.reason = Copy(source, index, place.crc32c);
  if (result.reason == Reason::kDeadline) return TooLate();
  if (copied_out) return {};
  if (transport_.hooks_.after_copy) transport_.hooks_.after_copy();
  if (!pool_->StillValid(place)) result.reason = Reason::kRevoked;
  return {};
}

Outcome LocalGet::Take(const Round& round, std::span<const local::PlaceWire> places, size_t* next) {
  if (transport_.hooks_.before_copy) transport_.hooks_.before_copy();
  for (size_t i = 0; i < places.size(); ++i) {
    const size_t index = round.first + i;
    *next = index;
    if ((places[i].flags & local::kPlaceNoRoom) != 0) {
      if (places[i].bytes == target_bytes_[index]) return {};  // ask again
      results_[index].reason = Reason::kWrongSize;
      results_[index].value_bytes = places[i].bytes;
      continue;
    }
    if (Outcome o = TakeOne(places[i], round, index); !o.ok()) return o;
  }
  *next = round.first + places.size();
  return {};
}

Outcome LocalGet::RunRound(size_t first, size_t* next) {
  std::optional<Round> round = Plan(first);
  if (!round) {
    return Outcome{wire::Code::kResourceExhausted, false,
                   wire::Tagged(wire::ErrorId::kStagingFull, "no staging memory to copy out into")};
  }
  Reply reply;
  if (Outcome o = Ask(&*round, &reply); !o.ok()) return o;
  std::string_view rest = reply.rest();
  local::GetOk ok;
  if (!TakeStruct(&rest, &ok) || ok.count != round->count ||
      rest.size() != ok.count * sizeof(local::PlaceWire)) {
    return transport_.ProtocolError("GET");
  }
  const LeaseGuard lease(*transport_.channel_, ok.lease);
  std::vector<local::PlaceWire> places(ok.count);
  std::memcpy(places.data(), rest.data(), rest.size());
  return Take(*round, places, next);
}

Outcome LocalGet::Run() {
  Outcome outcome = Check();
  if (pool_ == nullptr)
    outcome = Outcome{wire::Code::kUnavailable, false,
                      wire::Tagged(wire::ErrorId::kConnectionLost, "local door: gone")};
  size_t next = 0;
  bool stopped = false;
  while (outcome.ok() && next < results_.size() && !stopped) {
    const size_t first = next;
    outcome = RunRound(first, &next);
    if (!outcome.ok()) break;
    if (next == first) {
      // Our other calls hold all leases: they end soon.
      const timespec pause{0, kRoomPauseNs};
      nanosleep(&pause, nullptr);
      if (MonotonicNs() >= deadline_) {
        outcome = Outcome{wire::Code::kResourceExhausted, true,
                          wire::Tagged(wire::ErrorId::kLeasesFull, "no room for more leases")};
      }
    }
    stopped = request_.prefix_only &&
              std::any_of(results_.begin() + static_cast<ptrdiff_t>(first),
                          results_.begin() + static_cast<ptrdiff_t>(next),
                          [](const GetResult& r) { return r.reason != Reason::kOk; });
  }
  const Reason rest = outcome.ok() ? Reason::kNotSent : ReasonOf(outcome.code);
  for (size_t i = std::min(next, results_.size()); i < results_.size(); ++i) {
    results_[i] = GetResult{.reason = rest};
  }
  return outcome;
}

Outcome LocalTransport::Get(const GetRequest& request, Deadline deadline,
                            std::span<const uint8_t> verify, std::span<GetResult> results) {
  return LocalGet(*this, request, deadline, verify, results).Run();
}

}  // namespace kvgate::client
