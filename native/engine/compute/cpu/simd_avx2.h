// Sixteen floats in two AVX registers; a bf16 pair is two fused multiply-adds, the first element's first.
// Included by kernels_avx2.cc alone.
#pragma once
#include <immintrin.h>

#include "compute/cpu/kernels.h"

namespace npr::compute {
namespace {

constexpr const char* isa_name = "avx2";
constexpr int tile_rows = 6, linear_rows = tile_rows;
constexpr int accumulators = 6;      // of two registers: with a right vector, a left element and a mask, all 16
constexpr bool right_stays = false;  // but what all rows have: its registers are the sums'
constexpr int pair_parts = 2;        // a pair is multiplied one element after the other
using Operand = float;               // left operands are widened once, not at each of the panels that they meet

struct Vec {
  __m256 a, b;
};
using Right = Vec;  // sixteen elements

inline Vec set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Vec load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float* p, Vec x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline Vec operator+(Vec x, Vec y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline Vec operator-(Vec x, Vec y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline Vec operator*(Vec x, Vec y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline Vec operator/(Vec x, Vec y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline Vec fma(Vec x, Vec y, Vec z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
// y where either is NaN
inline Vec max(Vec x, Vec y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline Vec min(Vec x, Vec y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline __m256 low_bits_as_exponent(__m256 x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 23));
}
inline Vec low_bits_as_exponent(Vec x) { return {low_bits_as_exponent(x.a), low_bits_as_exponent(x.b)}; }
// y, but 0 where x < limit
inline Vec zero_below(Vec x, float limit, Vec y) {
  const __m256 l = _mm256_set1_ps(limit);
  return {_mm256_and_ps(_mm256_cmp_ps(x.a, l, _CMP_NLT_UQ), y.a),
          _mm256_and_ps(_mm256_cmp_ps(x.b, l, _CMP_NLT_UQ), y.b)};
}

inline float reduce_add(Vec x) {
  const __m256 h = _mm256_add_ps(x.a, x.b);
  __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  q = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ps(q, _mm_movehdup_ps(q)));
}
inline float reduce_max(Vec x) {
  const __m256 h = _mm256_max_ps(x.a, x.b);
  __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  q = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ps(q, _mm_movehdup_ps(q)));
}

inline __m256 load_bf16x8(const bf16* p) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
}
inline Vec load_bf16(const bf16* p) { return {load_bf16x8(p), load_bf16x8(p + 8)}; }
// The bf16 nearest to each lane, ties to even, in the lane's lower half.
inline __m256i to_bf16(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));  // a NaN must not round to infinity
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
}
inline void store_bf16(bf16* p, Vec x) {
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(to_bf16(x.a), to_bf16(x.b)), 0xd8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), packed);
}
// Rounded to bf16; returns what was stored.
inline Vec store_operands(Operand* p, Vec x) {
  const Vec rounded{_mm256_castsi256_ps(_mm256_slli_epi32(to_bf16(x.a), 16)),
                    _mm256_castsi256_ps(_mm256_slli_epi32(to_bf16(x.b), 16))};
  store(p, rounded);
  return rounded;
}

// The even or the odd elements of sixteen pairs.
template <int part>
inline Right load_pairs(const bf16* p) {
  asm("# part %c1"
      : "+r"(p)
      : "i"(part));  // or what one part loaded would be kept for the other, in registers that the sums need
  const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 16));
  if constexpr (part == 0) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b, 16))};
  }
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm256_castsi256_ps(_mm256_and_si256(a, upper)), _mm256_castsi256_ps(_mm256_and_si256(b, upper))};
}
// The same of pairs whose even elements are a lane at x and whose odd ones a lane at y: every second element of a line.
template <int part>
inline Right load_lanes(const bf16* x, const bf16* y) {
  const auto lane = reinterpret_cast<uintptr_t>(part == 0 ? x : y);
  const auto* line = reinterpret_cast<const __m256i*>(lane & ~uintptr_t{2});
  const __m128i bits = _mm_cvtsi32_si128(static_cast<int>((~lane & 2) << 3));
  const auto upper = [&](__m256i words) {
    return _mm256_castsi256_ps(
        _mm256_and_si256(_mm256_sll_epi32(words, bits), _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
  };
  return {upper(_mm256_loadu_si256(line)), upper(_mm256_loadu_si256(line + 1))};
}
// The same of pairs whose even elements lie at x and whose odd ones at y.
template <int part>
inline Right load_interleaved(const bf16* x, const bf16* y) {
  return load_bf16(part == 0 ? x : y);
}
// Adds the products of one element of the pair. As written: left to itself, g++ 12 broadcasts ahead and spills sums.
inline Vec dot(Vec acc, const Operand* element, Right right) {
  __m256 left;
  asm("vbroadcastss %3, %2\n\tvfmadd231ps %4, %2, %0\n\tvfmadd231ps %5, %2, %1"
      : "+x"(acc.a), "+x"(acc.b), "=&x"(left)
      : "m"(*element), "x"(right.a), "x"(right.b));
  return acc;
}

inline void transpose(__m256 (&m)[8]) {
  __m256 t[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(m[i], m[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(m[i], m[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    m[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    m[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    m[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    m[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm256_permute2f128_ps(m[i], m[i + 4], 0x20);
    t[i + 4] = _mm256_permute2f128_ps(m[i], m[i + 4], 0x31);
  }
  for (int i = 0; i < 8; ++i) m[i] = t[i];
}
// By quarters of 8 x 8, the second and third of which change places.
inline void transpose(Vec (&rows)[16]) {
  __m256 quarter[4][8];
  for (int i = 0; i < 8; ++i) {
    quarter[0][i] = rows[i].a;
    quarter[1][i] = rows[8 + i].a;
    quarter[2][i] = rows[i].b;
    quarter[3][i] = rows[8 + i].b;
  }
  for (auto& q : quarter) transpose(q);
  for (int i = 0; i < 8; ++i) {
    rows[i] = {quarter[0][i], quarter[1][i]};
    rows[8 + i] = {quarter[2][i], quarter[3][i]};
  }
}
// out [16][2]: the elements of x and y in turns.
inline void interleave(const bf16* x, const bf16* y, bf16* out) {
  const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(y));
  const __m256i low = _mm256_unpacklo_epi16(a, b), high = _mm256_unpackhi_epi16(a, b);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permute2x128_si256(low, high, 0x20));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 16), _mm256_permute2x128_si256(low, high, 0x31));
}

// Whole numbers, by vpmaddwd: the instruction that multiplies bytes saturates.
using Quant = int16_t;
constexpr uint32_t quant_depth = 2;
constexpr int32_t weight_bias = 0;

struct IntVec {
  __m256i a, b;
};
using IntRight = IntVec;  // sixteen pairs

inline IntVec set1_int(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline Vec to_float(IntVec x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline IntRight load_weights(const std::byte* p) {
  const auto widened = [](const std::byte* q) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(q)));
  };
  return {widened(p), widened(p + 16)};
}
// Adds a pair's products. As written, for the reason above.
inline IntVec dot(IntVec acc, const Quant* pair, IntRight right) {
  __m256i left, product;
  asm("vpbroadcastd %4, %2\n\t"
      "vpmaddwd %5, %2, %3\n\tvpaddd %3, %0, %0\n\t"
      "vpmaddwd %6, %2, %2\n\tvpaddd %2, %1, %1"
      : "+x"(acc.a), "+x"(acc.b), "=&x"(left), "=&x"(product)
      : "m"(*reinterpret_cast<const Quant(*)[2]>(pair)), "x"(right.a), "x"(right.b));
  return acc;
}

}  // namespace
}  // namespace npr::compute
