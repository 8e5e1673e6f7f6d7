// SPDX-License-Identifier: Apache-2.0
//
// LogImpl: the Log of log.h, put together from its parts. Order of construction is the order of
// dependence; the destructor stops reclaim, writer and sealer, ends the disks, and only then frees
// what their callbacks used. Thread-safe, as Log.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "storage/log/log.h"
#include "storage/log/log_context.h"
#include "storage/log/log_writer.h"
#include "storage/log/reclaimer.h"
#include "storage/log/recovery.h"
#include "storage/log/sealer.h"

namespace kvgate::storage {

class LogImpl final : public Log {
 public:
  explicit LogImpl(std::unique_ptr<LogContext> context);
  ~LogImpl() override;

  absl::Status Prepare() override;
  absl::Status Load(const RecoverSink& sink) override;
  void StopLoading() override { stop_loading_ = true; }
  std::vector<NamespaceRecord> Namespaces() const override;
  absl::Status PutNamespace(const NamespaceRecord& record) override;
  uint32_t NextNamespaceId() override;
  void Append(AppendRequest request) override;
  void Read(Place place, uint32_t length, std::span<std::byte> buffer, absl::Time deadline,
            IoDone done) override;
  absl::StatusOr<std::string> ReadKey(Place place, const wire::Hash128& hash) override;
  void ReclaimSoon() override { reclaimer_.Ask(); }
  void RegisterBuffer(std::span<std::byte> memory) override;
  absl::Status Flush(bool seal, absl::Duration limit) override;
  LogFacts facts() const override;
  PlaceName NameOf(Place place) const override { return context_->NameOf(place); }
  double predicted_read_ms(uint64_t bytes) const override;
  double read_bytes_per_s() const override { return read_bytes_per_ms_.load() * 1000; }
  void VisitCounters(
      const std::function<void(std::string_view name, double value)>& visitor) const override;

 private:
  // Where the batches of the segment that ReadKey last looked at begin.
  struct BatchMap {
    uint32_t segment = 0;
    uint64_t lap = 0;
    std::vector<uint32_t> first_pages;
  };

  void EndRead(LogDevice* device, Place place, uint64_t lap, uint64_t bytes, absl::Time began,
               absl::Status status, const IoDone& done);
  void Measure(uint64_t bytes, absl::Duration took);
  absl::StatusOr<uint32_t> BatchOf(SegmentId id, uint64_t lap, uint32_t page);

  // Self-synchronised.
  const std::unique_ptr<LogContext> context_;
  Sealer sealer_;
  LogWriter writer_;
  Reclaimer reclaimer_;
  std::atomic<bool> prepared_{false}, recovered_{false}, stop_loading_{false};
  std::atomic<uint64_t> read_bytes_in_flight_{0};
  std::atomic<double> read_bytes_per_ms_{1e6};  // of reads of 256 KiB and more
  std::atomic<double> read_base_ms_{0.2};       // of smaller ones
  // Written by Prepare, constant afterwards.
  uint32_t cache_seconds_ = 0;
  uint64_t records_expected_ = 0;
  bool namespaces_known_ = false;
  std::unique_ptr<Recovery> recovery_;  // from Prepare to the end of Load

  absl::Mutex map_mutex_;
  BatchMap batch_map_ ABSL_GUARDED_BY(map_mutex_);
};

}  // namespace kvgate::storage
