// Counter-based random numbers: Philox4x32-10, and streams named by a path through branches.
#pragma once
#include <array>
#include <cstdint>

namespace npr::sample {

using Words = std::array<uint32_t, 4>;

// Philox4x32 with 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
Words philox(Words counter, std::array<uint32_t, 2> key);

// The random numbers of one path of one choice: a value of 128 bits that depends on the seed, the choice and the path
// alone. Children are derived by the generator itself, so that streams meet only by a chance of 2^-128 a pair.
class Stream {
 public:
  static Stream root(uint64_t seed, uint32_t choice);
  // The stream of branch `branch` of the `block`-th block that this path opened.
  Stream child(uint32_t block, uint32_t branch) const;
  // The number for the `index`-th sampled token of this path, in [0, 1), 53 bits.
  double uniform(uint64_t index) const;
  bool operator==(const Stream&) const = default;

 private:
  explicit Stream(const Words& id) : id_(id) {}
  Words id_;
};

}  // namespace npr::sample
