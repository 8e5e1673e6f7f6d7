// SPDX-License-Identifier: Apache-2.0
#include "gateway/telemetry/metric_table.h"

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gateway/core/text.h"

namespace kvgate::gateway {
namespace {

constexpr MetricFamily kFamilies[] = {
    {"kvgate_requests_total", "counter", "door, rpc, code", "finished calls", ""},
    {"kvgate_request_seconds", "histogram", "door, rpc", "from a call's arrival to its answer", ""},
    {"kvgate_request_bytes_total", "counter", "door, direction",
     "bytes in and out; in = from clients", ""},
    {"kvgate_get_wait_seconds", "histogram", "rpc, tier",
     "how long the store let a Get or a staging Lookup wait, by the farthest tier that it reached: "
     "what stands under disk is the stall that memory would have spared",
     ""},
    {"kvgate_hits_total", "counter", "tier", "hits of Get: `get_hits_*` below", "get_hits_"},
    {"kvgate_hit_tokens_total", "counter", "tier", "tokens of blocks hit: `hit_tokens_*` below",
     "hit_tokens_"},
    {"kvgate_misses_total", "counter", "reason", "misses of Get: `get_misses_*` below",
     "get_misses_"},
    {"kvgate_evictions_total", "counter", "reason",
     "blocks evicted from memory: `evictions_*` below", "evictions_"},
};

constexpr Metric kGet[] = {
    {"get_bytes_disk_total", "bytes answered after a read"},
    {"get_bytes_memory_total", "bytes answered from memory"},
    {"eviction_age_seconds_total",
     "sum over evictions from memory of the seconds since the last use; average age: "
     "rate(kvgate_eviction_age_seconds_total[5m]) / ignoring(reason) "
     "sum(rate(kvgate_evictions_total[5m]))"},
    {"get_hits_disk_total", "hits, by tier: kvgate_hits_total{tier=\"disk\"}"},
    {"get_hits_memory_total", "hits, by tier: kvgate_hits_total{tier=\"memory\"}"},
    {"hit_tokens_disk_total", "tokens of the blocks hit after a read (group 0, shard 0)"},
    {"hit_tokens_memory_total", "tokens of the blocks hit in memory (group 0, shard 0)"},
    {"seconds_saved_total",
     "estimate: those tokens times what their client says that a token takes to compute"},
    {"tokens_saved_total", "tokens that engines did not compute again: the two above"},
    {"get_large_allocations_measured", "1 when the count below is real"},
    {"get_large_allocations_total", "heap allocations of 64 KiB and more on the path of a Get: 0"},
    {"get_misses_absent_total", "misses: kvgate_misses_total{reason=\"absent\"}"},
    {"get_misses_corrupt_total", "misses: kvgate_misses_total{reason=\"corrupt\"}"},
    {"get_misses_io_error_total", "misses: kvgate_misses_total{reason=\"io_error\"}"},
    {"get_misses_no_memory_total", "misses: kvgate_misses_total{reason=\"no_memory\"}"},
    {"get_misses_not_ready_total", "misses: kvgate_misses_total{reason=\"not_ready\"}"},
    {"get_misses_stale_token_total", "misses: kvgate_misses_total{reason=\"stale_token\"}"},
    {"get_misses_unpinned_total", "misses: kvgate_misses_total{reason=\"unpinned\"}"},
};

constexpr Metric kSet[] = {
    {"set_bytes_total", "bytes stored"},
    {"set_data_loss_total", "values whose producer checksum did not match"},
    {"set_granted_volatile_total", "values that stay in memory only, for now"},
    {"set_held_back_total", "Sets that waited because the disk is slower"},
    {"set_held_total", "IF_ABSENT and already there"},
    {"set_no_space_total", "refused: everything is pinned"},
    {"set_not_admitted_total", "refused by admission"},
    {"set_stored_total", "values stored"},
    {"set_timed_out_total", "stored, durability not reached in time"},
    {"set_too_large_total", "too large for the disk"},
};

constexpr Metric kLookup[] = {
    {"lookup_keys_held_total", "keys of Lookups that were held"},
    {"lookup_keys_total", "keys of Lookups"},
};

constexpr Metric kMemory[] = {
    {"memory_blocks", "blocks in memory"},
    {"memory_extent_bytes", "bytes of one extent"},
    {"memory_extent_failures_total", "extents that the system refused"},
    {"memory_extents", "extents of the pool"},
    {"memory_extents_touched", "extents that have pages"},
    {"memory_limit_bytes", "most that the pool may have"},
    {"memory_used_bytes", "pool bytes given out"},
    {"memory_probation_bytes",
     "bytes in memory of blocks that were read from disk once: they stay 1 s for other ranks, then "
     "go "
     "first"},
    {"memory_value_bytes", "bytes of values in memory"},
};

constexpr Metric kPinsAndTickets[] = {
    {"pin_tokens", "tokens that stand"},
    {"pinned_disk_bytes", "disk bytes that tokens hold"},
    {"pinned_memory_bytes", "memory that tokens hold"},
    {"pins_granted_total", "tokens granted"},
    {"pins_refused_total", "Lookups that asked for a token and got none"},
    {"pins_replaced_total", "tokens that gave way to newer ones"},
    {"tickets", "tickets of Offers that stand"},
    {"tickets_promised_bytes", "bytes that they promise room for"},
};

constexpr Metric kEvictionsAndLifetime[] = {
    {"corrupt_total", "blocks whose bytes did not verify: quarantined, answered as misses"},
    {"deletes_total", "keys deleted"},
    {"evicted_bytes_total", "bytes of evicted blocks"},
    {"probation_promoted_total", "blocks read from disk that were used again after more than 1 s"},
    {"probation_ended_early_total",
     "blocks read from disk that left memory within 1 s, for lack of space: a rank that drifts "
     "reads "
     "them again"},
    {"evictions_lost_total", "evicted blocks that were nowhere else"},
    {"evictions_to_disk_total", "evicted blocks that stay on disk"},
    {"expired_total", "blocks whose TTL ended"},
    {"tombstones_deferred_total", "tombstones that waited for room in the log"},
    {"tombstones_dropped_total", "tombstones that were not needed"},
};

constexpr Metric kIndexAndCalls[] = {
    {"append_queue_bytes", "bytes of Sets that wait for room in the write queue"},
    {"append_queue_bytes_max", "its limit"},
    {"blocks_waiting_for_disk", "blocks in memory whose write has not ended"},
    {"calls_in_flight", "calls inside the store"},
    {"index_bytes", "memory of the index"},
    {"index_entries", "blocks known"},
    {"index_entries_max", "most that may be known"},
    {"index_slots", "places taken in the index: blocks known, and parents that only have a name"},
    {"loading", "1 while blocks on disk are still being read in: unknown keys answer NOT_READY"},
    {"loads_in_flight", "reads of blocks under way"},
    {"namespaces_collected_total", "namespaces forgotten at a limit: empty, unnamed and idle"},
};

constexpr Metric kDisk[] = {
    {"disk_append_failures_total", "writes that failed"},
    {"disk_appends_total", "records handed to the log"},
    {"disk_devices_offline", "devices taken out of use after repeated failures"},
    {"disk_devices_read_only", "devices that are only read from after 3 failures in 60 s"},
    {"disk_devices_slow",
     "devices whose reads take ten times as long as usual for 10 s: reads without the time are "
     "refused"},
    {"disk_read_tail_seconds",
     "99th percentile of reads of 256 KiB and more in the last 10 s, scaled to 1 MiB, of the "
     "slowest "
     "device"},
    {"disk_errors_total", "failed requests to devices"},
    {"disk_read_bytes_total", "bytes read from devices"},
    {"disk_reads_aborted_total", "reads that overlapped a reclaim and were looked up again"},
    {"disk_reads_joined_total", "Gets that shared a read already under way"},
    {"disk_reads_repeated_total", "reads done again because the bytes did not verify"},
    {"disk_reads_total", "reads of blocks"},
    {"disk_requests_in_flight", "requests in the kernel"},
    {"disk_requests_queued", "requests that wait for it: the queue depth"},
    {"disk_requests_queued_flush", "of these, writes of new values"},
    {"disk_requests_queued_read", "of these, reads that calls wait for"},
    {"disk_requests_queued_reinsert", "of these, of reclaim"},
    {"disk_requests_queued_scrub", "of these, of checks in the background"},
    {"disk_written_bytes_total", "bytes written to devices, all kinds"},
    {"recovery_dropped_total", "recovered records that could not be kept"},
};

constexpr Metric kLog[] = {
    {"log_append_aborted_total", "appends given up at a stop"},
    {"log_append_failures_total", "appends that failed"},
    {"log_appended_records_total", "values appended"},
    {"log_appended_tombstones_total", "tombstones appended"},
    {"log_batches_total", "batches written"},
    {"log_corrupt_footers_total", "footers that did not verify"},
    {"log_corrupt_headers_total", "segment headers that did not verify"},
    {"log_corrupt_records_total", "records that did not verify"},
    {"log_dropped_records_total", "records that reclaim dropped"},
    {"log_dropped_tombstones_total", "tombstones that nothing older was left for"},
    {"log_footer_bytes_total", "bytes of footers"},
    {"log_padding_bytes_total", "bytes of padding"},
    {"log_page_bytes_total", "bytes of batch pages"},
    {"log_payload_bytes_total", "bytes of payload"},
    {"log_read_aborted_total", "reads of a segment that was being reclaimed"},
    {"log_reads_refused_slow_total", "reads that a slow device could not have done in time"},
    {"log_read_bytes_total", "payload bytes read"},
    {"log_read_errors_total", "reads that failed"},
    {"log_reads_total", "payload reads"},
    {"log_reclaim_failures_total", "reclaims that failed"},
    {"log_reclaims_asked_total", "segments reclaimed because the index was full"},
    {"log_reclaimed_segments_total", "segments reclaimed"},
    {"log_reemitted_tombstones_total", "tombstones written again"},
    {"log_reinserted_bytes_total", "bytes written again at reclaim"},
    {"log_reinserted_records_total", "records written again at reclaim"},
    {"log_seal_failures_total", "seals that failed"},
    {"log_seals_total", "segments sealed"},
    {"log_segment_header_bytes_total", "bytes of segment headers"},
    {"log_segments_closing", "segments that take no more records"},
    {"log_segments_free", "segments free"},
    {"log_segments_open", "segments being filled"},
    {"log_segments_sealed", "segments sealed now"},
    {"log_segments_sealing", "segments being sealed"},
    {"log_syncs_total", "fdatasyncs"},
    {"log_tombstones_live", "tombstones that still matter"},
    {"log_torn_batches_total", "batches cut by a crash"},
    {"log_torn_records_total", "records cut by a crash"},
    {"log_ttl_dropped_total", "records with a TTL that could not be judged after a boot"},
    {"log_write_amplification", "bytes written over payload bytes stored"},
    {"log_write_queue_bytes", "payload that waits to be written"},
};

constexpr Metric kReclaim[] = {
    {"reclaim_forgotten_total", "records dropped with their segment"},
    {"reclaim_judged_total", "records looked at when a segment was reclaimed"},
    {"reclaim_pinned_total", "of these, kept because of a pin"},
    {"reclaim_wanted_total", "of these, worth writing again"},
};

constexpr Metric kCheckpoint[] = {
    {"rocksdb_bytes_written_total", "bytes of the checkpoint"},
    {"rocksdb_errors_total", "failures of the checkpoint: the log goes on without it"},
    {"rocksdb_reads_total", "reads, at start only"},
    {"rocksdb_rebuilds_total", "checkpoints made again from footers"},
    {"rocksdb_writes_total", "checkpoint writes"},
};

constexpr Metric kHintsOfClients[] = {
    {"hints_finished_total", "calls that said that their request is finished"},
    {"hints_output_tokens_total", "output tokens told"},
    {"hints_prompt_tokens_total", "prompt tokens told"},
    {"hints_turns_total", "turn numbers, summed"},
};

constexpr Metric kGrpcDoor[] = {
    {"door_refusals_paused_total", "refusals for want of a token that were kept back for a second"},
    {"door_tokens", "tokens that are valid now (`--tokens-file`)"},
    {"door_tokens_missing_total", "calls and clients that showed no token"},
    {"door_tokens_reload_failures_total",
     "reloads of the tokens that were refused: the log says why"},
    {"door_tokens_wrong_total", "calls and clients that showed a token that is not valid there"},
    {"grpc_offer_keys_refused_total",
     "keys of Offers that answered NOT_ADMITTED: no room in the receive budget"},
    {"grpc_set_bytes_handled", "bytes of Set messages that are being handled"},
    {"grpc_set_bytes_promised",
     "bytes that tickets of Offers may still send; with those above under `--receive-bytes`"},
    {"grpc_sets_refused_total", "Sets without a ticket that were refused above the receive budget"},
    {"grpc_unknown_tickets_total",
     "Sets under a ticket that the door did not give or that ended: stored as without one"},
    {"grpc_unsent_bytes",
     "pool bytes in answers that gRPC has not sent yet; what a door may not add answers NOT_SENT"},
};

constexpr Metric kLocalDoor[] = {
    {"local_calls_overloaded_total", "calls refused: too many in flight"},
    {"local_clients", "clients now"},
    {"local_clients_refused_total", "clients refused"},
    {"local_clients_total", "clients so far"},
    {"local_committed_bytes_total", "bytes committed"},
    {"local_committed_values_total", "values committed"},
    {"local_copied_out_bytes_total", "bytes copied out"},
    {"local_copied_out_values_total", "values copied out: below 64 KiB"},
    {"local_lease_bytes", "pool bytes under lease"},
    {"local_leased_values_total", "values leased"},
    {"local_leases", "leases now"},
    {"local_leases_expired_total", "leases that ran out"},
    {"local_leases_total", "leases so far"},
    {"local_messages_in_total", "messages received"},
    {"local_messages_malformed_total", "messages that broke the protocol"},
    {"local_messages_out_total", "messages sent"},
    {"local_reply_queue_overflows_total", "clients closed because they did not read"},
    {"local_request_bytes", "memory of requests in flight"},
    {"local_staging_bytes", "staging given to clients, now"},
    {"local_staging_granted_bytes_total",
     "staging given to clients: at their greeting and when they asked for more"},
    {"local_staging_refused_bytes_total", "staging that was needed and not given"},
    {"local_staging_refused_total",
     "times that a client needed more staging and got none: it drops what it wanted to store"},
};

constexpr Metric kRequests[] = {
    {"requests_Delete_total", "calls of Delete"},
    {"requests_Explain_total", "calls of Explain"},
    {"requests_Get_total", "calls of Get"},
    {"requests_Hello_total", "calls of Hello"},
    {"requests_Lookup_total", "calls of Lookup"},
    {"requests_Offer_total", "calls of Offer"},
    {"requests_Open_total", "calls of Open"},
    {"requests_Pin_total", "calls of Pin"},
    {"requests_Requests_total", "calls of Requests"},
    {"requests_Scan_total", "calls of Scan"},
    {"requests_Set_total", "calls of Set"},
    {"requests_Stats_total", "calls of Stats"},
    {"requests_Touch_total", "calls of Touch"},
    {"requests_Unpin_total", "calls of Unpin"},
};

constexpr Metric kNamespaces[] = {
    {"namespaces_without_hits",
     "namespaces that asked for 1,000 keys or more and found none, while another of the tenant "
     "found or stored blocks; the log names the field in which they differ"},
};

constexpr MetricSection kSections[] = {
    {"Requests through all doors",
     "By `Admin.Stats` only; scraped as `kvgate_requests_total` above.", kRequests},
    {"Namespaces", "", kNamespaces},
    {"Get", "", kGet},
    {"Set", "", kSet},
    {"Lookup", "", kLookup},
    {"Memory", "", kMemory},
    {"Pins and tickets", "", kPinsAndTickets},
    {"Evictions and lifetime", "", kEvictionsAndLifetime},
    {"Index and calls", "", kIndexAndCalls},
    {"Disk", "", kDisk},
    {"Log", "", kLog},
    {"Reclaim", "", kReclaim},
    {"Checkpoint", "", kCheckpoint},
    {"Hints of clients",
     "Sums over the Touch and Set calls that carried them; nothing depends on them.",
     kHintsOfClients},
    {"gRPC door", "", kGrpcDoor},
    {"Local door", "", kLocalDoor},
};

constexpr char kPageHead[] = R"(# Metrics

This page is printed by `kvgated metrics`.

Prometheus text at `http://127.0.0.1:PORT/metrics`; the port stands in the ready line and in
`<run directory>/metrics.port`. The same counters, without labels, are answered by `Admin.Stats`
under the names below; scraped, each has `kvgate_` in front. A name is API: it is deprecated for one
release before it goes.

Three questions, as Prometheus answers them:

```
sum(rate(kvgate_hits_total[5m]))
  / (sum(rate(kvgate_hits_total[5m])) + sum(rate(kvgate_misses_total[5m])))
rate(kvgate_tokens_saved_total[5m])
histogram_quantile(0.99, sum by (le, rpc) (rate(kvgate_request_seconds_bucket[5m])))
```

Whether a client's breaker is open, the daemon cannot see. The vLLM connector says so on vLLM's own
page: `vllm:kvgate_connector_breaker_state{role="scheduler"}` (and `worker`) is 0 closed, 1 half-open,
2 open; `vllm:kvgate_connector_total{what="breaker_opens"}` counts, `what="breaker_opens_no_gateway"` and
its like say why, and `what="load_miss_unavailable"` rises while there is no gateway.

## With labels (scraped only)

| name | kind | labels | what |
|---|---|---|---|
)";

}  // namespace

std::span<const MetricFamily> MetricFamilies() { return kFamilies; }
std::span<const MetricSection> MetricSections() { return kSections; }

const char* MetricHelp(std::string_view name) {
  static const auto* const help = [] {
    auto* map = new std::map<std::string_view, const char*>();
    for (const MetricSection& section : kSections) {
      for (const Metric& metric : section.metrics) (*map)[metric.name] = metric.help;
    }
    for (const MetricFamily& family : kFamilies) (*map)[family.name] = family.help;
    return map;
  }();
  const auto found = help->find(name);
  return found == help->end() ? "" : found->second;
}

bool IsCounter(std::string_view name) { return absl::EndsWith(Sv(name), "_total"); }

std::string MetricsMarkdown() {
  std::string page = kPageHead;
  for (const MetricFamily& family : kFamilies) {
    absl::StrAppend(&page, "| `", family.name, "` | ", family.kind, " | ", family.labels, " | ",
                    family.help, " |\n");
  }
  for (const MetricSection& section : kSections) {
    absl::StrAppend(&page, "\n## ", section.title, "\n\n");
    if (*section.note != '\0') absl::StrAppend(&page, section.note, "\n\n");
    absl::StrAppend(&page, "| name | kind | what |\n|---|---|---|\n");
    for (const Metric& metric : section.metrics) {
      absl::StrAppend(&page, "| `", metric.name, "` | ",
                      IsCounter(metric.name) ? "counter" : "gauge", " | ", metric.help, " |\n");
    }
  }
  return page;
}

}  // namespace kvgate::gateway
