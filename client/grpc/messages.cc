// SPDX-License-Identifier: Apache-2.0
#include "client/grpc/messages.h"

#include "proto/wire/identity.h"

namespace kvgate::client {
namespace {

void ToGroup(const wire::KvGroup& in, v1::KvGroup* out) {
  out->set_kind(static_cast<v1::GroupKind>(in.kind));
  out->set_block_tokens(in.block_tokens);
  for (const std::string& name : in.layer_names) out->add_layer_names(name);
  out->set_spec(in.spec);
  out->set_page_bytes(in.page_bytes);
  out->set_window_tokens(in.window_tokens);
}

Reason ReasonOfState(v1::SetState state) {
  switch (state) {
    case v1::SET_STATE_STORED:
      return Reason::kOk;
    case v1::SET_STATE_HELD:
      return Reason::kAlreadyHeld;
    case v1::SET_STATE_NOT_ADMITTED:
      return Reason::kNotAdmitted;
    case v1::SET_STATE_DATA_LOSS:
      return Reason::kDataLoss;
    case v1::SET_STATE_NO_SPACE:
      return Reason::kNoSpace;
    case v1::SET_STATE_TIMED_OUT:
      return Reason::kTimedOut;
    case v1::SET_STATE_TOO_LARGE:
      return Reason::kTooLarge;
    default:
      return Reason::kInternal;
  }
}

}  // namespace

bool ToIdentity(std::string_view canonical, v1::Identity* out, std::string* error) {
  wire::Identity in;
  if (!wire::DecodeIdentity(canonical, &in, error)) return false;
  out->set_model(in.model);
  out->set_weights_digest(in.weights_digest);
  out->set_weights_id(in.weights_id);
  out->set_weights_epoch(in.weights_epoch);
  for (const std::string& digest : in.lora_digests) out->add_lora_digests(digest);
  out->set_rope(in.rope);
  out->set_dtype(in.dtype);
  out->set_kv_cache_dtype(in.kv_cache_dtype);
  out->set_kv_scales(in.kv_scales);
  out->set_attention_backend(in.attention_backend);
  out->set_isa(in.isa);
  out->set_arch(in.arch);
  out->set_layout(in.layout);
  for (const wire::KvGroup& group : in.groups) ToGroup(group, out->add_groups());
  out->set_tp_size(in.tp_size);
  out->set_pp_size(in.pp_size);
  out->set_pcp_size(in.pcp_size);
  out->set_dcp_size(in.dcp_size);
  out->set_cp_interleave(in.cp_interleave);
  out->set_prefix_hash_algorithm(in.prefix_hash_algorithm);
  out->set_prefix_hash_seed(in.prefix_hash_seed);
  out->set_hash_block_tokens(in.hash_block_tokens);
  out->set_engine_version(in.engine_version);
  out->set_shards(in.shards);
  for (const auto& [key, value] : in.extra) (*out->mutable_extra())[key] = value;
  return true;
}

v1::LookupRequest ToLookup(const LookupRequest& request) {
  v1::LookupRequest out;
  out.set_namespace_(request.ns);
  for (const GroupQuery& query : request.queries) {
    v1::GroupQuery* to = out.add_queries();
    to->set_group(query.group);
    to->mutable_keys()->Reserve(static_cast<int>(query.keys.size()));
    for (std::string_view key : query.keys) to->add_keys(key.data(), key.size());
    to->set_match(static_cast<v1::Match>(query.match));
    to->set_window_blocks(query.window_blocks);
    to->set_block_tokens(query.block_tokens);
  }
  out.set_first_wanted_tokens(request.first_wanted_tokens);
  out.set_shards(request.shards);
  out.set_pin_ms(request.pin_ms);
  out.set_stage(request.stage);
  out.set_answer_by_ms(request.answer_by_ms);
  out.set_recompute_ms_per_token(request.recompute_ms_per_token);
  return out;
}

v1::GetRequest ToGet(const GetRequest& request) {
  v1::GetRequest out;
  out.set_namespace_(request.ns);
  if (request.pin_token != 0) {
    out.mutable_handle()->set_pin_token(request.pin_token);
    out.mutable_handle()->set_first(request.first);
    out.mutable_handle()->set_count(request.count);
  } else {
    for (std::string_view key : request.keys) out.add_keys(key.data(), key.size());
  }
  out.set_root(request.root.data(), request.root.size());
  out.set_depth(request.depth);
  out.set_group(request.group);
  out.set_shard(request.shard);
  out.set_prefix_only(request.prefix_only);
  out.set_range_offset(request.range_offset);
  out.set_range_bytes(request.range_bytes);
  return out;
}

v1::SetRequest ToSetHead(const SetRequest& request) {
  v1::SetRequest out;
  out.set_namespace_(request.ns);
  for (const SetEntry& entry : request.entries) {
    v1::SetEntry* to = out.add_entries();
    to->set_key(entry.key.data(), entry.key.size());
    uint64_t bytes = 0;
    for (const auto& piece : entry.value) bytes += piece.size();
    to->set_value_bytes(bytes);
    if (entry.producer_crc.has_value()) to->set_producer_crc32c(*entry.producer_crc);
    to->set_ttl_ms(entry.ttl_ms);
  }
  out.set_mode(static_cast<v1::SetMode>(request.mode));
  out.set_parent(request.parent.data(), request.parent.size());
  out.set_root(request.root.data(), request.root.size());
  out.set_depth(request.depth);
  out.set_group(request.group);
  out.set_shard(request.shard);
  out.set_producer(request.producer);
  out.set_ticket(request.ticket);
  out.set_durability(static_cast<v1::Durability>(request.durability));
  ToHints(request.hints, out.mutable_hints());
  return out;
}

v1::OfferRequest ToOffer(const OfferRequest& request, uint64_t producer) {
  v1::OfferRequest out;
  out.set_namespace_(request.ns);
  for (std::string_view key : request.keys) out.add_keys(key.data(), key.size());
  for (uint64_t bytes : request.value_bytes) out.add_value_bytes(bytes);
  out.set_group(request.group);
  out.set_shard(request.shard);
  out.set_root(request.root.data(), request.root.size());
  out.set_depth(request.depth);
  out.set_producer(producer);
  return out;
}

v1::DeleteRequest ToDelete(const DeleteRequest& request) {
  v1::DeleteRequest out;
  out.set_namespace_(request.ns);
  for (std::string_view key : request.keys) out.add_keys(key.data(), key.size());
  if (request.group.has_value()) out.set_group(*request.group);
  if (request.shard.has_value()) out.set_shard(*request.shard);
  out.set_durability(static_cast<v1::Durability>(request.durability));
  return out;
}

void ToHints(const Hints& hints, v1::Hints* out) {
  out->set_prompt_tokens(hints.prompt_tokens);
  out->set_output_tokens(hints.output_tokens);
  out->set_turn(hints.turn);
  out->set_finished(hints.finished);
}

OpenReply FromOpen(const v1::OpenResponse& response) {
  OpenReply out;
  out.ns_handle = response.namespace_();
  out.incarnation = response.incarnation();
  for (int feature : response.features()) {
    if (feature > 0 && feature < 64) out.features |= 1ull << feature;
  }
  const v1::Limits& limits = response.limits();
  out.limits.key_bytes_max = limits.key_bytes_max();
  out.limits.keys_max = limits.keys_max();
  out.limits.lookup_keys_max = limits.lookup_keys_max();
  out.limits.pin_ms_max = limits.pin_ms_max();
  out.limits.value_bytes_max = limits.value_bytes_max();
  out.limits.key_list_bytes_max = limits.key_list_bytes_max();
  out.limits.payload_bytes_max = limits.payload_bytes_max();
  out.limits.disk_value_bytes_max = limits.disk_value_bytes_max();
  out.root_group_keys.assign(response.root_group_keys().begin(), response.root_group_keys().end());
  out.identity_digest = response.identity_digest();
  out.local_socket = response.local_socket();
  out.disk_mode = response.disk_mode();
  out.server_version = response.server_version();
  out.default_durability = static_cast<uint8_t>(response.default_durability());
  return out;
}

LookupReply FromLookup(const v1::LookupResponse& response) {
  LookupReply out;
  for (const v1::GroupHeld& group : response.groups()) {
    GroupHeld& to = out.groups.emplace_back();
    to.group = group.group();
    to.first = group.first();
    to.held = group.held();
    for (const v1::HeldRun& run : group.runs()) {
      to.runs.push_back({run.count(), static_cast<uint8_t>(run.tier()), run.value_bytes()});
    }
    to.bitmap = group.bitmap();
  }
  out.boundary_tokens = response.boundary_tokens();
  out.pin_ms = response.pin_ms();
  out.pin_token = response.pin_token();
  out.predicted_load_ms = response.predicted_load_ms();
  out.advice = static_cast<uint8_t>(response.advice());
  return out;
}

SetResult FromSetResult(const v1::SetResult& result) {
  return {ReasonOfState(result.state()), static_cast<uint8_t>(result.durability())};
}

}  // namespace kvgate::client
