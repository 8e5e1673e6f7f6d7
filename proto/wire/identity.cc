// SPDX-License-Identifier: Apache-2.0
#include "proto/wire/identity.h"

#include <limits>
#include <type_traits>

#include "proto/wire/identity_fields.h"

namespace kvgate::wire {
namespace {

using internal::VisitFields;

constexpr std::string_view kMagic("KVGID\0\0\1", 8);
constexpr size_t kExtraKeyBytesMax = std::numeric_limits<uint16_t>::max();
constexpr size_t kHeaderBytes = 6;  // u16 tag, u32 length

template <typename T>
constexpr bool kIsInteger = std::is_integral_v<T> || std::is_enum_v<T>;

using Strings = std::vector<std::string>;
using Groups = std::vector<KvGroup>;
using Extra = std::map<std::string, std::string>;

void PutLe(std::string* out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t GetLe(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

// ---- encoding ----

void PutElement(std::string* out, uint16_t tag, std::string_view value) {
  PutLe(out, tag, 2);
  PutLe(out, value.size(), 4);
  out->append(value);
}

template <typename Record>
std::string EncodeFields(const Record& record);

struct Encoder {
  std::string* out;

  void operator()(uint16_t tag, const char*, const std::string& value) const {
    if (!value.empty()) PutElement(out, tag, value);
  }
  void operator()(uint16_t tag, const char*, const Strings& values) const {
    for (const std::string& value : values) PutElement(out, tag, value);
  }
  void operator()(uint16_t tag, const char*, const Groups& groups) const {
    for (const KvGroup& group : groups) PutElement(out, tag, EncodeFields(group));
  }
  void operator()(uint16_t tag, const char*, const Extra& extra) const {
    for (const auto& [key, value] : extra) {
      std::string pair;
      PutLe(&pair, key.size(), 2);
      PutElement(out, tag, pair + key + value);
    }
  }
  template <typename T>
  requires kIsInteger<T>
  void operator()(uint16_t tag, const char*, T value) const {
    if (static_cast<uint64_t>(value) == 0) return;
    std::string bytes;
    PutLe(&bytes, static_cast<uint64_t>(value), 8);
    PutElement(out, tag, bytes);
  }
};

template <typename Record>
std::string EncodeFields(const Record& record) {
  std::string out;
  VisitFields(record, Encoder{&out});
  return out;
}

// ---- decoding ----

template <typename Record>
bool DecodeFields(std::string_view bytes, const std::string& where, Record* record,
                  std::string* error);

// Takes one element into the field of its tag.
struct ElementDecoder {
  bool repeated;  // the same tag stood before
  std::string_view value;
  const std::string& where;
  std::string* error;

  bool Refuse(const char* name, const std::string& what) const {
    *error = "identity field " + where + name + ": " + what;
    return false;
  }

  bool Once(const char* name) const {
    if (repeated) return Refuse(name, "written twice");
    if (value.empty()) return Refuse(name, "an empty value is not written");
    return true;
  }

  bool Take(const char* name, std::string* field) const {
    if (!Once(name)) return false;
    *field = value;
    return true;
  }
  bool Take(const char*, Strings* field) const {
    field->emplace_back(value);
    return true;
  }
  bool Take(const char* name, Groups* field) const {
    if (field->size() == kGroupsMax) {
      return Refuse(name, "more than the limit of " + std::to_string(kGroupsMax));
    }
    const std::string index = std::string(name) + "[" + std::to_string(field->size()) + "].";
    return DecodeFields(value, where + index, &field->emplace_back(), error);
  }
  bool Take(const char* name, Extra* field) const {
    if (value.size() < 2) return Refuse(name, "an element is shorter than its key length");
    const size_t key_bytes = GetLe(value.substr(0, 2));
    if (value.size() - 2 < key_bytes) return Refuse(name, "a key is longer than its element");
    std::string key(value.substr(2, key_bytes));
    if (!field->empty() && !(field->rbegin()->first < key)) {
      return Refuse(name, "keys are not in ascending order");
    }
    field->emplace_hint(field->end(), std::move(key), value.substr(2 + key_bytes));
    return true;
  }
  template <typename T>
  requires kIsInteger<T>
  bool Take(const char* name, T* field) const {
    if (!Once(name)) return false;
    if (value.size() != 8) {
      return Refuse(name, "an integer has 8 bytes, not " + std::to_string(value.size()));
    }
    const uint64_t number = GetLe(value);
    uint64_t limit = std::numeric_limits<uint64_t>::max();
    if constexpr (std::is_enum_v<T>) {
      limit = static_cast<uint64_t>(GroupKind::kState);
    } else {
      limit = std::numeric_limits<T>::max();
    }
    if (number > limit) {
      return Refuse(name,
                    std::to_string(number) + " is over the limit of " + std::to_string(limit));
    }
    if (number == 0) return Refuse(name, "a zero is not written");
    *field = static_cast<T>(number);
    return true;
  }
};

template <typename Record>
bool DecodeFields(std::string_view bytes, const std::string& where, Record* record,
                  std::string* error) {
  uint16_t last_tag = 0;
  while (!bytes.empty()) {
    if (bytes.size() < kHeaderBytes) {
      *error = "identity " + where + ": truncated element header";
      return false;
    }
    const uint16_t tag = static_cast<uint16_t>(GetLe(bytes.substr(0, 2)));
    const uint64_t length = GetLe(bytes.substr(2, 4));
    bytes.remove_prefix(kHeaderBytes);
    if (length > bytes.size()) {
      *error = "identity " + where + "tag " + std::to_string(tag) + ": length " +
               std::to_string(length) + " with " + std::to_string(bytes.size()) + " bytes left";
      return false;
    }
    if (tag < last_tag) {
      *error = "identity " + where + "tag " + std::to_string(tag) + ": not in ascending order";
      return false;
    }
    bool found = false, good = true;
    const ElementDecoder decoder{tag == last_tag, bytes.substr(0, length), where, error};
    VisitFields(*record, [&](uint16_t field_tag, const char* name, auto& field) {
      if (field_tag != tag) return;
      found = true;
      good = decoder.Take(name, &field);
    });
    if (!found) *error = "identity " + where + "tag " + std::to_string(tag) + ": unknown";
    if (!found || !good) return false;
    bytes.remove_prefix(length);
    last_tag = tag;
  }
  return true;
}

// ---- comparison ----

constexpr size_t kPrintableBytesMax = 80;

std::string Printable(std::string_view value) {
  bool text = true;
  for (char c : value) text = text && c >= 0x20 && c < 0x7f;
  std::string out;
  if (text) {
    out = value;
  } else {
    constexpr char kHex[] = "0123456789abcdef";
    out = "0x";
    for (char c : value.substr(0, kPrintableBytesMax)) {
      out += kHex[static_cast<uint8_t>(c) >> 4];
      out += kHex[static_cast<uint8_t>(c) & 15];
    }
  }
  if (out.size() > kPrintableBytesMax) out = out.substr(0, kPrintableBytesMax - 3) + "...";
  return out;
}

std::string Count(size_t entries) { return std::to_string(entries) + " entries"; }

struct Difference {
  std::string name, a, b;
};

Difference Compare(const std::string& name, const std::string& a, const std::string& b) {
  return a == b ? Difference{} : Difference{name, Printable(a), Printable(b)};
}

template <typename T>
requires kIsInteger<T> Difference Compare(const std::string& name, T a, T b) {
  if (a == b) return {};
  return {name, std::to_string(static_cast<uint64_t>(a)), std::to_string(static_cast<uint64_t>(b))};
}

Difference Compare(const std::string& name, const Extra& a, const Extra& b) {
  for (const auto& [key, value] : a) {
    const auto other = b.find(key);
    const std::string entry = name + "[" + Printable(key) + "]";
    if (other == b.end()) return {entry, Printable(value), "absent"};
    if (other->second != value) return Compare(entry, value, other->second);
  }
  for (const auto& [key, value] : b) {
    if (!a.contains(key)) return {name + "[" + Printable(key) + "]", "absent", Printable(value)};
  }
  return {};
}

template <typename Record>
Difference CompareRecords(const std::string& where, const Record& a, const Record& b);

Difference Compare(const std::string& name, const KvGroup& a, const KvGroup& b) {
  return CompareRecords(name + ".", a, b);
}

template <typename T>
Difference Compare(const std::string& name, const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return {name, Count(a.size()), Count(b.size())};
  for (size_t i = 0; i < a.size(); ++i) {
    Difference found = Compare(name + "[" + std::to_string(i) + "]", a[i], b[i]);
    if (!found.name.empty()) return found;
  }
  return {};
}

template <typename Record>
Difference CompareRecords(const std::string& where, const Record& a, const Record& b) {
  Difference first;
  VisitFields(a, [&](uint16_t tag, const char* name, const auto& a_field) {
    VisitFields(b, [&](uint16_t b_tag, const char*, const auto& b_field) {
      if constexpr (std::is_same_v<decltype(a_field), decltype(b_field)>) {
        if (tag == b_tag && first.name.empty()) first = Compare(where + name, a_field, b_field);
      }
    });
  });
  return first;
}

bool Fail(std::string* error, std::string text) {
  *error = std::move(text);
  return false;
}

bool ValidateGroup(const KvGroup& group, const std::string& name, std::string* error) {
  if (group.kind == GroupKind::kUnspecified || group.kind > GroupKind::kState) {
    return Fail(error, name + ".kind: required, FULL_ATTENTION, SLIDING_WINDOW or STATE");
  }
  if (group.block_tokens == 0) return Fail(error, name + ".block_tokens: 0, must be > 0");
  if (group.window_tokens != 0 && group.kind != GroupKind::kSlidingWindow) {
    return Fail(error, name + ".window_tokens: only for SLIDING_WINDOW");
  }
  return true;
}

}  // namespace

std::string EncodeIdentity(const Identity& identity) {
  for (const auto& [key, value] : identity.extra) {
    if (key.size() > kExtraKeyBytesMax) return "";
  }
  if (identity.shards != 1) return std::string(kMagic) + EncodeFields(identity);
  Identity canonical = identity;
  canonical.shards = 0;
  return std::string(kMagic) + EncodeFields(canonical);
}

bool DecodeIdentity(std::string_view bytes, Identity* identity, std::string* error) {
  error->clear();
  *identity = Identity();
  if (bytes.size() > kIdentityBytesMax) {
    return Fail(error, "identity: " + std::to_string(bytes.size()) + " bytes, the limit is " +
                           std::to_string(kIdentityBytesMax));
  }
  if (bytes.substr(0, kMagic.size()) != kMagic) {
    return Fail(error, "identity: does not start with the magic of format 1");
  }
  if (!DecodeFields(bytes.substr(kMagic.size()), "", identity, error)) return false;
  if (identity->shards == 1) return Fail(error, "identity field shards: 1 is not written");
  return true;
}

bool ValidateIdentity(const Identity& identity, std::string* error) {
  Identity opaque;
  opaque.model = "opaque";
  if (identity == opaque) return Fail(error, "model: \"opaque\" is for doors without identity");
  if (identity.weights_digest.empty() && identity.weights_id.empty()) {
    return Fail(error, "weights_digest: required, or weights_id");
  }
  if (identity.layout.empty()) return Fail(error, "layout: required");
  if (identity.kv_scales == "dynamic") {
    return Fail(error, "kv_scales: \"dynamic\": blocks with dynamic scales cannot be shared");
  }
  if (identity.groups.empty()) return Fail(error, "groups: at least one is required");
  if (identity.groups.size() > kGroupsMax) {
    return Fail(error, "groups: " + Count(identity.groups.size()) + ", the limit is " +
                           std::to_string(kGroupsMax));
  }
  for (size_t i = 0; i < identity.groups.size(); ++i) {
    const std::string name = "groups[" + std::to_string(i) + "]";
    if (!ValidateGroup(identity.groups[i], name, error)) return false;
  }
  if (identity.shards > kShardsMax) {
    return Fail(error, "shards: " + std::to_string(identity.shards) + ", the limit is " +
                           std::to_string(kShardsMax));
  }
  for (const auto& [key, value] : identity.extra) {
    if (key.size() > kExtraKeyBytesMax) {
      return Fail(error, "extra: a key of " + std::to_string(key.size()) + " bytes, the limit is " +
                             std::to_string(kExtraKeyBytesMax));
    }
  }
  const size_t bytes = EncodeIdentity(identity).size();
  if (bytes > kIdentityBytesMax) {
    return Fail(error, "identity: " + std::to_string(bytes) + " bytes, the limit is " +
                           std::to_string(kIdentityBytesMax));
  }
  return true;
}

std::string FirstDifference(const Identity& a, const Identity& b, std::string* a_value,
                            std::string* b_value) {
  Difference first = CompareRecords("", a, b);
  // 0 and 1 shards are the same.
  if (first.name == "shards" && a.shard_count() == b.shard_count()) {
    Identity same = a;
    same.shards = b.shards;
    first = CompareRecords("", same, b);
  }
  if (a_value != nullptr) *a_value = first.a;
  if (b_value != nullptr) *b_value = first.b;
  return first.name;
}

}  // namespace kvgate::wire
