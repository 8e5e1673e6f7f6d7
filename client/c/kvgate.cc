// SPDX-License-Identifier: Apache-2.0
//
// The C ABI: turns plain structs into those of client.h and back. It decides nothing.
#include "client/c/kvgate.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "client/c/convert.h"
#include "client/client.h"
#include "proto/wire/checksum.h"

#define KVGATE_EXPORT extern "C" __attribute__((visibility("default")))

namespace kc = kvgate::client;
namespace kw = kvgate::wire;
using kvgate::c::ReadStruct;
using kvgate::c::View;
using kvgate::c::Views;
using kvgate::c::WriteStruct;

struct kvgate_client {
  std::unique_ptr<kc::Client> client;
};

namespace {

void PutText(const std::string& text, char* out, size_t bytes) {
  if (out == nullptr) return;
  const size_t kept = std::min(text.size(), bytes - 1);
  std::memcpy(out, text.data(), kept);
  out[kept] = '\0';
}

int Finish(const kc::Outcome& outcome, char* error) {
  PutText(outcome.message, error, KVGATE_ERROR_BYTES);
  return static_cast<int>(outcome.code);
}

int Refuse(std::string what, char* error) {
  return Finish(kc::Outcome{kw::Code::kInvalidArgument, false, std::move(what)}, error);
}

constexpr uint32_t kMatchMembership = 2;  // kvgate.v1.Match

// No exception leaves the library; what could throw here is memory that has run out.
template <typename Body>
int Guard(char* error, Body body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Finish(kc::Outcome{kw::Code::kResourceExhausted, false, "out of memory"}, error);
  } catch (const std::exception& exception) {
    return Finish(kc::Outcome{kw::Code::kInternal, false, exception.what()}, error);
  }
}

const char* OrEmpty(const char* text) { return text == nullptr ? "" : text; }

kc::Options ToOptions(const kvgate_options& in) {
  kc::Options options;
  if (in.transport != nullptr && in.transport[0] != '\0') options.transport = in.transport;
  options.local_socket = OrEmpty(in.local_socket);
  options.grpc_target = OrEmpty(in.grpc_target);
  options.grpc_library = OrEmpty(in.grpc_library);
  options.client_name = OrEmpty(in.client_name);
  options.token = OrEmpty(in.token);
  options.token_file = OrEmpty(in.token_file);
  options.producer = in.producer;
  if (in.staging_bytes != 0) options.staging_bytes = in.staging_bytes;
  options.verify = static_cast<kc::Verify>(std::min<uint32_t>(in.verify, 255));
  if (in.connect_timeout_ms != 0) options.connect_timeout_ms = in.connect_timeout_ms;
  if (in.breaker_open_ms != 0) options.breaker_open_ms = in.breaker_open_ms;
  return options;
}

kvgate_open_result FromOpenReply(const kc::OpenReply& reply) {
  kvgate_open_result out{};
  out.incarnation = reply.incarnation;
  out.features = reply.features;
  out.key_bytes_max = reply.limits.key_bytes_max;
  out.keys_max = reply.limits.keys_max;
  out.lookup_keys_max = reply.limits.lookup_keys_max;
  out.pin_ms_max = reply.limits.pin_ms_max;
  out.value_bytes_max = reply.limits.value_bytes_max;
  out.key_list_bytes_max = reply.limits.key_list_bytes_max;
  out.payload_bytes_max = reply.limits.payload_bytes_max;
  out.disk_value_bytes_max = reply.limits.disk_value_bytes_max;
  out.groups =
      static_cast<uint32_t>(std::min(reply.root_group_keys.size(), std::size(out.root_group_keys)));
  std::copy_n(reply.root_group_keys.begin(), out.groups, out.root_group_keys);
  out.default_durability = reply.default_durability;
  std::memcpy(out.identity_digest, reply.identity_digest.data(),
              std::min(reply.identity_digest.size(), sizeof(out.identity_digest)));
  PutText(reply.disk_mode, out.disk_mode, sizeof(out.disk_mode));
  PutText(reply.server_version, out.server_version, sizeof(out.server_version));
  return out;
}

}  // namespace

KVGATE_EXPORT uint32_t kvgate_abi_version(void) { return KVGATE_ABI_VERSION; }
KVGATE_EXPORT const char* kvgate_version(void) { return "0.1.0"; }
KVGATE_EXPORT const char* kvgate_reason_name(uint32_t reason) {
  // Names are literals, so they end in NUL.
  return kc::ReasonName(static_cast<kc::Reason>(std::min<uint32_t>(reason, 255))).data();
}

KVGATE_EXPORT int kvgate_client_create(const kvgate_options* options, kvgate_client** client,
                                       char* error) {
  return Guard(error, [&] {
    *client = nullptr;
    std::string wrong;
    auto made = kc::Client::Create(ToOptions(ReadStruct(options)), &wrong);
    if (!made) return Refuse(wrong, error);
    *client = std::make_unique<kvgate_client>(kvgate_client{std::move(made)}).release();
    return Finish({}, error);
  });
}

KVGATE_EXPORT void kvgate_client_destroy(kvgate_client* client) {
  std::unique_ptr<kvgate_client>{client};
}

KVGATE_EXPORT int kvgate_open(kvgate_client* client, kvgate_bytes identity, const char* alias,
                              uint64_t required_features, double timeout_ms, uint64_t* ns,
                              kvgate_open_result* result, char* error) {
  const kc::Deadline deadline = kc::DeadlineIn(timeout_ms);
  return Guard(error, [&] {
    const kc::OpenRequest request{std::string(View(identity)), required_features, OrEmpty(alias)};
    kc::OpenReply reply;
    const kc::Outcome outcome = client->client->Open(request, deadline, ns, &reply);
    if (result != nullptr) WriteStruct(FromOpenReply(reply), result);
    return Finish(outcome, error);
  });
}

KVGATE_EXPORT int kvgate_lookup(kvgate_client* client, const kvgate_lookup_request* request,
                                double timeout_ms, kvgate_lookup_result* result, char* error) {
  const kc::Deadline deadline = kc::DeadlineIn(timeout_ms);
  return Guard(error, [&] {
    const kvgate_lookup_request in = ReadStruct(request);
    const kvgate_lookup_result room = ReadStruct(result);
    if (room.held_count < in.queries_count) {
      return Refuse("held_count = " + std::to_string(room.held_count) + ", " +
                        std::to_string(in.queries_count) + " needed, one a query",
                    error);
    }
    std::vector<std::vector<std::string_view>> keys;
    std::vector<kc::GroupQuery> queries;
    for (size_t i = 0; i < in.queries_count; ++i) {
      const kvgate_query& query = in.queries[i];
      if (query.match > 255) return Refuse("queries[].match: over the limit of 255", error);
      const size_t needed = (query.keys_count + 7) / 8;
      if (query.match == kMatchMembership && room.held[i].bitmap != nullptr &&
          room.held[i].bitmap_bytes < needed) {
        return Refuse("held[" + std::to_string(i) +
                          "].bitmap_bytes = " + std::to_string(room.held[i].bitmap_bytes) + ", " +
                          std::to_string(needed) + " needed for the keys of the query",
                      error);
      }
      keys.push_back(Views(query.keys, query.keys_count));
      queries.push_back({query.group, keys.back(), static_cast<uint8_t>(query.match),
                         query.window_blocks, query.block_tokens});
    }
    const kc::LookupRequest lookup{
        in.ns,     queries,       in.first_wanted_tokens, in.shards,
        in.pin_ms, in.stage != 0, in.answer_by_ms,        in.recompute_ms_per_token};
    kc::LookupReply reply;
    const kc::Outcome outcome = client->client->Lookup(lookup, deadline, &reply);
    kvgate::c::FromLookupReply(reply, result);
    return Finish(outcome, error);
  });
}

KVGATE_EXPORT int kvgate_get(kvgate_client* client, const kvgate_get_request* request,
                             double timeout_ms, kvgate_get_result* results, char* error) {
  const kc::Deadline deadline = kc::DeadlineIn(timeout_ms);
  const kvgate_get_request in = ReadStruct(request);
  kvgate_get_result none{};
  none.reason = static_cast<uint32_t>(kc::Reason::kInternal);
  std::fill_n(results, in.keys_count, none);
  return Guard(error, [&] {
    if (in.group > 255 || in.shard > 255) {
      std::for_each(results, results + in.keys_count, [](kvgate_get_result& result) {
        result.reason = static_cast<uint32_t>(kc::Reason::kRefused);
      });
      return Refuse("group, shard: over the limit of 255", error);
    }
    const auto pieces = kvgate::c::MutablePieces(in.pieces, in.piece_counts, in.keys_count);
    std::vector<std::string_view> keys;
    if (in.pin_token == 0) keys = Views(in.keys, in.keys_count);
    kc::GetRequest get;
    get.ns = in.ns;
    get.keys = keys;
    get.pin_token = in.pin_token;
    get.first = in.first;
    get.count = in.pin_token != 0 ? static_cast<uint32_t>(in.keys_count) : 0;
    get.group = static_cast<uint8_t>(in.group);
    get.shard = static_cast<uint8_t>(in.shard);
    get.root = View(in.root);
    get.depth = in.depth;
    get.prefix_only = in.prefix_only != 0;
    get.range_offset = in.range_offset;
    get.range_bytes = in.range_bytes;
    get.targets = pieces.values;
    std::vector<kc::GetResult> got(in.keys_count);
    const kc::Outcome outcome = client->client->Get(get, deadline, got);
    std::transform(got.begin(), got.end(), results, [](const kc::GetResult& r) {
      return kvgate_get_result{static_cast<uint32_t>(r.reason), r.tier, r.value_bytes, r.crc32c, 0};
    });
    return Finish(outcome, error);
  });
}

KVGATE_EXPORT int kvgate_set(kvgate_client* client, const kvgate_set_request* request,
                             double timeout_ms, kvgate_set_result* results, char* error) {
  const kc::Deadline deadline = kc::DeadlineIn(timeout_ms);
  const kvgate_set_request in = ReadStruct(request);
  std::fill_n(results, in.entries_count,
              kvgate_set_result{static_cast<uint32_t>(kc::Reason::kInternal), 0});
  return Guard(error, [&] {
    if (in.group > 255 || in.shard > 255 || in.mode > 255 || in.durability > 255) {
      std::fill_n(results, in.entries_count,
                  kvgate_set_result{static_cast<uint32_t>(kc::Reason::kRefused), 0});
      return Refuse("group, shard, mode, durability: over the limit of 255", error);
    }
    const auto pieces = kvgate::c::ConstPiecesOf(in.pieces, in.entries, in.entries_count);
    std::vector<kc::SetEntry> entries(in.entries_count);
    for (size_t i = 0; i < in.entries_count; ++i) {
      const kvgate_set_entry& entry = in.entries[i];
      entries[i].key = View(entry.key);
      entries[i].value = pieces.values[i];
      if (entry.has_producer_crc != 0) entries[i].producer_crc = entry.producer_crc;
      entries[i].ttl_ms = entry.ttl_ms;
    }
    kc::SetRequest set;
    set.ns = in.ns;
    set.entries = entries;
    set.mode = static_cast<uint8_t>(in.mode);
    set.parent = View(in.parent);
    set.root = View(in.root);
    set.depth = in.depth;
    set.group = static_cast<uint8_t>(in.group);
    set.shard = static_cast<uint8_t>(in.shard);
    set.ticket = in.ticket;
    set.durability = static_cast<uint8_t>(in.durability);
    set.hints = {in.prompt_tokens, in.output_tokens, in.turn, in.finished != 0};
    std::vector<kc::SetResult> stored(in.entries_count);
    const kc::Outcome outcome = client->client->Set(set, deadline, stored);
    std::transform(stored.begin(), stored.end(), results, [](const kc::SetResult& r) {
      return kvgate_set_result{static_cast<uint32_t>(r.reason), r.durability};
    });
    return Finish(outcome, error);
  });
}

KVGATE_EXPORT int kvgate_offer(kvgate_client* client, uint64_t ns, const kvgate_bytes* keys,
                               const uint64_t* value_bytes, size_t count, uint32_t group,
                               uint32_t shard, kvgate_bytes root, uint32_t depth, double timeout_ms,
                               uint8_t* states, uint64_t* ticket, char* error) {
  const kc::Deadline deadline = kc::DeadlineIn(timeout_ms);
  std::fill_n(states, count, uint8_t{0});
  *ticket = 0;
  return Guard(error, [&] {
    if (group > 255 || shard > 255) return Refuse("group, shard: over the limit of 255", error);
    const auto views = Views(keys, count);
    const kc::OfferRequest offer{ns,
                                 views,
                                 {value_bytes, count},
                                 static_cast<uint8_t>(group),
                                 static_cast<uint8_t>(shard),
                                 View(root),
                                 depth};
    kc::OfferReply reply;
    const kc::Outcome outcome = client->client->Offer(offer, deadline, &reply);
    std::copy_n(reply.states.begin(), std::min(count, reply.states.size()), states);
    *ticket = reply.ticket;
    return Finish(outcome, error);
  });
}

KVGATE_EXPORT int kvgate_delete(kvgate_client* client, uint64_t ns, const kvgate_bytes* keys,
                                size_t count, int32_t group, int32_t shard, uint32_t durability,
                                double timeout_ms, uint8_t* found, char* error) {
  const kc::Deadline deadline = kc::DeadlineIn(timeout_ms);
  std::fill_n(found, count, uint8_t{0});
  return Guard(error, [&] {
    if (group > 255 || shard > 255 || durability > 255) {
      return Refuse("group, shard, durability: over the limit of 255", error);
    }
    const auto views = Views(keys, count);
    kc::DeleteRequest request;
    request.ns = ns;
    request.keys = views;
    if (group >= 0) request.group = static_cast<uint8_t>(group);
    if (shard >= 0) request.shard = static_cast<uint8_t>(shard);
    request.durability = static_cast<uint8_t>(durability);
    const auto flags = std::make_unique<bool[]>(count);
    const kc::Outcome outcome = client->client->Delete(request, deadline, {flags.get(), count});
    std::copy_n(flags.get(), count, found);
    return Finish(outcome, error);
  });
}

KVGATE_EXPORT int kvgate_touch(kvgate_client* client, uint64_t ns, kvgate_bytes last_key,
                               uint32_t group, uint32_t prompt_tokens, uint32_t output_tokens,
                               uint32_t turn, uint32_t finished, double timeout_ms, char* error) {
  const kc::Deadline deadline = kc::DeadlineIn(timeout_ms);
  return Guard(error, [&] {
    if (group > 255) return Refuse("group: over the limit of 255", error);
    const kc::Hints hints{prompt_tokens, output_tokens, turn, finished != 0};
    return Finish(
        client->client->Touch(ns, View(last_key), static_cast<uint8_t>(group), hints, deadline),
        error);
  });
}

KVGATE_EXPORT int kvgate_pin(kvgate_client* client, uint64_t ns, uint64_t token, uint32_t pin_ms,
                             double timeout_ms, uint32_t* granted_ms, char* error) {
  const kc::Deadline deadline = kc::DeadlineIn(timeout_ms);
  return Guard(error, [&] {
    return Finish(client->client->Pin(ns, token, pin_ms, deadline, granted_ms), error);
  });
}

KVGATE_EXPORT int kvgate_unpin(kvgate_client* client, uint64_t ns, uint64_t token,
                               double timeout_ms, char* error) {
  const kc::Deadline deadline = kc::DeadlineIn(timeout_ms);
  return Guard(error, [&] { return Finish(client->client->Unpin(ns, token, deadline), error); });
}

KVGATE_EXPORT int kvgate_ping(kvgate_client* client, double timeout_ms, char* error) {
  const kc::Deadline deadline = kc::DeadlineIn(timeout_ms);
  return Guard(error, [&] { return Finish(client->client->Ping(deadline), error); });
}

KVGATE_EXPORT void* kvgate_staging_alloc(kvgate_client* client, size_t bytes) {
  void* memory = nullptr;
  Guard(nullptr, [&] {
    memory = client->client->AllocStaging(bytes);
    return 0;
  });
  return memory;
}

KVGATE_EXPORT void kvgate_staging_free(kvgate_client* client, void* memory) {
  client->client->FreeStaging(static_cast<std::byte*>(memory));
}

KVGATE_EXPORT uint32_t kvgate_gather(void* target, const kvgate_piece* pieces, size_t count) {
  uint32_t crc = 0;
  auto* out = static_cast<std::byte*>(target);
  for (size_t i = 0; i < count; ++i) {
    crc = kw::CopyCrc32c(crc, out, pieces[i].data, pieces[i].bytes);
    out += pieces[i].bytes;
  }
  return crc;
}

KVGATE_EXPORT uint32_t kvgate_crc32c(const kvgate_piece* pieces, size_t count) {
  uint32_t crc = 0;
  for (size_t i = 0; i < count; ++i) crc = kw::Crc32c(crc, pieces[i].data, pieces[i].bytes);
  return crc;
}

KVGATE_EXPORT void kvgate_client_stats(kvgate_client* client, kvgate_stats* stats) {
  const kc::Stats in = client->client->stats();
  kvgate_stats out{};
  out.calls = in.calls;
  out.retries = in.retries;
  out.reconnects = in.reconnects;
  out.breaker_opens = in.breaker_opens;
  out.loaded_blocks = in.loaded_blocks;
  out.loaded_bytes = in.loaded_bytes;
  out.stored_blocks = in.stored_blocks;
  out.stored_bytes = in.stored_bytes;
  out.verified_blocks = in.verified_blocks;
  out.checksum_failures = in.checksum_failures;
  out.revoked = in.revoked;
  static_assert(sizeof(out.misses_by_reason) == sizeof(in.misses_by_reason));
  std::memcpy(out.misses_by_reason, in.misses_by_reason, sizeof(out.misses_by_reason));
  out.staging_in_use = in.staging_in_use;
  std::memcpy(out.transport, in.transport, sizeof(out.transport));
  out.breaker_state = static_cast<uint32_t>(in.breaker_state);
  PutText(std::string(kc::BreakerReasonName(in.breaker_reason)), out.breaker_reason,
          sizeof(out.breaker_reason));
  WriteStruct(out, stats);
}
