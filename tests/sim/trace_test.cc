// SPDX-License-Identifier: Apache-2.0
//
// The conversation trace through the policies: the known figures of LRU and MIN, and what the
// hazard policy has to reach. Contiguous-prefix hits as a share of all references, in percent.
#include "gtest/gtest.h"
#include "tests/sim/simulate.h"

namespace kvgate::sim {
namespace {

class TraceTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    trace_ = new Trace(ReadTrace("tests/sim/conversation_trace.jsonl"));
  }
  static void TearDownTestSuite() { delete trace_; }

  static uint32_t Capacity(double percent) {
    return static_cast<uint32_t>(trace_->unique_blocks * percent / 100);
  }
  static double HitPercent(const Result& result) {
    return 100.0 * static_cast<double>(result.hits) / static_cast<double>(trace_->references);
  }
  static double Hazard(double percent, Hints hints) {
    const double hits =
        HitPercent(ByChains(*trace_, Capacity(percent), hints, storage::NewHazardChainPolicy()));
    std::printf("hazard policy at %.0f %%: %.2f %% hits, hints %s\n", percent, hits,
                hints == Hints::kAll ? "given" : "none");
    return hits;
  }
  static double Lru(double percent) {
    return HitPercent(BlockLru(*trace_, Capacity(percent), /*tail_first=*/true));
  }

  static Trace* trace_;
};

Trace* TraceTest::trace_ = nullptr;

TEST_F(TraceTest, IsTheOneOfWhichTheFiguresAreKnown) {
  EXPECT_EQ(trace_->requests.size(), 12'031u);
  EXPECT_EQ(trace_->references, 288'500u);
  EXPECT_EQ(trace_->unique_blocks, 182'790u);
}

TEST_F(TraceTest, LruHitsWhatIsKnownOfIt) {
  const struct {
    double percent, head_first, tail_first;
    uint64_t writes;
  } known[] = {{5, 19.54, 19.58, 232}, {10, 27.84, 27.89, 208}, {20, 34.46, 34.53, 189}};
  for (const auto& at : known) {
    const Result head = BlockLru(*trace_, Capacity(at.percent), /*tail_first=*/false);
    EXPECT_NEAR(HitPercent(head), at.head_first, 0.01);
    EXPECT_NEAR(static_cast<double>(head.writes) / 1000, static_cast<double>(at.writes), 1);
    EXPECT_NEAR(Lru(at.percent), at.tail_first, 0.01);
  }
}

TEST_F(TraceTest, NoPolicyCanBeatMin) {
  const Result best = MinWithBypass(*trace_, Capacity(5));
  EXPECT_NEAR(HitPercent(best), 36.64, 0.01);
  EXPECT_NEAR(static_cast<double>(best.writes) / 1000, 44, 1);
}

TEST_F(TraceTest, TheHazardPolicyClosesAnEighthOfTheWayFromLruToMin) {
  constexpr double kMin = 36.64, kShare = 0.12;
  for (const auto& [percent, lru] : {std::pair(5.0, 19.54), {10.0, 27.84}}) {
    EXPECT_GE(Hazard(percent, Hints::kAll), lru + kShare * (kMin - lru));
  }
}

TEST_F(TraceTest, WithoutHintsTheHazardPolicyBeatsLruWhereMemoryIsScarce) {
  for (const double percent : {1.0, 2.0, 5.0, 10.0, 20.0}) {
    EXPECT_GT(Hazard(percent, Hints::kNone), Lru(percent)) << percent;
  }
}

}  // namespace
}  // namespace kvgate::sim
