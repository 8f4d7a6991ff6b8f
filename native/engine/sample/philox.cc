#include "sample/philox.h"

namespace npr::sample {

namespace {

// Changes the key where streams are derived, so that a derivation never repeats a block that gave random numbers.
constexpr uint32_t derive = 0x5bd1e995u;

uint32_t low(uint64_t x) { return static_cast<uint32_t>(x); }
uint32_t high(uint64_t x) { return static_cast<uint32_t>(x >> 32); }

}  // namespace

Words philox(Words counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xd2511f53} * counter[0];
    const uint64_t b = uint64_t{0xcd9e8d57} * counter[2];
    counter = {high(b) ^ counter[1] ^ key[0], low(b), high(a) ^ counter[3] ^ key[1], low(a)};
    key[0] += 0x9e3779b9;
    key[1] += 0xbb67ae85;
  }
  return counter;
}

Stream Stream::root(uint64_t seed, uint32_t choice) {
  return Stream(philox({choice, 0, 0, 0}, {low(seed), high(seed) ^ derive}));
}

Stream Stream::child(uint32_t block, uint32_t branch) const {
  return Stream(philox({block, branch, id_[2], id_[3]}, {id_[0], id_[1] ^ derive}));
}

double Stream::uniform(uint64_t index) const {
  const Words out = philox({low(index), high(index), id_[2], id_[3]}, {id_[0], id_[1]});
  return static_cast<double>((uint64_t{out[0]} << 21) | (out[1] >> 11)) * 0x1p-53;
}

}  // namespace npr::sample
