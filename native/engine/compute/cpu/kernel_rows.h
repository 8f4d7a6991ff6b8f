// Operations on one row: norms, rotation, activation. Included once per instruction set.
#pragma once

namespace npr::compute {
namespace {

// The last n < 16 elements of a row, zeros behind them.
inline Vec load_tail(const float* p, uint32_t n) {
  float lanes[16] = {};
  __builtin_memcpy(lanes, p, n * sizeof(float));
  return load(lanes);
}
inline Vec load_some(const float* p, uint32_t n) { return n >= 16 ? load(p) : load_tail(p, n); }
inline void store_some(float* p, Vec a, uint32_t n) {
  if (n >= 16) return store(p, a);
  float lanes[16];
  store(lanes, a);
  __builtin_memcpy(p, lanes, n * sizeof(float));
}
inline void store_some_bf16(bf16* p, Vec a, uint32_t n) {
  if (n >= 16) return store_bf16(p, a);
  bf16 lanes[16];
  store_bf16(lanes, a);
  __builtin_memcpy(p, lanes, n * sizeof(bf16));
}

inline Vec load_operands(const float* p) { return load(p); }
inline Vec load_operands(const bf16* p) { return load_bf16(p); }
inline void narrow_some(float* p, Vec a, uint32_t n) { store_some(p, a, n); }
inline void narrow_some(bf16* p, Vec a, uint32_t n) { store_some_bf16(p, a, n); }

inline void widen(const bf16* x, uint32_t n, bf16* out) { __builtin_memcpy(out, x, n * sizeof(bf16)); }
inline void widen(const bf16* x, uint32_t n, float* out) {
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16) store(out + i, load_bf16(x + i));
  if (i == n) return;
  bf16 tail[16] = {};
  __builtin_memcpy(tail, x + i, (n - i) * sizeof(bf16));
  store_some(out + i, load_bf16(tail), n - i);
}
void operands(const bf16* x, uint32_t n, void* out) { widen(x, n, static_cast<Operand*>(out)); }

inline void narrow(const float* x, uint32_t n, float* out) { __builtin_memcpy(out, x, n * sizeof(float)); }
inline void narrow(const float* x, uint32_t n, bf16* out) {
  for (uint32_t i = 0; i < n; i += 16) store_some_bf16(out + i, load_some(x + i, n - i), n - i);
}
void float_operands(const float* x, uint32_t n, void* out) { narrow(x, n, static_cast<Operand*>(out)); }

// e^x for x in [-87, 88]; relative error under 2e-7, 1 at 0 exactly.
inline Vec exp_within(Vec x) {
  // Adding 1.5 * 2^23 rounds to a whole number n, left in the mantissa's low bits; 127 more make it an exponent.
  const Vec magic = set1(12582912.0f + 127.0f);
  const Vec shifted = fma(x, set1(1.44269504f), magic);
  const Vec whole = shifted - magic;
  // ln 2 in two parts, the first of 9 bits so that its product with `whole` is exact
  const Vec r = fma(whole, set1(2.12194440e-4f), fma(whole, set1(-0.693359375f), x));
  Vec p = set1(1.0f / 720);
  p = fma(p, r, set1(1.0f / 120));
  p = fma(p, r, set1(1.0f / 24));
  p = fma(p, r, set1(1.0f / 6));
  p = fma(p, r, set1(0.5f));
  p = fma(p, r, set1(1.0f));
  p = fma(p, r, set1(1.0f));
  return p * low_bits_as_exponent(shifted);
}
// e^x for x <= 88, 0 below -87. With the limit first, max() and min() keep a NaN.
inline Vec exp_negative(Vec x) { return zero_below(x, -87.0f, exp_within(max(set1(-87.0f), x))); }
// e^x, e^88 from 88 on.
inline Vec exp(Vec x) { return exp_negative(min(set1(88.0f), x)); }
inline float exp(float x) {
  float lanes[16];
  store(lanes, exp(set1(x)));
  return lanes[0];
}

inline float inverse_rms(const float* x, uint32_t n, float eps) {
  Vec sum = set1(0.0f);
  for (uint32_t i = 0; i < n; i += 16) {
    const Vec v = load_some(x + i, n - i);
    sum = fma(v, v, sum);
  }
  return 1.0f / __builtin_sqrtf(reduce_add(sum) / static_cast<float>(n) + eps);
}

void rms_norm(const float* x, const float* weight, uint32_t n, float eps, bf16* out) {
  const Vec scale = set1(inverse_rms(x, n, eps));
  for (uint32_t i = 0; i < n; i += 16) {
    store_some_bf16(out + i, load_some(x + i, n - i) * scale * load_some(weight + i, n - i), n - i);
  }
}

// Pairs of the rotation are (i, i + head_dim / 2).
void rotate(const float* x, const float* weight, uint32_t head_dim, float eps, const Rotation& at, bf16* out) {
  const Vec scale = set1(inverse_rms(x, head_dim, eps));
  const uint32_t half = head_dim / 2;
  for (uint32_t i = 0; i < half; i += 16) {
    const uint32_t n = half - i;
    const Vec a = load_some(x + i, n) * scale * load_some(weight + i, n);
    const Vec b = load_some(x + half + i, n) * scale * load_some(weight + half + i, n);
    const Vec cos = load_some(at.cos + i, n), sin = load_some(at.sin + i, n);
    store_some_bf16(out + i, a * cos - b * sin, n);
    store_some_bf16(out + half + i, b * cos + a * sin, n);
  }
}

void round(const float* x, uint32_t n, bf16* out) { narrow(x, n, out); }

void swiglu(const float* gate, const float* up, uint32_t n, bf16* out) {
  const Vec zero = set1(0.0f), one = set1(1.0f);
  for (uint32_t i = 0; i < n; i += 16) {
    const Vec g = load_some(gate + i, n - i);
    store_some_bf16(out + i, g / (one + exp(zero - g)) * load_some(up + i, n - i), n - i);
  }
}

}  // namespace
}  // namespace npr::compute
