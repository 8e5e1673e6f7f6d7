// SPDX-License-Identifier: Apache-2.0
//
// HazardModel: how soon chains of a class come back, learned from those that did and did not.
//
// A chain of class c that is idle for `age` returns with hazard H(age) * m(c, zone of age): H is
// shared by all classes, m says how much likelier this class is there, and is pulled to 1 by a few
// imaginary returns, so that a class without data behaves as all do. The worth of its blocks is the
// best, over how long one would still wait, of returns expected per time waited.
// Threads: thread-compatible. Ownership: values only. Errors: none. Limits: fixed arrays.
#pragma once

#include <array>
#include <cstdint>

namespace kvgate::storage {

class HazardModel {
 public:
  static constexpr uint32_t kClasses = 64;
  static constexpr uint32_t kBins = 96;

  HazardModel();

  static uint32_t BinOf(int64_t age_ms);

  // A chain ended at this age: it returned, or nothing more will be known of it.
  void Returned(uint32_t cls, int64_t age_ms) { ++returned_[cls][BinOf(age_ms)]; }
  void Lost(uint32_t cls, int64_t age_ms) { ++lost_[cls][BinOf(age_ms)]; }

  // Learning: Begin, Waiting for each chain that may still return, then Finish.
  void BeginLearning();
  void Waiting(uint32_t cls, int64_t age_ms) { ++waiting_[cls][BinOf(age_ms)]; }
  void FinishLearning();

  // Expected returns per second of waiting.
  float Worth(uint32_t cls, int64_t age_ms) const { return worth_[cls][BinOf(age_ms)]; }

 private:
  using Histogram = std::array<std::array<float, kBins>, kClasses>;
  void LearnClass(uint32_t cls, const std::array<float, kBins>& at_risk,
                  const std::array<float, kBins>& shared);

  Histogram returned_{}, lost_{}, waiting_{}, worth_{};
};

}  // namespace kvgate::storage
