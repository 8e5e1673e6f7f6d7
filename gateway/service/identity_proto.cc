// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/identity_proto.h"

#include "proto/kvgate/v1/kvgate.pb.h"

namespace kvgate::gateway {
namespace {

wire::KvGroup GroupFromProto(const v1::KvGroup& message) {
  wire::KvGroup group;
  group.kind = static_cast<wire::GroupKind>(message.kind());
  group.block_tokens = message.block_tokens();
  group.layer_names.assign(message.layer_names().begin(), message.layer_names().end());
  group.spec = message.spec();
  group.page_bytes = message.page_bytes();
  group.window_tokens = message.window_tokens();
  return group;
}

void GroupToProto(const wire::KvGroup& group, v1::KvGroup* message) {
  message->set_kind(static_cast<v1::GroupKind>(group.kind));
  message->set_block_tokens(group.block_tokens);
  for (const std::string& name : group.layer_names) message->add_layer_names(name);
  message->set_spec(group.spec);
  message->set_page_bytes(group.page_bytes);
  message->set_window_tokens(group.window_tokens);
}

}  // namespace

wire::Identity IdentityFromProto(const v1::Identity& message) {
  wire::Identity id;
  id.model = message.model();
  id.weights_digest = message.weights_digest();
  id.weights_id = message.weights_id();
  id.weights_epoch = message.weights_epoch();
  id.lora_digests.assign(message.lora_digests().begin(), message.lora_digests().end());
  id.rope = message.rope();
  id.dtype = message.dtype();
  id.kv_cache_dtype = message.kv_cache_dtype();
  id.kv_scales = message.kv_scales();
  id.attention_backend = message.attention_backend();
  id.isa = message.isa();
  id.arch = message.arch();
  id.layout = message.layout();
  for (const v1::KvGroup& group : message.groups()) id.groups.push_back(GroupFromProto(group));
  id.tp_size = message.tp_size();
  id.pp_size = message.pp_size();
  id.pcp_size = message.pcp_size();
  id.dcp_size = message.dcp_size();
  id.cp_interleave = message.cp_interleave();
  id.prefix_hash_algorithm = message.prefix_hash_algorithm();
  id.prefix_hash_seed = message.prefix_hash_seed();
  id.hash_block_tokens = message.hash_block_tokens();
  id.engine_version = message.engine_version();
  id.shards = message.shards();
  id.extra.insert(message.extra().begin(), message.extra().end());
  return id;
}

void IdentityToProto(const wire::Identity& id, v1::Identity* message) {
  message->set_model(id.model);
  message->set_weights_digest(id.weights_digest);
  message->set_weights_id(id.weights_id);
  message->set_weights_epoch(id.weights_epoch);
  for (const std::string& digest : id.lora_digests) message->add_lora_digests(digest);
  message->set_rope(id.rope);
  message->set_dtype(id.dtype);
  message->set_kv_cache_dtype(id.kv_cache_dtype);
  message->set_kv_scales(id.kv_scales);
  message->set_attention_backend(id.attention_backend);
  message->set_isa(id.isa);
  message->set_arch(id.arch);
  message->set_layout(id.layout);
  for (const wire::KvGroup& group : id.groups) GroupToProto(group, message->add_groups());
  message->set_tp_size(id.tp_size);
  message->set_pp_size(id.pp_size);
  message->set_pcp_size(id.pcp_size);
  message->set_dcp_size(id.dcp_size);
  message->set_cp_interleave(id.cp_interleave);
  message->set_prefix_hash_algorithm(id.prefix_hash_algorithm);
  message->set_prefix_hash_seed(id.prefix_hash_seed);
  message->set_hash_block_tokens(id.hash_block_tokens);
  message->set_engine_version(id.engine_version);
  message->set_shards(id.shards);
  for (const auto& [key, value] : id.extra) (*message->mutable_extra())[key] = value;
}

}  // namespace kvgate::gateway
