// Sixteen floats as an array, for any machine; a bf16 pair is two products added in turn.
// Included by kernels_plain.cc alone.
#pragma once
#include "compute/cpu/kernels.h"

namespace npr::compute {
namespace {

constexpr const char* isa_name = "plain";
constexpr int tile_rows = 2, linear_rows = tile_rows;
constexpr int accumulators = 2;
constexpr bool right_stays = false;
constexpr int pair_parts = 2;
using Operand = float;

struct Vec {
  float v[16];
};
using Right = Vec;

inline float from_bits(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}
inline uint32_t to_bits(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}

template <class F>
inline Vec lanes(F f) {
  Vec out;
  for (int i = 0; i < 16; ++i) out.v[i] = f(i);
  return out;
}

inline Vec set1(float x) {
  return lanes([&](int) { return x; });
}
inline Vec load(const float* p) {
  return lanes([&](int i) { return p[i]; });
}
inline void store(float* p, const Vec& a) { __builtin_memcpy(p, a.v, sizeof a.v); }
inline Vec operator+(const Vec& a, const Vec& b) {
  return lanes([&](int i) { return a.v[i] + b.v[i]; });
}
inline Vec operator-(const Vec& a, const Vec& b) {
  return lanes([&](int i) { return a.v[i] - b.v[i]; });
}
inline Vec operator*(const Vec& a, const Vec& b) {
  return lanes([&](int i) { return a.v[i] * b.v[i]; });
}
inline Vec operator/(const Vec& a, const Vec& b) {
  return lanes([&](int i) { return a.v[i] / b.v[i]; });
}
// Rounds twice: a fused one without the instruction is a slow library call.
inline Vec fma(const Vec& a, const Vec& b, const Vec& c) { return a * b + c; }
// b where either is NaN
inline Vec max(const Vec& a, const Vec& b) {
  return lanes([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline Vec min(const Vec& a, const Vec& b) {
  return lanes([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline Vec low_bits_as_exponent(const Vec& a) {
  return lanes([&](int i) { return from_bits(to_bits(a.v[i]) << 23); });
}
// a, but 0 where x < limit
inline Vec zero_below(const Vec& x, float limit, const Vec& a) {
  return lanes([&](int i) { return x.v[i] < limit ? 0.0f : a.v[i]; });
}

template <class F>
inline float reduce(Vec a, F fold) {
  for (int width = 8; width; width /= 2) {
    for (int i = 0; i < width; ++i) a.v[i] = fold(a.v[i], a.v[i + width]);
  }
  return a.v[0];
}
inline float reduce_add(const Vec& a) {
  return reduce(a, [](float x, float y) { return x + y; });
}
inline float reduce_max(const Vec& a) {
  return reduce(a, [](float x, float y) { return x > y ? x : y; });
}

inline Vec load_bf16(const bf16* p) {
  return lanes([&](int i) { return from_bits(uint32_t{p[i]} << 16); });
}
// Nearest, ties to even.
inline void store_bf16(bf16* p, const Vec& a) {
  for (int i = 0; i < 16; ++i) {
    const uint32_t bits = to_bits(a.v[i]);
    const uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
    const bool nan = (bits & 0x7fffffff) > 0x7f800000;  // must not round to infinity
    p[i] = static_cast<bf16>((nan ? bits | 0x400000 : rounded) >> 16);
  }
}

// Rounded to bf16; returns what was stored.
inline Vec store_operands(Operand* p, const Vec& a) {
  bf16 rounded[16];
  store_bf16(rounded, a);
  const Vec stored = load_bf16(rounded);
  store(p, stored);
  return stored;
}

// The even or the odd elements of sixteen pairs.
template <int part>
inline Right load_pairs(const bf16* p) {
  return lanes([&](int i) { return from_bits(uint32_t{p[2 * i + part]} << 16); });
}
// The same of pairs whose even elements are a lane at a and whose odd ones a lane at b: every second element of a line.
template <int part>
inline Right load_lanes(const bf16* a, const bf16* b) {
  return load_pairs<0>(part == 0 ? a : b);
}
// The same of pairs whose even elements lie at a and whose odd ones at b.
template <int part>
inline Right load_interleaved(const bf16* a, const bf16* b) {
  return load_bf16(part == 0 ? a : b);
}
// Adds the products of one element of the pair.
inline Vec dot(const Vec& acc, const Operand* element, const Right& right) {
  return lanes([&](int i) { return acc.v[i] + *element * right.v[i]; });
}

inline void transpose(Vec (&rows)[16]) {
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < i; ++j) {
      const float x = rows[i].v[j];
      rows[i].v[j] = rows[j].v[i];
      rows[j].v[i] = x;
    }
  }
}
// out [16][2]: the elements of a and b in turns.
inline void interleave(const bf16* a, const bf16* b, bf16* out) {
  for (int i = 0; i < 16; ++i) {
    out[2 * i] = a[i];
    out[2 * i + 1] = b[i];
  }
}

// Whole numbers.
using Quant = int16_t;
constexpr uint32_t quant_depth = 2;
constexpr int32_t weight_bias = 0;

struct IntVec {
  int32_t v[16];
};
struct IntRight {  // sixteen pairs
  int16_t v[32];
};

inline IntVec set1_int(int32_t x) {
  IntVec out;
  for (int32_t& lane : out.v) lane = x;
  return out;
}
inline Vec to_float(const IntVec& x) {
  return lanes([&](int i) { return static_cast<float>(x.v[i]); });
}
inline IntRight load_weights(const std::byte* p) {
  IntRight out;
  for (int i = 0; i < 32; ++i) out.v[i] = static_cast<int8_t>(p[i]);
  return out;
}
// Adds a pair's products.
inline IntVec dot(const IntVec& acc, const Quant* pair, const IntRight& right) {
  IntVec out;
  for (int i = 0; i < 16; ++i) out.v[i] = acc.v[i] + pair[0] * right.v[2 * i] + pair[1] * right.v[2 * i + 1];
  return out;
}

}  // namespace
}  // namespace npr::compute
