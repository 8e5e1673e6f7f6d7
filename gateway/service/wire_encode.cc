// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/wire_encode.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/fixed_array.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"
#include "proto/wire/checksum.h"
#include "proto/wire/key.h"

namespace kvgate::gateway {
namespace {

using storage::GetState;

constexpr char kResultsTag = 1 << 3 | 2;  // GetResponse.results
constexpr char kValuesTag = 2 << 3 | 2;   // GetResponse.values

void AppendVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

struct ResultFields {
  GetState state = GetState::kMiss;
  uint64_t value_bytes = 0;
  uint32_t crc32c = 0;
  storage::Tier tier = storage::Tier::kNone;
};

// At most 19 bytes, so the length is one byte.
void AppendResult(const ResultFields& fields, std::string* out) {
  std::string body;
  body.push_back(1 << 3);
  AppendVarint(static_cast<uint64_t>(fields.state), &body);
  if (fields.value_bytes != 0) {
    body.push_back(2 << 3);
    AppendVarint(fields.value_bytes, &body);
  }
  if (fields.crc32c != 0) {
    body.push_back(3 << 3 | 5);
    char little[4];
    std::memcpy(little, &fields.crc32c, sizeof(little));
    body.append(little, sizeof(little));
  }
  if (fields.tier != storage::Tier::kNone) {
    body.push_back(4 << 3);
    AppendVarint(static_cast<uint64_t>(fields.tier), &body);
  }
  out->push_back(kResultsTag);
  AppendVarint(body.size(), out);
  out->append(body);
}

// What a slice over pool memory holds until it is sent.
struct Unsent {
  storage::BlockRef block;
  UnsentGauge gauge;
  int64_t bytes;
};

void GiveBack(void* user_data) {
  const std::unique_ptr<Unsent> unsent(static_cast<Unsent*>(user_data));
  unsent->gauge->Add(-unsent->bytes);
}

grpc::Slice BlockSlice(const storage::BlockRef& block, std::span<const std::byte> bytes,
                       const UnsentGauge& gauge) {
  const auto size = static_cast<int64_t>(bytes.size());
  gauge->Add(size);
  auto unsent = std::make_unique<Unsent>(Unsent{block, gauge, size});
  // gRPC only reads from it: the interface takes a pointer to mutable memory for history's sake.
  void* memory = const_cast<std::byte*>(bytes.data());
  return grpc::Slice(memory, bytes.size(), &GiveBack, unsent.release());
}

// Empty when the range ends beyond the value.
std::span<const std::byte> Range(std::span<const std::byte> value,
                                 const EncodeGetOptions& options) {
  if (options.range_bytes == 0) return value;
  if (options.range_offset > value.size() ||
      options.range_bytes > value.size() - options.range_offset) {
    return {};
  }
  return value.subspan(options.range_offset, options.range_bytes);
}

}  // namespace

uint64_t PayloadBytes(std::span<const storage::GetResult> results,
                      const EncodeGetOptions& options) {
  if (options.no_payload) return 0;
  uint64_t bytes = 0;
  for (const storage::GetResult& result : results) {
    if (result.state != GetState::kOk) continue;
    bytes += options.range_bytes != 0 ? options.range_bytes : result.block.bytes().size();
    if (bytes >= options.payload_bytes_max) return options.payload_bytes_max;
  }
  return bytes;
}

uint64_t EncodeGetResponse(std::span<const storage::GetResult> results,
                           const EncodeGetOptions& options, const UnsentGauge& unsent,
                           grpc::ByteBuffer* message) {
  std::string head;
  std::vector<std::pair<const storage::BlockRef*, std::span<const std::byte>>> values;
  uint64_t payload_bytes = 0;
  bool full = false;
  for (const storage::GetResult& result : results) {
    ResultFields fields{.state = result.state};
    if (result.state == GetState::kOk) {
      const std::span<const std::byte> bytes = Range(result.block.bytes(), options);
      const bool beyond = bytes.empty();
      full =
          full || (!options.no_payload && bytes.size() > options.payload_bytes_max - payload_bytes);
      fields.state = beyond ? GetState::kMiss : full ? GetState::kNotSent : GetState::kOk;
      fields.tier = result.tier;
      if (fields.state == GetState::kOk) {
        fields.value_bytes = bytes.size();
        fields.crc32c = bytes.size() == result.block.bytes().size()
                            ? result.block.value_crc()
                            : wire::Crc32c(0, bytes.data(), bytes.size());
        if (!options.no_payload) {
          values.emplace_back(&result.block, bytes);
          payload_bytes += bytes.size();
        }
      }
    }
    AppendResult(fields, &head);
  }

  // On the stack: for a full batch it has just over 64 KiB.
  absl::FixedArray<grpc::Slice, 1 + 2 * wire::kKeysMax> slices(1 + 2 * values.size());
  slices[0] = grpc::Slice(head.data(), head.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const auto& [block, bytes] = values[i];
    std::string header(1, kValuesTag);
    AppendVarint(bytes.size(), &header);
    slices[1 + 2 * i] = grpc::Slice(header.data(), header.size());
    slices[2 + 2 * i] = BlockSlice(*block, bytes, unsent);
  }
  *message = grpc::ByteBuffer(slices.data(), slices.size());
  return payload_bytes;
}

}  // namespace kvgate::gateway
