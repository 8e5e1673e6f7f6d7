// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "storage/base/aligned_buffer.h"
#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "storage/base/gate.h"
#include "storage/base/manual_clock.h"
#include "storage/base/thread_name.h"

namespace kvgate::storage {
namespace {

TEST(Check, PassesSilentlyAndFailsWithItsText) {
  KVGATE_CHECK(1 + 1 == 2) << "not printed";
  EXPECT_DEATH(KVGATE_CHECK(1 + 1 == 3) << "sum " << 42,
               "base_test.cc.*check failed: 1 \\+ 1 == 3 sum 42");
}

TEST(Check, BindsAsOneStatement) {
  bool other = false;
  if (false)
    KVGATE_CHECK(false) << "unreachable";
  else
    other = true;
  EXPECT_TRUE(other);
}

TEST(Gate, RefusesAfterCloseAndWaitsForWhatIsInside) {
  Gate gate;
  std::atomic<bool> left{false};
  ASSERT_TRUE(gate.TryEnter());
  std::jthread closer([&] {
    gate.Close();
    EXPECT_TRUE(left) << "closed around work inside";
  });
  while (!gate.closed()) std::this_thread::yield();
  EXPECT_FALSE(gate.TryEnter());
  left = true;
  gate.Leave();
}

TEST(Gate, APassLeavesWhenItGoes) {
  Gate gate;
  {
    Gate::Pass pass(gate);
    EXPECT_TRUE(pass);
    const Gate::Pass moved(std::move(pass));
    EXPECT_TRUE(moved);
    EXPECT_FALSE(pass);
  }
  gate.Close();
  EXPECT_FALSE(Gate::Pass(gate));
  gate.Close();
}

TEST(AlignedBufferTest, IsAlignedRoundedAndMovable) {
  AlignedBuffer buffer(5000);
  EXPECT_EQ(buffer.size(), 8192u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 4096, 0u);
  const std::byte* data = buffer.data();
  const AlignedBuffer moved = std::move(buffer);
  EXPECT_EQ(moved.data(), data);
  EXPECT_EQ(AlignedBuffer().size(), 0u);
  const AlignedBuffer zeroed = AlignedBuffer::Zeroed(5000);
  for (const std::byte b : zeroed.span()) ASSERT_EQ(b, std::byte{0});
}

TEST(AlignedBufferTest, LargeAllocationsAreCounted) {
  const uint64_t before = LargeAllocations();
  const AlignedBuffer small(60 * 1024);
  EXPECT_EQ(LargeAllocations(), before);
  const AlignedBuffer large(64 * 1024);
  EXPECT_EQ(LargeAllocations(), before + 1);
}

TEST(RealClockTest, NowIsMonotoneAndLooksLikeWallTime) {
  const RealClock clock, other;
  const absl::Time first = clock.Now(), second = other.Now(), third = clock.Now();
  EXPECT_LE(first, second);
  EXPECT_LE(second, third);
  EXPECT_LT(absl::AbsDuration(third - absl::Now()), absl::Hours(1));
  EXPECT_NEAR(clock.WallSeconds(), absl::ToUnixSeconds(absl::Now()), 10);
}

TEST(RealClockTest, CacheSecondsCarryOnFromTheBase) {
  RealClock clock;
  EXPECT_GE(clock.CacheSeconds(), 1u);
  EXPECT_LT(clock.CacheSeconds(), 600u);
  clock.SetCacheBase(1'000'000);
  EXPECT_GE(clock.CacheSeconds(), 1'000'000u);
  EXPECT_LT(clock.CacheSeconds(), 1'000'600u);
}

TEST(RealClockTest, BootTimeBearsTheIdThatItWasGiven) {
  RealClock clock;
  EXPECT_EQ(clock.Boot().boot_id, (std::array<uint8_t, 16>{}));
  const uint64_t before = clock.Boot().seconds;
  clock.SetBootId({1, 2, 3});
  EXPECT_EQ(clock.Boot().boot_id, (std::array<uint8_t, 16>{1, 2, 3}));
  EXPECT_GE(clock.Boot().seconds, before);
}

TEST(ManualClockTest, MovesOnlyByHand) {
  ManualClock clock;
  const absl::Time start = clock.Now();
  const uint32_t seconds = clock.CacheSeconds();
  EXPECT_EQ(clock.Now(), start);
  clock.Advance(absl::Seconds(90));
  EXPECT_EQ(clock.Now(), start + absl::Seconds(90));
  EXPECT_EQ(clock.CacheSeconds(), seconds + 90);
}

TEST(ThreadName, IsCutToWhatTheKernelKeeps) {
  std::jthread([] {
    SetThreadName("kv-a-rather-long-name");
    char name[32] = {};
    pthread_getname_np(pthread_self(), name, sizeof(name));
    EXPECT_STREQ(name, "kv-a-rather-lon");
  }).join();
}

}  // namespace
}  // namespace kvgate::storage
