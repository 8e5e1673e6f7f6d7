// SPDX-License-Identifier: Apache-2.0
//
// Damage on the medium: every byte of a batch with a 64 KiB value, of its segment's header and
// footer and of a superblock; garbage, zeroed, swapped and stale sectors anywhere. Each is detected
// (a miss, or a refused start) or harmless; it never shows as a wrong byte, and one damage alone
// never brings an ended version back.
#include <cstring>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/base/aligned_buffer.h"
#include "storage/log/format.h"
#include "storage/log/log_harness.h"
#include "tests/faults/storage/fault_run.h"
#include "tests/faults/storage/fault_store.h"

namespace kvgate::faults {
namespace {

using storage::AlignedBuffer;
using storage::Durability;
using storage::kPageBytes;
using storage::LogHarness;
using storage::MemoryMedium;

constexpr uint64_t kSegment = 1 << 20;
constexpr uint32_t kValue = 64 << 10;

uint64_t OffsetOf(uint32_t segment, uint64_t page) {
  return storage::kSegmentsStart + segment * kSegment + page * kPageBytes;
}

// The masks that a byte is changed by: all eight bits, or one that differs from byte to byte.
std::vector<uint8_t> MasksOf(uint64_t at) {
  std::vector<uint8_t> masks;
  const uint64_t one = (at * 0x9e3779b97f4a7c15ull) >> 61;
  for (uint64_t bit = 0; bit < 8; ++bit) {
    if (IsLong() || bit == one) masks.push_back(static_cast<uint8_t>(1 << bit));
  }
  return masks;
}

class Flips {
 public:
  // Flips each byte of [begin, begin + bytes) in turn and puts it back; `detected` judges.
  void Each(MemoryMedium& medium, uint64_t begin, uint64_t bytes,
            const std::function<bool()>& detected) {
    for (uint64_t at = begin; at < begin + bytes; ++at) {
      std::byte byte[1];
      medium.Peek(at, byte);
      for (const uint8_t mask : MasksOf(at)) {
        const std::byte flipped[1] = {byte[0] ^ std::byte{mask}};
        medium.Poke(at, flipped);
        ++cases_;
        const bool seen = detected();
        medium.Poke(at, byte);
        ASSERT_TRUE(seen) << "byte " << at - begin << " mask " << int{mask};
      }
    }
  }
  uint64_t cases() const { return cases_; }

 private:
  uint64_t cases_ = 0;
};

TEST(ByteFlips, EveryByteOfABatchAndOfWhatSurroundsItIsProven) {
  LogHarness log;
  ASSERT_TRUE(log.Open().ok());
  ASSERT_TRUE(log.Put("a", 1, kValue).ok());
  ASSERT_TRUE(log.log().Flush(true, absl::Minutes(1)).ok());
  MemoryMedium& medium = log.medium();
  Flips flips;
  // Page 0 the header, page 1 the batch's, then the value without a padding of its own.
  flips.Each(medium, OffsetOf(0, 2), kValue,
             [&] { return absl::IsDataLoss(log.Get("a").status()); });
  AlignedBuffer page(kPageBytes);
  const auto unreadable = [&](uint64_t offset, const auto& decode) {
    flips.Each(medium, offset, kPageBytes, [&, offset] {
      medium.Peek(offset, page.span());
      return !decode(page.span()).ok();
    });
  };
  unreadable(OffsetOf(0, 0), [](auto bytes) { return storage::DecodeSegmentHeader(bytes); });
  unreadable(0, [](auto bytes) { return storage::DecodeSuperblock(bytes); });
  EXPECT_EQ(*log.Get("a"), 1u) << "everything was put back";
  Figure("byte_flips", "cases", static_cast<double>(flips.cases()));
}

// A store with old and ended versions, closed or killed.
void Fill(FaultStore& store, std::mt19937_64& random) {
  for (int i = 0; i < 24; ++i) store.RandomWrite(random, 8, 70'000);
}

// The pages that hold something, of the segments and both ends.
uint64_t UsedPage(MemoryMedium& medium, std::mt19937_64& random) {
  std::vector<std::byte> page(kPageBytes);
  for (int tries = 0; tries < 200; ++tries) {
    const uint64_t offset = random() % (medium.bytes() / kPageBytes) * kPageBytes;
    medium.Peek(offset, page);
    if (page != std::vector<std::byte>(kPageBytes)) return offset;
  }
  return OffsetOf(0, 1);
}

enum class Damage : uint64_t { kFlip, kGarbage, kZero, kStale, kSwap };

void Harm(MemoryMedium& medium, Damage damage, MemoryMedium& earlier, std::mt19937_64& random) {
  const uint64_t at = UsedPage(medium, random);
  std::vector<std::byte> page(kPageBytes), other(kPageBytes);
  medium.Peek(at, page);
  if (damage == Damage::kFlip) {
    page[random() % kPageBytes] ^= std::byte{static_cast<uint8_t>(1 << (random() % 8))};
  } else if (damage == Damage::kGarbage) {
    const uint64_t from = random() % kPageBytes;
    for (uint64_t i = from; i < kPageBytes && i < from + 1 + random() % kPageBytes; ++i) {
      page[i] = static_cast<std::byte>(random());
    }
  } else if (damage == Damage::kZero) {
    const uint64_t sector = random() % 9;  // 512 B each; 8: all
    for (uint64_t i = 0; i < kPageBytes; ++i) {
      if (sector == 8 || i / 512 == sector) page[i] = std::byte{0};
    }
  } else if (damage == Damage::kStale) {
    earlier.Peek(at, page);
  } else {
    const uint64_t to = UsedPage(medium, random);
    medium.Peek(to, other);
    medium.Poke(to, page);
    page = other;
  }
  medium.Poke(at, page);
}

TEST(Rot, GarbageZeroedSwappedAndStaleSectorsAreMissesAndNeverBytes) {
  uint64_t refused = 0, found = 0;
  ForEachSeed("rot", 400, 100'000, [&](uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto damage = static_cast<Damage>(seed % 5);
    FaultStore store({.device_bytes = 8 << 20});
    ASSERT_TRUE(store.Open());
    Fill(store, random);
    ASSERT_TRUE(store.store().Close(absl::Minutes(1)).ok());
    store.Close();
    const auto earlier = MemoryMedium::Create(8 << 20);
    std::vector<std::byte> all(8 << 20);
    store.medium().Peek(0, all);
    earlier->Poke(0, all);
    if (damage == Damage::kStale) {
      ASSERT_TRUE(store.Open());
      Fill(store, random);
      ASSERT_TRUE(store.store().Close(absl::Minutes(1)).ok());
      store.Close();
    }
    store.ForgiveLosses();
    store.AllowErrors(true);
    // Two places at once may be both copies of a tombstone: then only the bytes are promised.
    if (damage == Damage::kSwap) store.ForgiveFloors();
    const bool while_open = random() % 2 == 0;
    if (while_open && !store.Open()) return;
    Harm(store.medium(), damage, *earlier, random);
    if (!while_open) {
      const absl::Status opened = store.TryOpen();
      if (!opened.ok()) {
        EXPECT_TRUE(absl::IsFailedPrecondition(opened)) << opened;
        ++refused;
        return;
      }
    }
    found += store.CheckAll(absl::StrCat("damage ", seed % 5));
  });
  Figure("rot", "starts_refused", static_cast<double>(refused));
  Figure("rot", "found_nevertheless", static_cast<double>(found));
  EXPECT_GT(found, 0u) << "the test saw nothing";
}

}  // namespace
}  // namespace kvgate::faults
