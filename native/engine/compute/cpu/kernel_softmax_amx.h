// The softmax between attention's two products, for sixteen query vectors at once. Included by kernels_amx.cc alone,
// after kernel_attention.h.
#pragma once

namespace npr::compute {
namespace {

// lanes[i] folded to one number, in lane i of the result. f(a, b): a and b of every lane.
template <class F>
inline Vec fold_lanes(const Vec (&lanes)[16], const F& f) {
  __m512 eights[8], fours[4], twos[2];
  const auto folded = [&](__m512 a, __m512 b) { return f(Vec{a}, Vec{b}).v; };
  for (int i = 0; i < 8; ++i) {  // [i's halves folded | i + 8's]
    const __m512 a = lanes[i].v, b = lanes[i + 8].v;
    eights[i] = folded(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  }
  for (int i = 0; i < 4; ++i) {  // a quarter each: i, i + 8, i + 4, i + 12
    const __m512 a = eights[i], b = eights[i + 4];
    fours[i] = folded(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
  for (int i = 0; i < 2; ++i) {
    const __m512 a = fours[i], b = fours[i + 2];
    twos[i] = folded(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  }
  const __m512 all = folded(_mm512_unpacklo_ps(twos[0], twos[1]), _mm512_unpackhi_ps(twos[0], twos[1]));
  return {_mm512_shuffle_f32x4(all, all, 0xd8)};
}

// 2^x for x <= 1; relative error under 3e-7, 1 at 0 exactly, 0 below 2^-126.
inline Vec power_of_two(Vec x) {
  const Vec magic = set1(12582912.0f + 127.0f);  // see exp_within
  x = max(set1(-127.0f), x);
  const Vec shifted = x + magic, r = x - (shifted - magic);
  Vec p = set1(1.32647273e-3f);
  p = fma(p, r, set1(9.67151299e-3f));
  p = fma(p, r, set1(5.55073358e-2f));
  p = fma(p, r, set1(2.40222424e-1f));
  p = fma(p, r, set1(6.93147004e-1f));
  p = fma(p, r, set1(1.0f));
  return p * low_bits_as_exponent(shifted);
}

// Scores [rows][64], of at most sixteen vectors from `first` on, to probabilities relative to the running maxima; what
// was summed so far is rescaled.
inline void amx_softmax(const ChunkTask& t, uint32_t first, uint32_t rows, float (*scores)[chunk_keys]) {
  constexpr int vectors = chunk_keys / 16;
  const Vec unseen = set1(-infinity);
  Vec lanes[16] = {};
  for (uint32_t r = 0; r < rows; ++r) {
    if (const uint32_t seen = t.visible[first + r]; seen < chunk_keys) {
      for (int i = 0; i < vectors; ++i) {
        const auto mask = static_cast<__mmask16>(~uint64_t{0} << seen >> 16 * i);
        _mm512_mask_storeu_ps(scores[r] + 16 * i, mask, unseen.v);
      }
    }
    const auto at = [&](int i) { return load(scores[r] + 16 * i); };
    lanes[r] = max(max(at(0), at(1)), max(at(2), at(3)));
  }
  const auto exist = static_cast<__mmask16>((1u << rows) - 1);
  const auto load_rows = [&](const float* p) { return Vec{_mm512_maskz_loadu_ps(exist, p + first)}; };
  const Vec before = load_rows(t.max);
  const Vec now = max(fold_lanes(lanes, [](Vec a, Vec b) { return max(a, b); }) * set1(t.scale), before);
  const Vec shrink = exp_negative(before - now);
  constexpr float log2_e = 1.44269504f;
  alignas(64) float start[16], factor[16];
  store(start, now * set1(log2_e));
  store(factor, shrink);
  const Vec scale = set1(t.scale * log2_e);
  for (uint32_t r = 0; r < rows; ++r) {
    const Vec at = set1(start[r]);
    bf16* to = static_cast<bf16*>(t.probabilities) + (first + r) * chunk_keys;
    Vec p[vectors];
    for (int i = 0; i < vectors; ++i) {
      const Vec x{_mm512_fmsub_ps(load(scores[r] + 16 * i).v, scale.v, at.v)};
      p[i] = store_operands(to + 16 * i, power_of_two(x));  // the weights that are summed are those that are used
    }
    lanes[r] = (p[0] + p[1]) + (p[2] + p[3]);
  }
  const Vec sum = load_rows(t.sum) * shrink + fold_lanes(lanes, [](Vec a, Vec b) { return a + b; });
  _mm512_mask_storeu_ps(t.max + first, exist, now.v);
  _mm512_mask_storeu_ps(t.sum + first, exist, sum.v);
  // Only what is neither zero yet nor to be multiplied by one.
  const auto rescaled = static_cast<__mmask16>(exist & _mm512_cmp_ps_mask(before.v, now.v, _CMP_NEQ_UQ) &
                                               _mm512_cmp_ps_mask(before.v, unseen.v, _CMP_NEQ_UQ));
  for (uint32_t left = rescaled; left; left &= left - 1) {
    const int r = __builtin_ctz(left);
    float* out = t.out + (first + static_cast<uint32_t>(r)) * size_t{t.head_dim};
    for (uint32_t i = 0; i < t.head_dim; i += 16) store(out + i, load(out + i) * set1(factor[r]));
  }
}

}  // namespace
}  // namespace npr::compute
