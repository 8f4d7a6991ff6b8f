// Gradients of the operations on one row. Included once per instruction set, after kernel_rows.h.
#pragma once

namespace npr::compute {
namespace {

void add(const float* x, uint32_t n, float* out) {
  for (uint32_t i = 0; i < n; i += 16) store_some(out + i, load_some(out + i, n - i) + load_some(x + i, n - i), n - i);
}

// y = x s w, s = (mean(x^2) + eps)^-1/2: dx = s g w - x s^3 sum(g w x) / n, dw = s g x.
template <class Gradient, class Write>
inline void norm_backward(const Gradient& g, const float* x, const float* weight, uint32_t n, float eps,
                          const Write& write, float* dw) {
  const float scale = inverse_rms(x, n, eps);
  Vec sum = set1(0.0f);
  for (uint32_t i = 0; i < n; i += 16) {
    sum = fma(g(i) * load_some(weight + i, n - i), load_some(x + i, n - i), sum);
  }
  const Vec s = set1(scale), shared = set1(scale * scale * scale * reduce_add(sum) / static_cast<float>(n));
  for (uint32_t i = 0; i < n; i += 16) {
    const Vec gi = g(i), xi = load_some(x + i, n - i);
    store_some(dw + i, fma(gi * s, xi, load_some(dw + i, n - i)), n - i);
    write(i, gi * s * load_some(weight + i, n - i) - xi * shared);
  }
}

void rms_norm_backward(const float* g, const float* x, const float* weight, uint32_t n, float eps, float* dx,
                       float* dw) {
  norm_backward([&](uint32_t i) { return load_some(g + i, n - i); }, x, weight, n, eps,
                [&](uint32_t i, Vec v) { store_some(dx + i, load_some(dx + i, n - i) + v, n - i); }, dw);
}

// The rotation's inverse first, then the norm's gradient.
void rotate_backward(const float* g, const float* x, const float* weight, uint32_t head_dim, float eps,
                     const Rotation& at, float* dx, float* dw) {
  float turned[256];  // head_dim is at most 256
  const uint32_t half = head_dim / 2;
  for (uint32_t i = 0; i < half; i += 16) {
    const uint32_t n = half - i;
    const Vec a = load_some(g + i, n), b = load_some(g + half + i, n);
    const Vec cos = load_some(at.cos + i, n), sin = load_some(at.sin + i, n);
    store_some(turned + i, a * cos + b * sin, n);
    store_some(turned + half + i, b * cos - a * sin, n);
  }
  norm_backward([&](uint32_t i) { return load_some(turned + i, head_dim - i); }, x, weight, head_dim, eps,
                [&](uint32_t i, Vec v) { store_some(dx + i, v, head_dim - i); }, dw);
}

// out = gate t up with t = 1 / (1 + e^-gate): d_up = g gate t, d_gate = g up t (1 + gate (1 - t)).
void swiglu_backward(const float* g, const float* gate, const float* up, uint32_t n, float* d_gate, float* d_up) {
  const Vec zero = set1(0.0f), one = set1(1.0f);
  for (uint32_t i = 0; i < n; i += 16) {
    const Vec gi = load_some(g + i, n - i), z = load_some(gate + i, n - i);
    const Vec t = one / (one + exp(zero - z));
    store_some(d_up + i, gi * z * t, n - i);
    store_some(d_gate + i, gi * load_some(up + i, n - i) * t * fma(z, one - t, one), n - i);
  }
}

}  // namespace
}  // namespace npr::compute
