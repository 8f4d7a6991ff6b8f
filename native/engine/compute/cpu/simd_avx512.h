// Sixteen floats in one AVX-512 register; bf16 pairs by vdpbf16ps. Included by kernels_avx512.cc alone.
#pragma once
// g++ 12 takes the deliberately undefined operands of its own AVX-512 header for mistakes (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "compute/cpu/kernels.h"

namespace npr::compute {
namespace {

constexpr const char* isa_name = "avx512_bf16";
constexpr int tile_rows = 6;      // of attention, whose chunks have four vectors of keys
constexpr int linear_rows = 8;    // of linear layers: a quarter less of the panels to read
constexpr int accumulators = 24;  // 8 x 3 or 6 x 4, with a step's right vectors and a left pair, fit 32 registers
constexpr bool right_stays = true;
constexpr int pair_parts = 1;
using Operand = bf16;

struct Vec {
  __m512 v;
};
using Right = __m512bh;  // sixteen pairs

inline Vec set1(float x) { return {_mm512_set1_ps(x)}; }
inline Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }
inline Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// b where either is NaN
inline Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vec low_bits_as_exponent(Vec a) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a.v), 23))};
}
// a, but 0 where x < limit
inline Vec zero_below(Vec x, float limit, Vec a) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, _mm512_set1_ps(limit), _CMP_NLT_UQ), a.v)};
}

inline __m128 halves(__m512 v, __m256 (*fold)(__m256, __m256), __m128 (*fold4)(__m128, __m128)) {
  const __m256 h = fold(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  __m128 q = fold4(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  q = fold4(q, _mm_movehl_ps(q, q));
  return fold4(q, _mm_movehdup_ps(q));
}
inline float reduce_add(Vec a) {
  return _mm_cvtss_f32(halves(
      a.v, [](__m256 x, __m256 y) { return _mm256_add_ps(x, y); },
      [](__m128 x, __m128 y) { return _mm_add_ps(x, y); }));
}
inline float reduce_max(Vec a) {
  return _mm_cvtss_f32(halves(
      a.v, [](__m256 x, __m256 y) { return _mm256_max_ps(x, y); },
      [](__m128 x, __m128 y) { return _mm_max_ps(x, y); }));
}

inline Vec load_bf16(const bf16* p) {
  const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16))};
}
// Rounded to bf16; returns what was stored.
inline Vec store_operands(Operand* p, Vec a) {
  const auto v = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a.v));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16))};
}
inline void store_bf16(bf16* p, Vec a) { store_operands(p, a); }

template <int part>
inline Right load_pairs(const bf16* p) {
  return reinterpret_cast<__m512bh>(_mm512_loadu_si512(p));
}
// The same of pairs whose even elements are a lane at a and whose odd ones a lane at b: every second element of a line.
// Lines are loaded whole and shifted by what the address says: from a second lane on they would be two lines' loads.
template <int part>
inline Right load_lanes(const bf16* a, const bf16* b) {
  const auto line = [](uintptr_t lane) {
    return _mm512_load_si512(reinterpret_cast<const void*>(lane & ~uintptr_t{2}));
  };
  const auto bits = [](uintptr_t second) { return _mm_cvtsi32_si128(static_cast<int>((second & 2) << 3)); };
  const auto first = reinterpret_cast<uintptr_t>(a), second = reinterpret_cast<uintptr_t>(b);
  return reinterpret_cast<__m512bh>(_mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srl_epi32(line(first), bits(first)),
                                                            _mm512_sll_epi32(line(second), bits(~second))));
}
// Pairs whose even elements lie at a and whose odd ones at b.
template <int part>
inline Right load_interleaved(const bf16* a, const bf16* b) {
  const __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(a)));
  const __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(b)));
  return reinterpret_cast<__m512bh>(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}
inline Vec dot(Vec acc, const Operand* pair, Right right) {
  int both;
  __builtin_memcpy(&both, pair, sizeof both);
  return {_mm512_dpbf16_ps(acc.v, reinterpret_cast<__m512bh>(_mm512_set1_epi32(both)), right)};
}

// Elements of a and b, rounded, as sixteen pairs of neighbours, or of one each.
inline Vec neighbours(Vec a, Vec b) {
  return {_mm512_castsi512_ps(reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b.v, a.v)))};
}
inline Vec pairs(Vec a, Vec b) {
  alignas(64) static constexpr uint16_t in_turns[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return {_mm512_castsi512_ps(
      _mm512_permutexvar_epi16(_mm512_load_si512(in_turns), _mm512_castps_si512(neighbours(a, b).v)))};
}

// Sixteen lines of sixteen words each, transposed.
inline void transpose_words(__m512i (&m)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(m[i], m[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(m[i], m[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      m[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + j + 2]);
      m[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + j + 2]);
    }
  }
  // a quarter of m[4 a + b] is column 4 (the quarter) + b of rows 4 a to 4 a + 3
#pragma GCC unroll 4
  for (int b = 0; b < 4; ++b) {
    const __m512i low = _mm512_shuffle_i32x4(m[b], m[4 + b], 0x88), high = _mm512_shuffle_i32x4(m[b], m[4 + b], 0xdd);
    const __m512i low2 = _mm512_shuffle_i32x4(m[8 + b], m[12 + b], 0x88);
    const __m512i high2 = _mm512_shuffle_i32x4(m[8 + b], m[12 + b], 0xdd);
    t[b] = _mm512_shuffle_i32x4(low, low2, 0x88);
    t[8 + b] = _mm512_shuffle_i32x4(low, low2, 0xdd);
    t[4 + b] = _mm512_shuffle_i32x4(high, high2, 0x88);
    t[12 + b] = _mm512_shuffle_i32x4(high, high2, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) m[i] = t[i];
}
inline void transpose(Vec (&rows)[16]) {
  __m512i words[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) words[i] = _mm512_castps_si512(rows[i].v);
  transpose_words(words);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) rows[i].v = _mm512_castsi512_ps(words[i]);
}
// Sixteen words of each of eight rows, to all rows' words 2 i and 2 i + 1.
inline void transpose_eight(Vec (&rows)[8]) {
  __m512i m[8], t[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) m[i] = _mm512_castps_si512(rows[i].v);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm512_unpacklo_epi32(m[i], m[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(m[i], m[i + 1]);
  }
  // a quarter of m[2 i + h] is word 4 (the quarter) + i of rows 4 h to 4 h + 3
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      m[4 * j + h] = _mm512_unpacklo_epi64(t[4 * h + j], t[4 * h + j + 2]);
      m[4 * j + 2 + h] = _mm512_unpackhi_epi64(t[4 * h + j], t[4 * h + j + 2]);
    }
  }
#pragma GCC unroll 2
  for (int j = 0; j < 2; ++j) {
    const __m512i* four = m + 4 * j;
    const __m512i low = _mm512_shuffle_i32x4(four[0], four[1], 0x88),
                  low2 = _mm512_shuffle_i32x4(four[2], four[3], 0x88);
    const __m512i high = _mm512_shuffle_i32x4(four[0], four[1], 0xdd);
    const __m512i high2 = _mm512_shuffle_i32x4(four[2], four[3], 0xdd);
    t[j] = _mm512_shuffle_i32x4(low, low2, 0x88);
    t[4 + j] = _mm512_shuffle_i32x4(low, low2, 0xdd);
    t[2 + j] = _mm512_shuffle_i32x4(high, high2, 0x88);
    t[6 + j] = _mm512_shuffle_i32x4(high, high2, 0xdd);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) rows[i].v = _mm512_castsi512_ps(t[i]);
}
// out [16][2]: the elements of a and b in turns.
inline void interleave(const bf16* a, const bf16* b, bf16* out) {
  _mm512_storeu_si512(out, reinterpret_cast<__m512i>(load_interleaved<0>(a, b)));
}

// Whole numbers, by vpdpbusd, which takes weights unsigned.
using Quant = int8_t;
constexpr uint32_t quant_depth = 4;
constexpr int32_t weight_bias = 128;

struct IntVec {
  __m512i v;
};
using IntRight = __m512i;  // sixteen fours

inline IntVec set1_int(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline Vec to_float(IntVec x) { return {_mm512_cvtepi32_ps(x.v)}; }
inline IntRight load_weights(const std::byte* p) { return _mm512_loadu_si512(p); }
// As written: g++ 12 copies each sum before the intrinsic adds to it, and spills.
inline IntVec dot(IntVec acc, const Quant* four, IntRight right) {
  int all;
  __builtin_memcpy(&all, four, sizeof all);
  asm("vpdpbusd %2, %1, %0" : "+v"(acc.v) : "v"(right), "v"(_mm512_set1_epi32(all)));
  return acc;
}

}  // namespace
}  // namespace npr::compute
