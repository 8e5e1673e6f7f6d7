// SPDX-License-Identifier: Apache-2.0
//
// LRU as a doubly linked list through an array. One node more than there are slots is the ends.
#include <deque>
#include <utility>

#include "storage/base/check.h"
#include "storage/memory/eviction_policy.h"

namespace kvgate::storage {
namespace {

class LruPolicy final : public EvictionPolicy {
 public:
  LruPolicy() : nodes_(1, Node{0, 0, true}) {}

  void Add(uint32_t slot) override {
    const size_t node = slot + size_t{1};
    if (node >= nodes_.size()) nodes_.resize(node + 1);
    KVGATE_CHECK(!nodes_[node].linked);
    Link(static_cast<uint32_t>(node));
  }

  void Touch(uint32_t slot) override {
    Unlink(slot + 1);
    Link(slot + 1);
  }

  void Remove(uint32_t slot) override { Unlink(slot + 1); }

  uint32_t First() const override { return SlotOf(nodes_[0].younger); }
  uint32_t Next(uint32_t slot) const override { return SlotOf(nodes_[slot + 1].younger); }

 private:
  struct Node {
    uint32_t older = 0, younger = 0;
    bool linked = false;
  };

  static uint32_t SlotOf(uint32_t node) { return node == 0 ? kNone : node - 1; }

  void Link(uint32_t node) {
    const uint32_t youngest = nodes_[0].older;
    nodes_[node] = Node{youngest, 0, true};
    nodes_[youngest].younger = node;
    nodes_[0].older = node;
  }

  void Unlink(uint32_t node) {
    KVGATE_CHECK(node < nodes_.size() && nodes_[node].linked);
    nodes_[nodes_[node].older].younger = nodes_[node].younger;
    nodes_[nodes_[node].younger].older = nodes_[node].older;
    nodes_[node].linked = false;
  }

  std::deque<Node> nodes_;  // [0]: younger = the oldest, older = the youngest; slot s is s + 1
};

}  // namespace

std::unique_ptr<EvictionPolicy> NewLruPolicy() { return std::make_unique<LruPolicy>(); }

}  // namespace kvgate::storage
