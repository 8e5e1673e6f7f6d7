// SPDX-License-Identifier: Apache-2.0
#include "storage/index/index_conformance.h"

namespace kvgate::storage {
namespace {

struct Sharded {
  static std::unique_ptr<Index> New(uint64_t blocks_max) { return NewShardedIndex(blocks_max); }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Sharded, IndexConformance, Sharded);

}  // namespace
}  // namespace kvgate::storage
