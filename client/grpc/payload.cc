// SPDX-License-Identifier: Apache-2.0
#include "client/grpc/payload.h"

#include <grpcpp/support/byte_buffer.h>

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "client/grpc/connection.h"
#include "client/grpc/slice_cursor.h"
#include "proto/kvgate/v1/kvgate.pb.h"
#include "proto/wire/checksum.h"

namespace kvgate::client {
namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

constexpr uint32_t kSetValuesField = v1::SetRequest::kValuesFieldNumber;
constexpr uint32_t kGetResultsField = v1::GetResponse::kResultsFieldNumber;
constexpr uint32_t kGetValuesField = v1::GetResponse::kValuesFieldNumber;
// Copied between two looks at the clock: 100 microseconds of memory bandwidth.
constexpr size_t kCopyStepBytes = 1 << 20;
constexpr uint64_t kResultBytesMax = 256;

void AppendVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

uint64_t PiecesBytes(ConstPieces pieces) {
  uint64_t bytes = 0;
  for (const auto& piece : pieces) bytes += piece.size();
  return bytes;
}

grpc::Slice ReferTo(const std::span<const std::byte> piece, SharedBlocks::Memory memory) {
  auto holder = std::make_unique<SharedBlocks::Memory>(std::move(memory));
  const auto release = [](void* held) {
    std::unique_ptr<SharedBlocks::Memory>{static_cast<SharedBlocks::Memory*>(held)};
  };
  // gRPC only reads a slice that it sends.
  return grpc::Slice(const_cast<std::byte*>(piece.data()), piece.size(), release, holder.release());
}

grpc::Slice CopyOf(ConstPieces pieces, uint64_t bytes) {
  grpc::Slice slice(grpc_slice_malloc_large(bytes), grpc::Slice::STEAL_REF);
  auto* out = const_cast<uint8_t*>(slice.begin());
  for (const auto& piece : pieces) {
    std::memcpy(out, piece.data(), piece.size());
    out += piece.size();
  }
  return slice;
}

Reason ReasonOfState(v1::GetState state) {
  switch (state) {
    case v1::GET_STATE_OK:
      return Reason::kOk;
    case v1::GET_STATE_MISS:
      return Reason::kNotHeld;
    case v1::GET_STATE_NOT_READY:
      return Reason::kNotReady;
    case v1::GET_STATE_NOT_SENT:
      return Reason::kNotSent;
    case v1::GET_STATE_UNPINNED:
      return Reason::kUnpinned;
    case v1::GET_STATE_STALE_TOKEN:
      return Reason::kStaleToken;
    case v1::GET_STATE_CORRUPT:
      return Reason::kCorrupt;
    case v1::GET_STATE_IO_ERROR:
      return Reason::kIoError;
    default:
      return Reason::kInternal;
  }
}

// The walk over a GetResponse. Values belong to OK results in order.
class GetReader {
 public:
  GetReader(SliceCursor& cursor, Deadline deadline, std::span<const Pieces> targets,
            std::span<const uint8_t> verify, std::span<GetResult> results)
      : cursor_(cursor),
        deadline_(deadline),
        targets_(targets),
        verify_(verify),
        results_(results),
        stated_(results.size(), GetResult{.reason = Reason::kInternal}) {}

  // Null when all is well, or what is wrong.
  const char* Read();

 private:
  const char* ReadField(uint32_t field, uint32_t type);
  const char* ReadResult(uint64_t bytes);
  const char* ReadValue(uint64_t bytes);
  Reason CopyValue(uint64_t bytes, size_t index);
  void NextOk();

  SliceCursor& cursor_;
  const Deadline deadline_;
  const std::span<const Pieces> targets_;
  const std::span<const uint8_t> verify_;
  const std::span<GetResult> results_;
  std::vector<GetResult> stated_;  // as the server said; results_ has what came of it
  size_t results_read_ = 0;
  size_t next_value_ = 0;  // index of the result whose value comes next
  bool late_ = false;
};

const char* GetReader::Read() {
  while (cursor_.left() > 0) {
    uint64_t tag = 0;
    if (!cursor_.ReadVarint(&tag) || tag >> 3 == 0 || tag >> 32 != 0) return "a bad tag";
    const char* wrong = ReadField(static_cast<uint32_t>(tag >> 3), tag & 7);
    if (wrong != nullptr) return wrong;
  }
  if (results_read_ != results_.size()) return "not one result for each key";
  NextOk();
  if (next_value_ != results_.size()) return "a value is missing";
  return nullptr;
}

const char* GetReader::ReadField(uint32_t field, uint32_t type) {
  uint64_t number = 0;
  switch (type) {
    case kVarint:
      return cursor_.ReadVarint(&number) ? nullptr : "a short varint";
    case kFixed64:
      return cursor_.Skip(8) ? nullptr : "a short fixed64";
    case kFixed32:
      return cursor_.Skip(4) ? nullptr : "a short fixed32";
    case kBytes:
      break;
    default:
      return "an unknown wire type";
  }
  if (!cursor_.ReadVarint(&number) || number > cursor_.left())
    return "a field longer than the rest";
  if (field == kGetResultsField) return ReadResult(number);
  if (field == kGetValuesField) return ReadValue(number);
  cursor_.Skip(number);  // a field of a later version
  return nullptr;
}

const char* GetReader::ReadResult(uint64_t bytes) {
  if (results_read_ == results_.size()) return "more results than keys";
  if (bytes > kResultBytesMax) return "a result too long";
  std::string text;
  v1::GetResult result;
  if (!cursor_.Read(bytes, &text) || !result.ParseFromString(text)) return "a bad result";
  GetResult& stated = stated_[results_read_++];
  stated.reason = ReasonOfState(result.state());
  stated.tier = static_cast<uint8_t>(result.tier());
  stated.value_bytes = result.value_bytes();
  stated.crc32c = result.crc32c();
  // OK is said only once the value has arrived.
  GetResult& shown = results_[results_read_ - 1];
  shown = stated;
  if (stated.reason == Reason::kOk) shown.reason = Reason::kInternal;
  return nullptr;
}

// Moves next_value_ to the next OK result.
void GetReader::NextOk() {
  while (next_value_ < results_read_ && stated_[next_value_].reason != Reason::kOk) ++next_value_;
}

const char* GetReader::ReadValue(uint64_t bytes) {
  NextOk();
  if (next_value_ == results_read_) return "a value without a result";
  const size_t index = next_value_++;
  if (bytes != stated_[index].value_bytes) return "a value of another length than its result says";
  results_[index].reason = CopyValue(bytes, index);
  return nullptr;
}

// Consumes the value, whatever becomes of it.
Reason GetReader::CopyValue(uint64_t bytes, size_t index) {
  uint64_t room = 0;
  for (const auto& piece : targets_[index]) room += piece.size();
  late_ = late_ || MonotonicNow() >= deadline_;
  if (late_ || room != bytes) {
    cursor_.Skip(bytes);
    return late_ ? Reason::kDeadline : Reason::kWrongSize;
  }
  uint32_t crc = 0;
  uint64_t left = bytes;
  size_t unchecked = 0;  // bytes since the last look at the clock
  for (const auto& piece : targets_[index]) {
    for (size_t at = 0; at < piece.size();) {
      size_t given = 0;
      const uint8_t* data = cursor_.Next(std::min(piece.size() - at, kCopyStepBytes), &given);
      crc = verify_[index] != 0 ? wire::CopyCrc32c(crc, piece.data() + at, data, given)
                                : (std::memcpy(piece.data() + at, data, given), 0u);
      at += given;
      left -= given;
      unchecked += given;
      if (unchecked < kCopyStepBytes) continue;
      unchecked = 0;
      late_ = MonotonicNow() >= deadline_;
      if (!late_) continue;
      cursor_.Skip(left);
      return Reason::kDeadline;
    }
  }
  if (verify_[index] != 0 && crc != stated_[index].crc32c) return Reason::kChecksum;
  return Reason::kOk;
}

}  // namespace

grpc::ByteBuffer BuildSetMessage(const std::string& head, std::span<const SetEntry> entries,
                                 const SharedBlocks& blocks) {
  std::vector<grpc::Slice> slices;
  std::string small = head;
  for (const SetEntry& entry : entries) {
    const uint64_t bytes = PiecesBytes(entry.value);
    AppendVarint(kSetValuesField << 3 | kBytes, &small);
    AppendVarint(bytes, &small);
    if (bytes == 0) continue;
    slices.emplace_back(small);
    small.clear();
    SharedBlocks::Memory memory;
    if (entry.value.size() == 1) memory = blocks.Find(entry.value[0].data(), bytes);
    slices.push_back(memory ? ReferTo(entry.value[0], std::move(memory))
                            : CopyOf(entry.value, bytes));
  }
  if (!small.empty()) slices.emplace_back(small);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

Outcome ReadGetMessage(const grpc::ByteBuffer& message, Deadline deadline,
                       std::span<const Pieces> targets, std::span<const uint8_t> verify,
                       std::span<GetResult> results) {
  std::vector<grpc::Slice> slices;
  const grpc::Status dumped = message.Dump(&slices);
  const char* wrong = "slices that cannot be read";
  if (dumped.ok()) {
    std::vector<std::span<const uint8_t>> views;
    views.reserve(slices.size());
    for (const grpc::Slice& slice : slices) views.emplace_back(slice.begin(), slice.size());
    SliceCursor cursor(views);
    wrong = GetReader(cursor, deadline, targets, verify, results).Read();
  }
  if (wrong == nullptr) return Outcome{wire::Code::kOk, true, ""};
  return Outcome{wire::Code::kInternal, true, std::string("GetResponse has ") + wrong};
}

}  // namespace kvgate::client
