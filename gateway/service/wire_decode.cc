// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/wire_decode.h"

#include "absl/strings/str_cat.h"
#include "gateway/core/validate.h"
#include "proto/wire/error_id.h"
#include "proto/wire/key.h"

namespace kvgate::gateway {
namespace {

using wire::ErrorId;
using wire::Tagged;

constexpr uint32_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

absl::Status Malformed(const SliceReader& reader, const char* what) {
  return absl::InvalidArgumentError(
      Tagged(ErrorId::kUnreadableMessage,
             absl::StrCat("message: malformed at byte ", reader.at(), ": ", what)));
}

absl::Status WrongType(const char* field, uint32_t type) {
  return absl::InvalidArgumentError(Tagged(
      ErrorId::kUnreadableMessage, absl::StrCat(field, ": wire type ", type, " is not its own")));
}

absl::Status ReadU64(SliceReader::Tag tag, SliceReader* reader, const char* field,
                     uint64_t* value) {
  if (tag.type != kVarint) return WrongType(field, tag.type);
  return reader->ReadVarint(value) ? absl::OkStatus() : Malformed(*reader, field);
}

absl::Status ReadU32(SliceReader::Tag tag, SliceReader* reader, const char* field,
                     uint32_t* value) {
  uint64_t wide = 0;
  if (absl::Status s = ReadU64(tag, reader, field, &wide); !s.ok()) return s;
  if (wide > UINT32_MAX) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": ", wide, ", at most ", UINT32_MAX, " is allowed"));
  }
  *value = static_cast<uint32_t>(wide);
  return absl::OkStatus();
}

absl::Status ReadBool(SliceReader::Tag tag, SliceReader* reader, const char* field, bool* value) {
  uint64_t wide = 0;
  if (absl::Status s = ReadU64(tag, reader, field, &wide); !s.ok()) return s;
  *value = wide != 0;
  return absl::OkStatus();
}

absl::Status ReadF64(SliceReader::Tag tag, SliceReader* reader, const char* field,
                     uint64_t* value) {
  if (tag.type != kFixed64) return WrongType(field, tag.type);
  return reader->ReadFixed64(value) ? absl::OkStatus() : Malformed(*reader, field);
}

absl::Status ReadKey(SliceReader::Tag tag, SliceReader* reader, const std::string& field,
                     ByteFields* fields, std::string_view* key) {
  if (tag.type != kBytes) return WrongType(field.c_str(), tag.type);
  uint64_t bytes = 0;
  if (!reader->ReadLength(&bytes)) return Malformed(*reader, field.c_str());
  // Checked before it is read, so that a wrong key is never copied, however long it is.
  if (bytes > wire::kKeyBytesMax) {
    return absl::InvalidArgumentError(Tagged(
        ErrorId::kBadKey,
        absl::StrCat(field, ": ", bytes, " bytes, 1 to ", wire::kKeyBytesMax, " are allowed")));
  }
  return fields->Read(reader, bytes, key) ? absl::OkStatus() : Malformed(*reader, field.c_str());
}

absl::Status TooMany(const char* field, size_t count) {
  return absl::InvalidArgumentError(Tagged(
      ErrorId::kBadBatch,
      absl::StrCat(field, ": ", count, " in one batch, at most ", wire::kKeysMax, " are allowed")));
}

// Takes a submessage out as a reader of its own over `pieces`.
absl::Status ReadMessage(SliceReader::Tag tag, SliceReader* reader, const char* field,
                         std::vector<Piece>* pieces) {
  if (tag.type != kBytes) return WrongType(field, tag.type);
  uint64_t bytes = 0;
  if (!reader->ReadLength(&bytes) || !reader->ReadPieces(bytes, pieces)) {
    return Malformed(*reader, field);
  }
  return absl::OkStatus();
}

absl::Status Skip(SliceReader::Tag tag, SliceReader* reader) {
  return reader->SkipValue(tag.type) ? absl::OkStatus() : Malformed(*reader, "unknown field");
}

// Calls field(tag, reader) for every field of a message.
template <typename Field>
absl::Status ForEachField(SliceReader* reader, Field&& field) {
  while (reader->left() > 0) {
    SliceReader::Tag tag;
    if (!reader->ReadTag(&tag)) return Malformed(*reader, "field tag");
    if (absl::Status s = field(tag, reader); !s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace

bool ByteFields::Read(SliceReader* reader, uint64_t bytes, std::string_view* view) {
  scratch_.clear();
  if (!reader->ReadPieces(bytes, &scratch_)) return false;
  if (scratch_.empty()) {
    *view = {};
  } else if (scratch_.size() == 1) {
    *view = {reinterpret_cast<const char*>(scratch_[0].data()), scratch_[0].size()};
  } else {
    std::string& copy = copies_.emplace_back();
    copy.reserve(bytes);
    for (const Piece& piece : scratch_) {
      copy.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    }
    *view = copy;
  }
  return true;
}

absl::Status DecodedGet::Decode(std::span<const Piece> slices) {
  SliceReader reader(slices);
  size_t key_count = 0;
  absl::Status status = ForEachField(&reader, [&](SliceReader::Tag tag, SliceReader* r) {
    return DecodeField(tag, r, &key_count);
  });
  if (!status.ok()) return status;
  return key_count > wire::kKeysMax ? TooMany("keys", key_count) : absl::OkStatus();
}

absl::Status DecodedGet::DecodeField(SliceReader::Tag tag, SliceReader* reader, size_t* key_count) {
  switch (tag.field) {
    case 1:
      return ReadF64(tag, reader, "namespace", &ns);
    case 2: {
      if (++*key_count > wire::kKeysMax) return Skip(tag, reader);
      std::string_view key;
      const std::string field = absl::StrCat("keys[", *key_count - 1, "]");
      if (absl::Status s = ReadKey(tag, reader, field, &fields_, &key); !s.ok()) return s;
      keys.push_back(key);
      return absl::OkStatus();
    }
    case 3: {
      std::vector<Piece> pieces;
      if (absl::Status s = ReadMessage(tag, reader, "handle", &pieces); !s.ok()) return s;
      if (!handle.has_value()) handle.emplace();
      SliceReader inner(pieces);
      return ForEachField(&inner, [&](SliceReader::Tag t, SliceReader* r) {
        if (t.field == 1) return ReadF64(t, r, "handle.pin_token", &handle->pin_token);
        if (t.field == 2) return ReadU32(t, r, "handle.first", &handle->first);
        if (t.field == 3) return ReadU32(t, r, "handle.count", &handle->count);
        return Skip(t, r);
      });
    }
    case 4:
      return ReadU32(tag, reader, "group", &group);
    case 5:
      return ReadU32(tag, reader, "shard", &shard);
    case 6:
      return ReadKey(tag, reader, "root", &fields_, &root);
    case 7:
      return ReadU32(tag, reader, "depth", &depth);
    case 8:
      return ReadU32(tag, reader, "answer_by_ms", &answer_by_ms);
    case 9:
      return ReadBool(tag, reader, "prefix_only", &prefix_only);
    case 10:
      return ReadU64(tag, reader, "range_offset", &range_offset);
    case 11:
      return ReadU64(tag, reader, "range_bytes", &range_bytes);
    case 12:
      return ReadBool(tag, reader, "no_payload", &no_payload);
    default:
      return Skip(tag, reader);
  }
}

absl::Status DecodedSet::Decode(std::span<const Piece> slices) {
  SliceReader reader(slices);
  Counts counts;
  absl::Status status = ForEachField(
      &reader, [&](SliceReader::Tag tag, SliceReader* r) { return DecodeField(tag, r, &counts); });
  return status.ok() ? Join(counts) : status;
}

absl::Status DecodedSet::DecodeField(SliceReader::Tag tag, SliceReader* reader, Counts* counts) {
  switch (tag.field) {
    case 2: {
      if (++counts->entries > wire::kKeysMax) return Skip(tag, reader);
      std::vector<Piece> pieces;
      if (absl::Status s = ReadMessage(tag, reader, "entries", &pieces); !s.ok()) return s;
      SliceReader inner(pieces);
      return DecodeEntry(&inner, counts->entries - 1);
    }
    case 4:
      return ReadKey(tag, reader, "parent", &fields_, &parent);
    case 5:
      return ReadKey(tag, reader, "root", &fields_, &root);
    case 12: {
      std::vector<Piece> pieces;
      if (absl::Status s = ReadMessage(tag, reader, "hints", &pieces); !s.ok()) return s;
      SliceReader inner(pieces);
      return DecodeHints(&inner);
    }
    case 14: {
      if (++counts->values > wire::kKeysMax) return Skip(tag, reader);
      return ReadMessage(tag, reader, "values", &values_.emplace_back());
    }
    default:
      return DecodeNumber(tag, reader);
  }
}

absl::Status DecodedSet::DecodeNumber(SliceReader::Tag tag, SliceReader* reader) {
  switch (tag.field) {
    case 1:
      return ReadF64(tag, reader, "namespace", &ns);
    case 3:
      return ReadU32(tag, reader, "mode", &mode);
    case 6:
      return ReadU32(tag, reader, "depth", &depth);
    case 7:
      return ReadU32(tag, reader, "group", &group);
    case 8:
      return ReadU32(tag, reader, "shard", &shard);
    case 9:
      return ReadF64(tag, reader, "producer", &producer);
    case 10:
      return ReadF64(tag, reader, "ticket", &ticket);
    case 11:
      return ReadU32(tag, reader, "durability", &durability);
    case 13:
      return ReadU32(tag, reader, "answer_by_ms", &answer_by_ms);
    default:
      return Skip(tag, reader);
  }
}

absl::Status DecodedSet::DecodeEntry(SliceReader* reader, size_t index) {
  storage::SetItem& item = items.emplace_back();
  uint64_t& stated = stated_bytes_.emplace_back(0);
  return ForEachField(reader, [&](SliceReader::Tag tag, SliceReader* r) -> absl::Status {
    switch (tag.field) {
      case 1:
        return ReadKey(tag, r, absl::StrCat("entries[", index, "].key"), &fields_, &item.key);
      case 2:
        return ReadU64(tag, r, "entries.value_bytes", &stated);
      case 3: {
        if (tag.type != kFixed32) return WrongType("entries.producer_crc32c", tag.type);
        uint32_t crc = 0;
        if (!r->ReadFixed32(&crc)) return Malformed(*r, "entries.producer_crc32c");
        item.producer_crc = crc;
        return absl::OkStatus();
      }
      case 4: {
        uint32_t ttl_ms = 0;
        if (absl::Status s = ReadU32(tag, r, "entries.ttl_ms", &ttl_ms); !s.ok()) return s;
        item.ttl_s = TtlSeconds(ttl_ms);
        return absl::OkStatus();
      }
      default:
        return Skip(tag, r);
    }
  });
}

absl::Status DecodedSet::DecodeHints(SliceReader* reader) {
  return ForEachField(reader, [&](SliceReader::Tag tag, SliceReader* r) {
    if (tag.field == 1) return ReadU32(tag, r, "hints.prompt_tokens", &hints.prompt_tokens);
    if (tag.field == 2) return ReadU32(tag, r, "hints.output_tokens", &hints.output_tokens);
    if (tag.field == 3) return ReadU32(tag, r, "hints.turn", &hints.turn);
    if (tag.field == 4) return ReadBool(tag, r, "hints.finished", &hints.finished);
    return Skip(tag, r);
  });
}

absl::Status DecodedSet::Join(const Counts& counts) {
  if (counts.entries > wire::kKeysMax) return TooMany("entries", counts.entries);
  if (counts.values != counts.entries) {
    return absl::InvalidArgumentError(
        Tagged(ErrorId::kBadBatch, absl::StrCat("values: ", counts.values, " for ", counts.entries,
                                                " entries, must be as many")));
  }
  for (size_t i = 0; i < items.size(); ++i) {
    uint64_t bytes = 0;
    for (const Piece& piece : values_[i]) bytes += piece.size();
    if (bytes != stated_bytes_[i]) {
      return absl::InvalidArgumentError(Tagged(
          ErrorId::kTooLarge, absl::StrCat("entries[", i, "].value_bytes: ", stated_bytes_[i],
                                           ", the value has ", bytes)));
    }
    payload_bytes += bytes;
    items[i].value = std::move(values_[i]);
  }
  return absl::OkStatus();
}

}  // namespace kvgate::gateway
