// bfloat16 and IEEE half, by their bits.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace npr::gpu {

// To nearest, ties to even; NaN is 0x7fff, as cvt.rn.bf16 has it.
inline uint16_t to_bf16(float x) {
  if (std::isnan(x)) return 0x7fff;
  const auto bits = std::bit_cast<uint32_t>(x);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline float from_bf16(uint16_t x) { return std::bit_cast<float>(uint32_t{x} << 16); }

inline float from_f16(uint16_t x) {
  const int exponent = x >> 10 & 31, fraction = x & 1023;
  float out = exponent == 0    ? std::ldexp(static_cast<float>(fraction), -24)
              : exponent == 31 ? (fraction ? NAN : INFINITY)
                               : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  return x & 0x8000 ? -out : out;
}

}  // namespace npr::gpu
