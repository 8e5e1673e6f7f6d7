// SPDX-License-Identifier: Apache-2.0
#include "storage/policy/hazard_model.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace kvgate::storage {
namespace {

constexpr uint32_t kBins = HazardModel::kBins;
constexpr uint32_t kLinearBins = 40;  // of 5 s; later ones are wider by a tenth each
constexpr int64_t kLinearMs = 5000;
constexpr double kGrowth = 1.1;
constexpr float kPriorReturns = 5;  // pull of m to 1
constexpr uint32_t kZoneBins = 8;

// Start of each bin in seconds; one more for the end of the last.
const std::array<double, kBins + 1>& Edges() {
  static const auto edges = [] {
    std::array<double, kBins + 1> made{};
    for (uint32_t b = 0; b <= kBins; ++b) {
      made[b] = b <= kLinearBins ? 5.0 * b : made[b - 1] + 5.0 * std::pow(kGrowth, b - kLinearBins);
    }
    return made;
  }();
  return edges;
}

}  // namespace

uint32_t HazardModel::BinOf(int64_t age_ms) {
  if (age_ms < 0) return 0;
  if (age_ms < kLinearBins * kLinearMs) return static_cast<uint32_t>(age_ms / kLinearMs);
  const auto& edges = Edges();
  const double age_s = static_cast<double>(age_ms) / 1000;
  const auto it = std::upper_bound(edges.begin() + kLinearBins, edges.end() - 1, age_s);
  return std::min<uint32_t>(kBins, it - edges.begin()) - 1;
}

HazardModel::HazardModel() {
  BeginLearning();
  FinishLearning();
}

void HazardModel::BeginLearning() { waiting_ = {}; }

void HazardModel::FinishLearning() {
  Histogram at_risk{};
  std::array<float, kBins> all_returned{}, all_at_risk{}, shared{};
  for (uint32_t c = 0; c < kClasses; ++c) {
    float later = 0;
    for (uint32_t b = kBins; b-- > 0;) {
      const float censored = lost_[c][b] + waiting_[c][b];
      at_risk[c][b] = later + returned_[c][b] + censored / 2;
      later += returned_[c][b] + censored;
      all_returned[b] += returned_[c][b];
      all_at_risk[b] += at_risk[c][b];
    }
  }
  // Smoothed over three bins to each side. Where nothing is known, older is worse: one imaginary
  // return in twice the age.
  const auto& edges = Edges();
  for (uint32_t b = 0; b < kBins; ++b) {
    const double width = edges[b + 1] - edges[b];
    const double prior = std::min(0.5, 0.3 * width / (edges[b] + 30));
    double n = 2 * prior, at = 2;
    for (int d = -3; d <= 3; ++d) {
      const int other = static_cast<int>(b) + d;
      if (other < 0 || other >= static_cast<int>(kBins)) continue;
      const double weight = 4 - std::abs(d);
      const double scale = width / (edges[other + 1] - edges[other]);
      n += weight * all_returned[other] * scale;
      at += weight * all_at_risk[other];
    }
    shared[b] = static_cast<float>(std::min(0.9, n / at));
  }
  for (uint32_t c = 0; c < kClasses; ++c) LearnClass(c, at_risk[c], shared);
}

void HazardModel::LearnClass(uint32_t cls, const std::array<float, kBins>& at_risk,
                             const std::array<float, kBins>& shared) {
  // Survival at the start of each bin, and the time waited until then.
  const auto& edges = Edges();
  std::array<double, kBins + 1> alive{}, waited{};
  alive[0] = 1;
  for (uint32_t from = 0; from < kBins; from += kZoneBins) {
    const uint32_t end = std::min(kBins, from + kZoneBins);
    float n = kPriorReturns, expected = kPriorReturns;
    for (uint32_t b = from; b < end; ++b) {
      n += returned_[cls][b];
      expected += at_risk[b] * shared[b];
    }
    const double times = n / expected;
    for (uint32_t b = from; b < end; ++b) {
      const double hazard = std::min(0.95, shared[b] * times);
      alive[b + 1] = alive[b] * (1 - hazard);
      waited[b + 1] = waited[b] + (edges[b + 1] - edges[b]) * (alive[b] + alive[b + 1]) / 2;
    }
  }
  for (uint32_t b = 0; b < kBins; ++b) {
    double best = 0;
    for (uint32_t k = b + 1; k <= kBins; ++k) {
      if (waited[k] - waited[b] <= 1e-12) break;
      best = std::max(best, (alive[b] - alive[k]) / (waited[k] - waited[b]));
    }
    worth_[cls][b] = static_cast<float>(best);
  }
}

}  // namespace kvgate::storage
