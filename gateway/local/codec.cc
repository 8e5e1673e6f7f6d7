// SPDX-License-Identifier: Apache-2.0
#include "gateway/local/codec.h"

#include <cstring>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "gateway/core/text.h"
#include "proto/wire/error_id.h"
#include "proto/wire/key.h"

namespace kvgate::gateway {
namespace {

using local::MsgHeader;

absl::Status Malformed(std::string_view field, uint64_t value, std::string_view limit) {
  return absl::InvalidArgumentError(wire::Tagged(
      wire::ErrorId::kUnreadableMessage,
      absl::StrCat("local message: ", Sv(field), ": ", value, ", must be ", Sv(limit))));
}

absl::Status AtMost(std::string_view field, uint64_t value, uint64_t limit) {
  if (value <= limit) return absl::OkStatus();
  return absl::InvalidArgumentError(
      wire::Tagged(wire::ErrorId::kUnreadableMessage,
                   absl::StrCat("local message: ", Sv(field), ": ", value, ", at most ", limit)));
}

absl::Status Exactly(std::string_view field, uint64_t value, uint64_t wanted) {
  if (value == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(
      wire::Tagged(wire::ErrorId::kUnreadableMessage,
                   absl::StrCat("local message: ", Sv(field), ": ", value, ", must be ", wanted)));
}

#define KVGATE_RETURN_IF_ERROR(expression)                \
  do {                                                    \
    if (absl::Status s = (expression); !s.ok()) return s; \
  } while (false)

// Walks bytes that are already private to us.
class Reader {
 public:
  Reader(std::string_view bytes, std::string_view what) : rest_(bytes), what_(what) {}

  template <typename T>
  absl::Status Struct(T* out) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (rest_.size() < sizeof(T)) return Short(sizeof(T));
    std::memcpy(out, rest_.data(), sizeof(T));
    rest_.remove_prefix(sizeof(T));
    return absl::OkStatus();
  }

  template <typename T>
  absl::Status Array(uint64_t count, std::vector<T>* out) {
    if (count > rest_.size() / sizeof(T)) return Short(count * sizeof(T));
    out->resize(count);
    if (count != 0) std::memcpy(out->data(), rest_.data(), count * sizeof(T));
    rest_.remove_prefix(count * sizeof(T));
    return absl::OkStatus();
  }

  absl::Status Bytes(uint64_t bytes, std::string_view* out) {
    if (bytes > rest_.size()) return Short(bytes);
    *out = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return absl::OkStatus();
  }

  // u16 length ‖ bytes, `count` times. The smallest key takes 2 bytes, which bounds the allocation.
  absl::Status Keys(uint64_t count, std::vector<std::string_view>* out) {
    if (count > rest_.size() / sizeof(uint16_t)) return Short(count * sizeof(uint16_t));
    out->resize(count);
    for (std::string_view& key : *out) {
      uint16_t bytes = 0;
      KVGATE_RETURN_IF_ERROR(Struct(&bytes));
      KVGATE_RETURN_IF_ERROR(Bytes(bytes, &key));
    }
    return absl::OkStatus();
  }

  absl::Status End() const { return Exactly(what_, rest_.size(), 0); }
  std::string_view rest() const { return rest_; }

 private:
  absl::Status Short(uint64_t needed) const {
    return absl::InvalidArgumentError(absl::StrCat("local message: ", Sv(what_), ": ", rest_.size(),
                                                   " bytes are left, ", needed, " are needed"));
  }
  std::string_view rest_;
  std::string_view what_;
};

constexpr std::string_view kLeft = "bytes left after the last field";

template <typename T>
absl::Status TakeFixed(std::string_view message, T* fixed, std::string_view* tail) {
  Reader reader(message.substr(std::min(message.size(), sizeof(MsgHeader))), kLeft);
  KVGATE_RETURN_IF_ERROR(reader.Struct(fixed));
  *tail = reader.rest();
  return absl::OkStatus();
}

absl::Status InStaging(std::string_view field, uint64_t offset, uint64_t bytes, Staging staging) {
  if (offset <= staging.size() && bytes <= staging.size() - offset) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("local message: ", Sv(field), ": offset ", offset,
                                                 " + ", bytes, " bytes, staging has ",
                                                 staging.size()));
}

// The body: the tail of the message, or one copy of a place in staging.
absl::Status TakeBody(const local::BodyRef& ref, std::string_view tail, Staging staging,
                      std::string* copy, std::string_view* body) {
  KVGATE_RETURN_IF_ERROR(AtMost("body.in_staging", ref.in_staging, 1));
  KVGATE_RETURN_IF_ERROR(AtMost("body.bytes", ref.bytes, local::kBodyBytesMax));
  if (ref.in_staging == 0) {
    KVGATE_RETURN_IF_ERROR(Exactly("body.offset", ref.offset, 0));
    KVGATE_RETURN_IF_ERROR(Exactly("bytes of the inline body", tail.size(), ref.bytes));
    *body = tail;
    return absl::OkStatus();
  }
  KVGATE_RETURN_IF_ERROR(Exactly(kLeft, tail.size(), 0));
  KVGATE_RETURN_IF_ERROR(InStaging("body", ref.offset, ref.bytes, staging));
  copy->assign(reinterpret_cast<const char*>(staging.data()) + ref.offset, ref.bytes);
  *body = *copy;
  return absl::OkStatus();
}

absl::Status CheckAnswer(std::string_view field, const local::AnswerRef& answer, Staging staging) {
  if (answer.bytes == 0) return Exactly(field, answer.offset, 0);
  return InStaging(field, answer.offset, answer.bytes, staging);
}

std::string_view UntilNul(const char* text, size_t size) { return {text, strnlen(text, size)}; }

bool AllZero(const uint8_t* bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

}  // namespace

absl::Status DecodeHeader(std::string_view message, uint16_t version, MsgHeader* header) {
  if (message.size() < sizeof(MsgHeader)) {
    return Malformed("bytes", message.size(), "at least 32");
  }
  KVGATE_RETURN_IF_ERROR(AtMost("bytes", message.size(), local::kMessageBytesMax));
  std::memcpy(header, message.data(), sizeof(*header));
  KVGATE_RETURN_IF_ERROR(Exactly("magic", header->magic, local::kMagic));
  KVGATE_RETURN_IF_ERROR(Exactly("version", header->version, version));
  KVGATE_RETURN_IF_ERROR(Exactly("bytes", header->bytes, message.size()));
  KVGATE_RETURN_IF_ERROR(Exactly("reserved", header->reserved, 0));
  const bool grows = version >= local::kVersionWithGrow;
  const local::Op last = grows ? local::Op::kGrowStaging : local::Op::kBye;
  if (header->op < static_cast<uint16_t>(local::Op::kHello) ||
      header->op > static_cast<uint16_t>(last)) {
    return Malformed("op", header->op, grows ? "1 to 15" : "1 to 14");
  }
  if (header->request_id == 0) return Malformed("request_id", 0, "above 0");
  return absl::OkStatus();
}

absl::Status Decode(std::string_view message, Staging, HelloCall* call) {
  std::string_view tail;
  KVGATE_RETURN_IF_ERROR(TakeFixed(message, &call->fixed, &tail));
  KVGATE_RETURN_IF_ERROR(
      AtMost("hello.token_bytes", call->fixed.token_bytes, local::kTokenBytesMax));
  KVGATE_RETURN_IF_ERROR(Exactly("bytes after hello", tail.size(), call->fixed.token_bytes));
  KVGATE_RETURN_IF_ERROR(Exactly("hello.features", call->fixed.features, 0));
  KVGATE_RETURN_IF_ERROR(
      AtMost("hello.staging_bytes", call->fixed.staging_bytes, local::kStagingBytesMax));
  call->client_name = UntilNul(call->fixed.client_name, sizeof(call->fixed.client_name));
  KVGATE_RETURN_IF_ERROR(AtMost("bytes of hello.client_name", call->client_name.size(),
                                sizeof(call->fixed.client_name) - 1));
  call->token = UntilNul(call->fixed.token, sizeof(call->fixed.token));
  if (tail.empty()) return absl::OkStatus();
  KVGATE_RETURN_IF_ERROR(Exactly("bytes of hello.token", call->token.size(), 0));
  call->token = tail;
  return absl::OkStatus();
}

absl::Status Decode(std::string_view message, Staging staging, OpenCall* call) {
  std::string_view tail, body;
  KVGATE_RETURN_IF_ERROR(TakeFixed(message, &call->fixed, &tail));
  KVGATE_RETURN_IF_ERROR(TakeBody(call->fixed.body, tail, staging, &call->body_copy, &body));
  Reader reader(body, "body of OPEN");
  KVGATE_RETURN_IF_ERROR(reader.Bytes(call->fixed.identity_bytes, &call->identity));
  KVGATE_RETURN_IF_ERROR(reader.Bytes(call->fixed.alias_bytes, &call->alias));
  return reader.End();
}

absl::Status Decode(std::string_view message, Staging staging, LookupCall* call) {
  std::string_view tail, body;
  KVGATE_RETURN_IF_ERROR(TakeFixed(message, &call->fixed, &tail));
  KVGATE_RETURN_IF_ERROR(AtMost("lookup.stage", call->fixed.stage, 1));
  KVGATE_RETURN_IF_ERROR(AtMost("lookup.queries", call->fixed.queries, local::kGroupsMax));
  KVGATE_RETURN_IF_ERROR(CheckAnswer("lookup.answer", call->fixed.answer, staging));
  KVGATE_RETURN_IF_ERROR(TakeBody(call->fixed.body, tail, staging, &call->body_copy, &body));
  Reader reader(body, "body of LOOKUP");
  KVGATE_RETURN_IF_ERROR(reader.Array(call->fixed.queries, &call->queries));
  call->keys.resize(call->queries.size());
  for (size_t i = 0; i < call->queries.size(); ++i) {
    KVGATE_RETURN_IF_ERROR(Exactly("lookup.queries.reserved", call->queries[i].reserved, 0));
    KVGATE_RETURN_IF_ERROR(reader.Keys(call->queries[i].keys, &call->keys[i]));
  }
  return reader.End();
}

absl::Status Decode(std::string_view message, Staging staging, ReserveCall* call) {
  std::string_view tail, body;
  KVGATE_RETURN_IF_ERROR(TakeFixed(message, &call->fixed, &tail));
  KVGATE_RETURN_IF_ERROR(Exactly("reserve.reserved", call->fixed.reserved, 0));
  KVGATE_RETURN_IF_ERROR(TakeBody(call->fixed.body, tail, staging, &call->body_copy, &body));
  Reader reader(body, "body of RESERVE");
  KVGATE_RETURN_IF_ERROR(reader.Array(call->fixed.count, &call->value_bytes));
  KVGATE_RETURN_IF_ERROR(reader.Bytes(call->fixed.root_bytes, &call->root));
  KVGATE_RETURN_IF_ERROR(reader.Keys(call->fixed.count, &call->keys));
  return reader.End();
}

absl::Status Decode(std::string_view message, Staging staging, CommitCall* call) {
  std::string_view tail, body;
  KVGATE_RETURN_IF_ERROR(TakeFixed(message, &call->fixed, &tail));
  KVGATE_RETURN_IF_ERROR(AtMost("commit.hints.finished", call->fixed.hints.finished, 1));
  KVGATE_RETURN_IF_ERROR(TakeBody(call->fixed.body, tail, staging, &call->body_copy, &body));
  Reader reader(body, "body of COMMIT");
  KVGATE_RETURN_IF_ERROR(reader.Array(call->fixed.count, &call->entries));
  KVGATE_RETURN_IF_ERROR(reader.Bytes(call->fixed.parent_bytes, &call->parent));
  KVGATE_RETURN_IF_ERROR(reader.Bytes(call->fixed.root_bytes, &call->root));
  call->keys.resize(call->entries.size());
  for (size_t i = 0; i < call->entries.size(); ++i) {
    const local::EntryWire& entry = call->entries[i];
    KVGATE_RETURN_IF_ERROR(AtMost("entry.has_producer_crc", entry.has_producer_crc, 1));
    KVGATE_RETURN_IF_ERROR(Exactly("entry.reserved", entry.reserved0 | entry.reserved1, 0));
    if (entry.has_producer_crc == 0) {
      KVGATE_RETURN_IF_ERROR(Exactly("entry.producer_crc", entry.producer_crc, 0));
    }
    KVGATE_RETURN_IF_ERROR(InStaging("entry", entry.offset, entry.value_bytes, staging));
    KVGATE_RETURN_IF_ERROR(reader.Bytes(entry.key_bytes, &call->keys[i]));
  }
  return reader.End();
}

absl::Status Decode(std::string_view message, Staging staging, GetCall* call) {
  std::string_view tail, body;
  KVGATE_RETURN_IF_ERROR(TakeFixed(message, &call->fixed, &tail));
  const local::Get& fixed = call->fixed;
  KVGATE_RETURN_IF_ERROR(AtMost("get.prefix_only", fixed.prefix_only, 1));
  KVGATE_RETURN_IF_ERROR(
      Exactly("get.reserved", fixed.reserved0 | fixed.reserved1 | fixed.reserved2, 0));
  KVGATE_RETURN_IF_ERROR(CheckAnswer("get.copy_out", fixed.copy_out, staging));
  KVGATE_RETURN_IF_ERROR(TakeBody(fixed.body, tail, staging, &call->body_copy, &body));
  Reader reader(body, "body of GET");
  KVGATE_RETURN_IF_ERROR(reader.Bytes(fixed.root_bytes, &call->root));
  if (fixed.pin_token == 0) {
    KVGATE_RETURN_IF_ERROR(Exactly("get.first", fixed.first, 0));
    KVGATE_RETURN_IF_ERROR(reader.Keys(fixed.count, &call->keys));
  }
  return reader.End();
}

absl::Status Decode(std::string_view message, Staging, ReleaseCall* call) {
  std::string_view tail;
  local::Release fixed;
  KVGATE_RETURN_IF_ERROR(TakeFixed(message, &fixed, &tail));
  KVGATE_RETURN_IF_ERROR(Exactly("release.reserved", fixed.reserved, 0));
  KVGATE_RETURN_IF_ERROR(AtMost("release.count", fixed.count, local::kReleaseMax));
  Reader reader(tail, "body of RELEASE");
  KVGATE_RETURN_IF_ERROR(reader.Array(fixed.count, &call->leases));
  return reader.End();
}

absl::Status Decode(std::string_view message, Staging staging, DeleteCall* call) {
  std::string_view tail, body;
  KVGATE_RETURN_IF_ERROR(TakeFixed(message, &call->fixed, &tail));
  if (!AllZero(call->fixed.reserved, sizeof(call->fixed.reserved))) {
    return Malformed("delete.reserved", 1, "0");
  }
  for (int16_t part : {call->fixed.group, call->fixed.shard}) {
    if (part < -1 || part > 255) {
      return Malformed("delete.group or shard", static_cast<uint16_t>(part), "0 to 255, or -1");
    }
  }
  KVGATE_RETURN_IF_ERROR(TakeBody(call->fixed.body, tail, staging, &call->body_copy, &body));
  Reader reader(body, "body of DELETE");
  KVGATE_RETURN_IF_ERROR(reader.Keys(call->fixed.count, &call->keys));
  return reader.End();
}

absl::Status Decode(std::string_view message, Staging, TouchCall* call) {
  std::string_view tail;
  KVGATE_RETURN_IF_ERROR(TakeFixed(message, &call->fixed, &tail));
  KVGATE_RETURN_IF_ERROR(AtMost("touch.hints.finished", call->fixed.hints.finished, 1));
  KVGATE_RETURN_IF_ERROR(
      Exactly("touch.reserved", call->fixed.reserved0 | call->fixed.reserved1, 0));
  KVGATE_RETURN_IF_ERROR(Exactly("bytes of touch.key", tail.size(), call->fixed.key_bytes));
  call->key = tail;
  return absl::OkStatus();
}

absl::Status Decode(std::string_view message, Staging, PinCall* call) {
  std::string_view tail;
  KVGATE_RETURN_IF_ERROR(TakeFixed(message, &call->fixed, &tail));
  KVGATE_RETURN_IF_ERROR(Exactly("pin.reserved", call->fixed.reserved, 0));
  return Exactly(kLeft, tail.size(), 0);
}

absl::Status Decode(std::string_view message, Staging, UnpinCall* call) {
  std::string_view tail;
  KVGATE_RETURN_IF_ERROR(TakeFixed(message, &call->fixed, &tail));
  return Exactly(kLeft, tail.size(), 0);
}

absl::Status Decode(std::string_view message, Staging, ExtentCall* call) {
  std::string_view tail;
  KVGATE_RETURN_IF_ERROR(TakeFixed(message, &call->fixed, &tail));
  KVGATE_RETURN_IF_ERROR(Exactly("extent.reserved", call->fixed.reserved, 0));
  return Exactly(kLeft, tail.size(), 0);
}

absl::Status Decode(std::string_view message, Staging, GrowStagingCall* call) {
  std::string_view tail;
  KVGATE_RETURN_IF_ERROR(TakeFixed(message, &call->fixed, &tail));
  const local::GrowStaging& fixed = call->fixed;
  KVGATE_RETURN_IF_ERROR(Exactly(kLeft, tail.size(), 0));
  if (fixed.value_bytes == 0) return Malformed("grow.value_bytes", 0, "above 0");
  KVGATE_RETURN_IF_ERROR(AtMost("grow.value_bytes", fixed.value_bytes, wire::kValueBytesMax));
  if (fixed.bytes_min == 0) return Malformed("grow.bytes_min", 0, "above 0");
  KVGATE_RETURN_IF_ERROR(AtMost("grow.bytes_min", fixed.bytes_min, fixed.bytes_wanted));
  return AtMost("grow.bytes_wanted", fixed.bytes_wanted, local::kStagingBytesMax);
}

absl::Status DecodeEmpty(std::string_view message) {
  return Exactly("bytes", message.size(), sizeof(MsgHeader));
}

}  // namespace kvgate::gateway
