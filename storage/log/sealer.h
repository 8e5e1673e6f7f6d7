// SPDX-License-Identifier: Apache-2.0
//
// Sealer: ends segments, in this order: batches complete, fdatasync, footer, fdatasync, checkpoint.
// A segment of which a sync failed gets no footer: it stays readable, and after a crash only the
// walk vouches for it.
// Threads: thread-safe; owns the thread "kv-log-seal". Stop (and the destructor) joins; what was
// not sealed by then is recovered by the walk. Writes in flight must be able to end meanwhile.
#pragma once

#include <deque>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/log/log_context.h"
#include "storage/log/open_segment.h"

namespace kvgate::storage {

// Fdatasync, footer, fdatasync, checkpoint. A failure of the checkpoint alone is counted, not
// returned: the footer suffices.
absl::Status WriteSeal(LogContext* context, SegmentId id, std::string_view image);

class Sealer {
 public:
  explicit Sealer(LogContext* context) : context_(context) {}
  ~Sealer() { Stop(); }

  void Start();
  void Stop();
  void Add(std::shared_ptr<OpenSegment> segment);
  // Until all segments added before are sealed; the first error since the last call.
  absl::Status WaitIdle(absl::Time deadline);

 private:
  void Run();
  absl::Status Seal(OpenSegment& segment);

  LogContext* const context_;
  absl::Mutex mutex_;
  std::deque<std::shared_ptr<OpenSegment>> queue_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace kvgate::storage
