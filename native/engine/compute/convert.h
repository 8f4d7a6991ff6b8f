// The 16-bit float formats of checkpoints, to and from float.
#pragma once
#include <bit>
#include <cstdint>

namespace npr::compute {

inline float to_float(uint16_t bf16_bits) { return std::bit_cast<float>(uint32_t{bf16_bits} << 16); }

// Nearest, ties to even; a NaN stays one.
inline uint16_t to_bf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>((bits | 0x400000) >> 16);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float half_to_float(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16, rest = half & 0x7fffu;
  if (rest >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | (rest << 13));  // infinity or NaN
  // The exponent's bias goes from 15 to 127 by an exact product, which also normalises subnormals.
  const float magnitude = std::bit_cast<float>(rest << 13) * 0x1p112f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

}  // namespace npr::compute
