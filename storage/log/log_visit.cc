// SPDX-License-Identifier: Apache-2.0
//
// The log's counters under their names in docs/metrics.
#include <algorithm>
#include <array>

#include "storage/log/log_impl.h"

namespace kvgate::storage {

void LogImpl::VisitCounters(
    const std::function<void(std::string_view name, double value)>& visitor) const {
  const LogCounters& c = context_->counters;
  const auto say = [&](std::string_view name, uint64_t value) {
    visitor(name, static_cast<double>(value));
  };
  say("log_appended_records_total", c.appended_records);
  say("log_appended_tombstones_total", c.appended_tombstones);
  say("log_append_failures_total", c.append_failures);
  say("log_append_aborted_total", c.append_aborted);
  say("log_payload_bytes_total", c.payload_bytes);
  say("log_padding_bytes_total", c.padding_bytes);
  say("log_page_bytes_total", c.page_bytes);
  say("log_footer_bytes_total", c.footer_bytes);
  say("log_segment_header_bytes_total", c.header_bytes);
  say("log_reinserted_bytes_total", c.reinserted_bytes);
  say("log_batches_total", c.batches);
  say("log_syncs_total", c.syncs);
  say("log_seals_total", c.seals);
  say("log_seal_failures_total", c.seal_failures);
  say("log_reclaimed_segments_total", c.reclaimed_segments);
  say("log_reinserted_records_total", c.reinserted_records);
  say("log_reemitted_tombstones_total", c.reemitted_tombstones);
  say("log_dropped_tombstones_total", c.dropped_tombstones);
  say("log_dropped_records_total", c.dropped_records);
  say("log_reclaim_failures_total", c.reclaim_failures);
  say("log_reclaims_asked_total", c.reclaims_asked);
  say("log_reads_total", c.reads);
  say("log_read_bytes_total", c.read_bytes);
  say("log_read_errors_total", c.read_errors);
  say("log_read_aborted_total", c.read_aborted);
  say("log_reads_refused_slow_total", c.reads_refused_slow);
  say("log_torn_batches_total", c.torn_batches);
  say("log_torn_records_total", c.torn_records);
  say("log_corrupt_records_total", c.corrupt_records);
  say("log_corrupt_footers_total", c.corrupt_footers);
  say("log_corrupt_headers_total", c.corrupt_headers);
  say("log_ttl_dropped_total", c.ttl_dropped);
  say("rocksdb_reads_total", c.rocksdb_reads);
  say("rocksdb_writes_total", c.rocksdb_writes);
  say("rocksdb_bytes_written_total", c.rocksdb_bytes_written);
  say("rocksdb_errors_total", c.rocksdb_errors);
  say("rocksdb_rebuilds_total", c.rocksdb_rebuilds);

  const SegmentTable& table = context_->table;
  say("log_segments_free", table.CountIn(SegmentState::kFree));
  say("log_segments_open", table.CountIn(SegmentState::kOpen));
  say("log_segments_sealing", table.CountIn(SegmentState::kSealing));
  say("log_segments_sealed", table.CountIn(SegmentState::kSealed));
  say("log_segments_closing", table.CountIn(SegmentState::kClosing));
  say("log_tombstones_live", table.Tombstones());
  say("log_write_queue_bytes", writer_.queued_bytes());
  uint64_t queued = 0, in_flight = 0, written = 0, errors = 0, offline = 0, read_only = 0, slow = 0;
  double p99_ms = 0;
  std::array<uint64_t, kIoClasses> queued_in{};
  for (const auto& device : context_->set.devices) {
    const DiskStats stats = device->disk->stats();
    queued += stats.queued;
    for (int c = 0; c < kIoClasses; ++c) queued_in[c] += stats.queued_in[c];
    in_flight += stats.in_flight;
    written += stats.written_bytes;
    errors += stats.errors;
    offline += device->health.offline();
    read_only += device->health.read_only();
    const absl::Time now = context_->clock->Now();
    slow += device->latency.gray(now);
    p99_ms = std::max(p99_ms, absl::ToDoubleMilliseconds(device->latency.p99(now)));
  }
  say("disk_requests_queued", queued);
  say("disk_requests_queued_read", queued_in[static_cast<size_t>(IoClass::kRead)]);
  say("disk_requests_queued_flush", queued_in[static_cast<size_t>(IoClass::kFlush)]);
  say("disk_requests_queued_reinsert", queued_in[static_cast<size_t>(IoClass::kReinsert)]);
  say("disk_requests_queued_scrub", queued_in[static_cast<size_t>(IoClass::kScrub)]);
  say("disk_requests_in_flight", in_flight);
  say("disk_written_bytes_total", written);
  say("disk_errors_total", errors);
  say("disk_devices_offline", offline);
  say("disk_devices_read_only", read_only);
  say("disk_devices_slow", slow);
  visitor("disk_read_tail_seconds", p99_ms / 1000);
  // All bytes written for a byte of a caller's value; those of RocksDB count too.
  const double payload = static_cast<double>(c.payload_bytes.load());
  const double all =
      static_cast<double>(c.payload_bytes + c.padding_bytes + c.page_bytes + c.footer_bytes +
                          c.header_bytes + c.reinserted_bytes + c.rocksdb_bytes_written);
  visitor("log_write_amplification", payload > 0 ? all / payload : 0);
}

}  // namespace kvgate::storage
