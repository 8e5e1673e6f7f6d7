// SPDX-License-Identifier: Apache-2.0
//
// The one list of an identity's fields: tag, name, member. Encoding, decoding and comparison walk
// it, so that they cannot disagree. Private to identity.cc.
#pragma once

#include "proto/wire/identity.h"

namespace kvgate::wire::internal {

// Calls visit(tag, name, member) for each field in ascending tag order.
template <typename Group, typename Visitor>
void VisitGroupFields(Group& group, Visitor&& visit) {
  visit(1, "kind", group.kind);
  visit(2, "block_tokens", group.block_tokens);
  visit(3, "layer_names", group.layer_names);
  visit(4, "spec", group.spec);
  visit(5, "page_bytes", group.page_bytes);
  visit(6, "window_tokens", group.window_tokens);
}

template <typename Id, typename Visitor>
void VisitIdentityFields(Id& id, Visitor&& visit) {
  visit(1, "model", id.model);
  visit(2, "weights_digest", id.weights_digest);
  visit(3, "weights_id", id.weights_id);
  visit(4, "weights_epoch", id.weights_epoch);
  visit(5, "lora_digests", id.lora_digests);
  visit(6, "rope", id.rope);
  visit(7, "dtype", id.dtype);
  visit(8, "kv_cache_dtype", id.kv_cache_dtype);
  visit(9, "kv_scales", id.kv_scales);
  visit(10, "attention_backend", id.attention_backend);
  visit(11, "isa", id.isa);
  visit(12, "arch", id.arch);
  visit(13, "layout", id.layout);
  visit(14, "groups", id.groups);
  visit(15, "tp_size", id.tp_size);
  visit(16, "pp_size", id.pp_size);
  visit(17, "pcp_size", id.pcp_size);
  visit(18, "dcp_size", id.dcp_size);
  visit(19, "cp_interleave", id.cp_interleave);
  visit(20, "prefix_hash_algorithm", id.prefix_hash_algorithm);
  visit(21, "prefix_hash_seed", id.prefix_hash_seed);
  visit(22, "hash_block_tokens", id.hash_block_tokens);
  visit(23, "engine_version", id.engine_version);
  visit(24, "shards", id.shards);
  visit(25, "extra", id.extra);
}

// Overloads on which kind of record is walked.
template <typename Visitor>
void VisitFields(const Identity& id, Visitor&& visit) {
  VisitIdentityFields(id, visit);
}
template <typename Visitor>
void VisitFields(Identity& id, Visitor&& visit) {
  VisitIdentityFields(id, visit);
}
template <typename Visitor>
void VisitFields(const KvGroup& group, Visitor&& visit) {
  VisitGroupFields(group, visit);
}
template <typename Visitor>
void VisitFields(KvGroup& group, Visitor&& visit) {
  VisitGroupFields(group, visit);
}

}  // namespace kvgate::wire::internal
