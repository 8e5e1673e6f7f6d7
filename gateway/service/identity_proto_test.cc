// SPDX-License-Identifier: Apache-2.0
#include "gateway/service/identity_proto.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <string>

#include "gateway/core/features.h"
#include "proto/kvgate/v1/kvgate.pb.h"
#include "proto/wire/identity.h"

namespace kvgate::gateway {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Puts a value of its own into one field, whatever its type.
void Fill(Message* message, const FieldDescriptor* field) {
  const auto* reflection = message->GetReflection();
  const auto tag = static_cast<uint32_t>(field->number());
  const std::string text = "value " + std::to_string(tag);
  if (field->is_map()) {
    dynamic_cast<v1::Identity&>(*message).mutable_extra()->insert({"name", text});
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    Message* inner = reflection->AddMessage(message, field);
    for (int i = 0; i < inner->GetDescriptor()->field_count(); ++i) {
      Fill(inner, inner->GetDescriptor()->field(i));
    }
  } else if (field->is_repeated()) {
    reflection->AddString(message, field, text);
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
    reflection->SetString(message, field, text);
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_UINT64) {
    reflection->SetUInt64(message, field, 1000 + tag);
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
    reflection->SetEnumValue(message, field, 1);
  } else {
    reflection->SetUInt32(message, field, 100 + tag);
  }
}

v1::Identity FullIdentity() {
  v1::Identity message;
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    Fill(&message, message.GetDescriptor()->field(i));
  }
  return message;
}

TEST(IdentityProto, EveryFieldGoesThereAndBack) {
  const v1::Identity message = FullIdentity();
  v1::Identity back;
  IdentityToProto(IdentityFromProto(message), &back);
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(message, back))
      << message.DebugString() << "\n"
      << back.DebugString();
}

// The names and tags of the message are those of the canonical form: a message with one field set
// differs from the empty one in just the field of that name, and its form starts with that tag.
TEST(IdentityProto, EachFieldIsTheCanonicalFieldOfThatNameAndTag) {
  const auto* descriptor = v1::Identity::descriptor();
  EXPECT_EQ(descriptor->field_count(), 25);
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    v1::Identity message;
    Fill(&message, field);
    const wire::Identity identity = IdentityFromProto(message);
    const std::string difference =
        wire::FirstDifference(wire::Identity(), identity, nullptr, nullptr);
    EXPECT_EQ(difference.substr(0, field->name().size()), field->name());
    const std::string form = wire::EncodeIdentity(identity);
    ASSERT_GT(form.size(), 10u) << field->name();
    EXPECT_EQ(static_cast<uint8_t>(form[8]) | static_cast<uint8_t>(form[9]) << 8, field->number())
        << field->name();
  }
}

TEST(IdentityProto, GroupsHaveTheSameTagsToo) {
  const auto* descriptor = v1::KvGroup::descriptor();
  EXPECT_EQ(descriptor->field_count(), 6);
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    v1::Identity message;
    Fill(message.add_groups(), field);
    const std::string form = wire::EncodeIdentity(IdentityFromProto(message));
    // magic 8, tag 2, length 4, then the group's own first tag
    ASSERT_GT(form.size(), 16u) << field->name();
    EXPECT_EQ(static_cast<uint8_t>(form[14]) | static_cast<uint8_t>(form[15]) << 8, field->number())
        << field->name();
  }
}

TEST(Features, NumbersAndNamesAreThoseOfTheContract) {
  const auto* features = v1::Feature_descriptor();
  EXPECT_EQ(features->value_count(), static_cast<int>(kFeatureMax) + 1);
  for (int i = 0; i < features->value_count(); ++i) {
    EXPECT_EQ(FeatureName(features->value(i)->number()), features->value(i)->name());
  }
}

}  // namespace
}  // namespace kvgate::gateway
