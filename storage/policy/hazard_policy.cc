// SPDX-License-Identifier: Apache-2.0
//
// A chain is the blocks that one request was the last to use. Its class is what was seen of that
// request; HazardModel says what its blocks are worth by class and age. The chain of least worth
// goes first, from its deepest block.
#include <algorithm>
#include <deque>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "storage/base/check.h"
#include "storage/policy/chain_policy.h"
#include "storage/policy/hazard_model.h"

namespace kvgate::storage {
namespace {

constexpr int64_t kLearnMs = 30000;
constexpr size_t kOrderShare = 4;        // this part of the chains is put in order at a time
constexpr float kContinuedShare = 0.1F;  // what is left of a chain that was gone on with
constexpr uint32_t kGhostsMin = 4096;
constexpr float kGhostShare = 4;  // chains remembered for each resident one

class ChainPolicyImpl final : public ChainPolicy {
 public:
  explicit ChainPolicyImpl(bool learns) : learns_(learns) {}

  void Use(std::span<const ChainBlock> chain, const ChainHints& hints, int64_t now_ms) override {
    KVGATE_CHECK(!chain.empty());
    now_ms_ = std::max(now_ms_, now_ms);
    Learn();
    uint32_t known = 0;
    const uint32_t before = Continued(chain, &known);
    uint32_t turn = 0;
    if (before != kNoChain) turn = chains_[before].turn + 1u;
    if (hints.turn > 0) turn = hints.turn - 1;
    for (const ChainBlock& block : chain) {
      if (block.slot != kNotResident)
        known = std::max<uint32_t>(known, 1 + (&block - chain.data()));
    }
    current_ = NewChain();
    Chain& made = chains_[current_];
    made.turn = static_cast<uint8_t>(std::min(turn, 200u));
    made.cls = ClassOf(turn, hints.output_tokens, chain.size() - known);
    made.used_ms = now_ms_;
    for (const ChainBlock& block : chain) {
      if (block.slot == kNotResident) continue;
      Unlink(block.slot);
      Link(block.slot);
    }
    Name(chain);
    accesses_ += chain.size();
  }

  bool WorthRoom(int64_t now_ms) override {
    const uint32_t slot = First(now_ms);
    if (slot == kNotResident || !learns_) return true;
    return Worth(chains_[current_]) >= Worth(chains_[slots_[slot].chain]);
  }

  void Add(uint32_t slot) override {
    if (slot >= slots_.size()) slots_.resize(slot + 1);
    KVGATE_CHECK(slots_[slot].chain == kNoChain && current_ != kNoChain);
    Link(slot);
  }

  void Remove(uint32_t slot) override { Unlink(slot); }

  uint32_t First(int64_t now_ms) override {
    now_ms_ = std::max(now_ms_, now_ms);
    for (bool again = false;; again = true) {
      if (accesses_ >= next_order_) Order();
      for (; at_ < order_.size(); ++at_) {
        const Chain& chain = chains_[order_[at_].chain];
        if (chain.stamp == order_[at_].stamp && chain.blocks > 0) return chain.tail;
      }
      if (again) return kNotResident;
      next_order_ = 0;
    }
  }

  uint32_t Next(uint32_t slot) const override {
    if (slots_[slot].up != kNotResident) return slots_[slot].up;
    for (size_t i = size_t{chains_[slots_[slot].chain].rank} + 1; i < order_.size(); ++i) {
      const Chain& chain = chains_[order_[i].chain];
      if (chain.stamp == order_[i].stamp && chain.blocks > 0) return chain.tail;
    }
    return kNotResident;
  }

 private:
  static constexpr uint32_t kNoChain = 0xFFFFFFFF;
  struct Slot {
    uint32_t chain = kNoChain, up = kNotResident, down = kNotResident;
  };
  struct Chain {
    int64_t used_ms = 0;
    uint64_t names[2] = {0, 0};
    uint32_t tail = kNotResident, blocks = 0, stamp = 0;
    uint32_t rank = kNoChain;  // its place in the order, when it has one
    uint8_t cls = 0, turn = 0;
    bool waiting = false, live = false;
  };
  struct Ranked {
    float worth;
    uint32_t chain, stamp;
  };

  static uint8_t ClassOf(uint32_t turn, uint32_t output, size_t fresh) {
    const uint32_t t = std::min(turn, 3u);
    const uint32_t o = output == 0 ? 3 : output < 30 ? 0 : output < 400 ? 1 : 2;
    const uint32_t f = fresh < 2 ? 0 : fresh < 6 ? 1 : fresh < 16 ? 2 : 3;
    return static_cast<uint8_t>((t * 4 + o) * 4 + f);
  }

  float Worth(const Chain& chain) const {
    if (!learns_) return static_cast<float>(chain.used_ms - now_ms_);
    const float worth = model_.Worth(chain.cls, now_ms_ - chain.used_ms);
    return chain.waiting ? worth : worth * kContinuedShare;
  }

  // The chain that this request goes on with, and how deep its blocks were known. It has returned.
  uint32_t Continued(std::span<const ChainBlock> chain, uint32_t* known) {
    for (size_t i = chain.size(); i-- > 0;) {
      const auto named = names_.find(chain[i].key);
      if (named == names_.end()) continue;
      Chain& before = chains_[named->second];
      if (!before.waiting) break;
      model_.Returned(before.cls, now_ms_ - before.used_ms);
      before.waiting = false;
      *known = static_cast<uint32_t>(i + 1);
      return named->second;
    }
    return kNoChain;
  }

  void Name(std::span<const ChainBlock> chain) {
    Chain& made = chains_[current_];
    made.waiting = true;
    made.names[0] = chain.back().key;
    names_[made.names[0]] = current_;
    if (chain.size() < 3) return;
    made.names[1] = chain[chain.size() - 2].key;
    names_[made.names[1]] = current_;
  }

  uint32_t NewChain() {
    while (ages_.size() > kGhostsMin &&
           ages_.size() > kGhostShare * static_cast<float>(resident_)) {
      const uint32_t oldest = ages_.front();
      Chain& chain = chains_[oldest];
      if (chain.blocks > 0) {  // not a ghost: to the end of the queue
        ages_.push_back(oldest);
        ages_.pop_front();
        if (++skipped_ > 8) break;
        continue;
      }
      ages_.pop_front();
      Forget(oldest);
    }
    skipped_ = 0;
    uint32_t number = static_cast<uint32_t>(chains_.size());
    if (free_.empty()) {
      chains_.emplace_back();
    } else {
      number = free_.back();
      free_.pop_back();
    }
    chains_[number].live = true;
    ages_.push_back(number);
    return number;
  }

  void Forget(uint32_t number) {
    Chain& chain = chains_[number];
    if (chain.waiting) model_.Lost(chain.cls, now_ms_ - chain.used_ms);
    for (const uint64_t name : chain.names) {
      const auto it = names_.find(name);
      if (it != names_.end() && it->second == number) names_.erase(it);
    }
    const uint32_t stamp = chain.stamp + 1;
    chain = Chain{};
    chain.stamp = stamp;
    free_.push_back(number);
  }

  void Link(uint32_t slot) {
    Chain& chain = chains_[current_];
    if (chain.blocks++ == 0) ++resident_;
    slots_[slot] = {current_, chain.tail, kNotResident};
    if (chain.tail != kNotResident) slots_[chain.tail].down = slot;
    chain.tail = slot;
  }

  void Unlink(uint32_t slot) {
    Slot& gone = slots_[slot];
    Chain& chain = chains_[gone.chain];
    if (--chain.blocks == 0) --resident_;
    if (gone.up != kNotResident) slots_[gone.up].down = gone.down;
    if (gone.down != kNotResident) {
      slots_[gone.down].up = gone.up;
    } else {
      chain.tail = gone.up;
    }
    gone = {};
  }

  void Learn() {
    if (!learns_ || now_ms_ < next_learn_ms_) return;
    next_learn_ms_ = now_ms_ + kLearnMs;
    model_.BeginLearning();
    for (const Chain& chain : chains_) {
      if (chain.waiting) model_.Waiting(chain.cls, now_ms_ - chain.used_ms);
    }
    model_.FinishLearning();
  }

  // Worth changes slowly: the order is made again after as many accesses as a quarter of chains.
  void Order() {
    for (const Ranked& ranked : order_) chains_[ranked.chain].rank = kNoChain;
    order_.clear();
    for (uint32_t i = 0; i < chains_.size(); ++i) {
      const Chain& chain = chains_[i];
      if (chain.blocks > 0) order_.push_back({Worth(chain), i, chain.stamp});
    }
    const size_t part = order_.size() / kOrderShare + 16;
    const auto less = [](const Ranked& a, const Ranked& b) { return a.worth < b.worth; };
    if (part < order_.size()) {
      std::nth_element(order_.begin(), order_.begin() + part, order_.end(), less);
      order_.resize(part);
    }
    std::sort(order_.begin(), order_.end(), less);
    for (size_t i = 0; i < order_.size(); ++i) {
      chains_[order_[i].chain].rank = static_cast<uint32_t>(i);
    }
    at_ = 0;
    next_order_ = accesses_ + part;
  }

  const bool learns_;
  HazardModel model_;
  std::deque<Slot> slots_;
  std::deque<Chain> chains_;
  std::vector<uint32_t> free_;
  std::deque<uint32_t> ages_;
  absl::flat_hash_map<uint64_t, uint32_t> names_;
  std::vector<Ranked> order_;
  size_t at_ = 0;
  uint64_t accesses_ = 0, next_order_ = 0;
  uint32_t current_ = kNoChain, resident_ = 0, skipped_ = 0;
  int64_t now_ms_ = 0, next_learn_ms_ = kLearnMs;
};

}  // namespace

std::unique_ptr<ChainPolicy> NewHazardChainPolicy() {
  return std::make_unique<ChainPolicyImpl>(true);
}
std::unique_ptr<ChainPolicy> NewLruChainPolicy() {
  return std::make_unique<ChainPolicyImpl>(false);
}

}  // namespace kvgate::storage
