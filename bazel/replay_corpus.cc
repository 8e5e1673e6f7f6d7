// SPDX-License-Identifier: Apache-2.0
//
// main() for a fuzz target under an ordinary compiler: runs the target once on every file of the
// folders named on the command line, then on truncated and bit-flipped copies of each, which are
// the same in every run. A crash names the input on the line before it. No file at all is an error.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr int kChangedCopiesPerFile = 256;

std::vector<uint8_t> ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Runs one input out of a heap block of exactly its size, so that asan sees an overrun.
void RunOne(const std::vector<uint8_t>& input) {
  std::vector<uint8_t> exact(input.begin(), input.end());
  exact.shrink_to_fit();
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

void RunChangedCopies(const std::vector<uint8_t>& input) {
  if (input.empty()) return;
  std::mt19937 random(static_cast<uint32_t>(input.size()));
  for (int i = 0; i < kChangedCopiesPerFile; ++i) {
    std::vector<uint8_t> copy = input;
    if (i % 4 == 0) {
      copy.resize(random() % input.size());
    } else {
      copy[random() % copy.size()] ^= static_cast<uint8_t>(1u << (random() % 8));
    }
    RunOne(copy);
  }
}

}  // namespace

int main(int argc, char** argv) {
  int files = 0;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (!entry.is_regular_file()) continue;
      std::fprintf(stderr, "%s\n", entry.path().c_str());
      const std::vector<uint8_t> input = ReadFile(entry.path());
      RunOne(input);
      RunChangedCopies(input);
      ++files;
    }
  }
  std::fprintf(stderr, "%d inputs, each with %d changed copies\n", files, kChangedCopiesPerFile);
  return files > 0 ? 0 : 1;
}
