// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/messages.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "gateway/core/validate.h"
#include "proto/kvgate/v1/kvgate.pb.h"
#include "proto/wire/key.h"

namespace kvgate::gateway {

absl::StatusOr<FeatureSet> FeaturesFromProto(const v1::OpenRequest& request) {
  FeatureSet set = 0;
  for (const int feature : request.required_features()) {
    if (feature <= 0 || feature >= 64) {
      return absl::InvalidArgumentError(
          absl::StrCat("required_features: ", feature, ", 1 to ", kFeatureMax, " are known"));
    }
    set |= 1ull << feature;
  }
  return set;
}

void OpenToProto(const OpenedNamespace& ns, const NamespaceTable& table,
                 v1::OpenResponse* response) {
  const storage::StoreFacts& facts = table.facts();
  response->set_namespace_(ns.handle);
  response->set_incarnation(table.incarnation());
  for (uint32_t feature = 1; feature <= kFeatureMax; ++feature) {
    if (Has(ns.features, static_cast<Feature>(feature))) {
      response->add_features(static_cast<v1::Feature>(feature));
    }
  }
  v1::Limits* limits = response->mutable_limits();
  limits->set_key_bytes_max(wire::kKeyBytesMax);
  limits->set_value_bytes_max(wire::kValueBytesMax);
  limits->set_keys_max(wire::kKeysMax);
  limits->set_lookup_keys_max(wire::kLookupKeysMax);
  limits->set_key_list_bytes_max(wire::kKeyListBytesMax);
  limits->set_payload_bytes_max(wire::kPayloadBytesMax);
  limits->set_pin_ms_max(wire::kPinMsMax);
  limits->set_disk_value_bytes_max(facts.disk_value_bytes_max);
  for (uint32_t keys : ns.root_group_keys) response->add_root_group_keys(keys);
  response->set_identity_digest(ns.info.identity_digest.data(), ns.info.identity_digest.size());
  response->set_default_durability(static_cast<v1::Durability>(facts.default_durability));
  response->set_disk_mode(facts.disk_mode);
}

absl::StatusOr<storage::LookupRequest> LookupFromProto(const v1::LookupRequest& request) {
  storage::LookupRequest lookup;
  for (const v1::GroupQuery& query : request.queries()) {
    storage::LookupQuery& out = lookup.queries.emplace_back();
    absl::StatusOr<storage::Match> match = MatchFromWire(static_cast<uint32_t>(query.match()));
    if (!match.ok()) return match.status();
    out.group = query.group();
    out.keys.assign(query.keys().begin(), query.keys().end());
    out.match = *match;
    out.window_blocks = query.window_blocks();
    out.block_tokens = query.block_tokens();
  }
  lookup.first_wanted_tokens = request.first_wanted_tokens();
  lookup.recompute_ms_per_token = request.recompute_ms_per_token();
  lookup.pin_ms = request.pin_ms();
  lookup.stage = request.stage();
  return lookup;
}

void LookupToProto(const storage::LookupResult& result, v1::LookupResponse* response) {
  for (const storage::GroupHeld& held : result.groups) {
    v1::GroupHeld* group = response->add_groups();
    group->set_group(held.group);
    group->set_first(held.first);
    group->set_held(held.held);
    for (const storage::HeldRun& run : held.runs) {
      v1::HeldRun* out = group->add_runs();
      out->set_count(run.count);
      out->set_tier(static_cast<v1::Tier>(run.tier));
      out->set_value_bytes(run.value_bytes);
    }
    group->set_bitmap(held.bitmap);
  }
  response->set_boundary_tokens(result.boundary_tokens);
  response->set_pin_token(result.pin_token);
  response->set_pin_ms(result.pin_ms);
  response->set_predicted_load_ms(result.predicted_load_ms);
}

storage::Hints HintsFromProto(const v1::Hints& hints) {
  return {.prompt_tokens = hints.prompt_tokens(),
          .output_tokens = hints.output_tokens(),
          .turn = hints.turn(),
          .finished = hints.finished()};
}

void SetToProto(std::span<const storage::SetResult> results, v1::SetResponse* response) {
  for (const storage::SetResult& result : results) {
    v1::SetResult* out = response->add_results();
    out->set_state(static_cast<v1::SetState>(result.state));
    out->set_durability(static_cast<v1::Durability>(result.durability));
  }
}

}  // namespace kvgate::gateway
