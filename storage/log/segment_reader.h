// SPDX-License-Identifier: Apache-2.0
//
// Reading what a segment says about itself: header, footer, the walk over its batches, and a
// payload with its checksum. Blocking; for recovery, reclaim and tools, never for Get.
// Free functions over a LogDevice; thread-safe.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/wire/checksum.h"
#include "storage/base/aligned_buffer.h"
#include "storage/log/device_set.h"
#include "storage/log/format.h"

namespace kvgate::storage {

// DATA_LOSS when it is damaged or another segment's; other codes: the device.
absl::StatusOr<SegmentHeader> ReadSegmentHeader(const LogDevice& device, uint32_t segment);
absl::Status WriteSegmentHeader(const LogDevice& device, const SegmentHeader& header);

// The footer of this segment, whatever its lap. Errors as above.
absl::StatusOr<Footer> ReadFooter(const LogDevice& device, uint32_t segment);
absl::Status CheckFooterPlace(const Footer& footer, const LogDevice& device, uint32_t segment);
absl::Status WriteFooter(const LogDevice& device, uint32_t segment, std::string_view image);
// Makes the footer unreadable.
absl::Status EraseFooter(const LogDevice& device, uint32_t segment);

// The batch that begins at `page`; DATA_LOSS when there is none of this segment.
absl::StatusOr<Batch> ReadBatch(const LogDevice& device, uint32_t segment, uint32_t page);

struct WalkEnd {
  uint32_t next_page = 1;  // after the last batch
  uint64_t sequence = 0, last_batch_seq = 0, incarnation = 0;
  uint32_t batches = 0;
};
// Batches of one lap in order, from page 1 until the first page that does not continue the chain
// (blank, damaged or unreadable, another lap, incarnation, sequence or predecessor). `visit` may
// return false to stop early. Not OK only for a batch of a later format.
absl::StatusOr<WalkEnd> WalkSegment(const LogDevice& device, uint32_t segment, uint64_t lap,
                                    const std::function<bool(const Batch&)>& visit);

// Whether `payload`, whole pages, is this record's: padding and block checksum; else DATA_LOSS.
absl::Status VerifyPayload(const LogDevice& device, uint32_t segment, const LogRecord& record,
                           std::string_view key, const wire::NsDigest& ns_digest,
                           std::span<const std::byte> payload);

// Reads all payloads of a batch of several records into `buffer`, as they lie from the batch's
// payload on. False: a batch of one, or not all of it can be read; single records may still be.
bool ReadPayloads(const LogDevice& device, uint32_t segment, const Batch& batch,
                  AlignedBuffer* buffer);

// Reads the payload into `buffer` (resized as needed) and checks padding and block checksum:
// DATA_LOSS when they do not match.
absl::Status ReadVerified(const LogDevice& device, uint32_t segment, const LogRecord& record,
                          std::string_view key, const wire::NsDigest& ns_digest, IoClass io_class,
                          AlignedBuffer* buffer);

}  // namespace kvgate::storage
