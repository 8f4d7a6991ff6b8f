// The gradient of an RMS norm, element by element.
#pragma once
#include <cstdint>

namespace npr::compute {

// y = x s w, s = (mean(x^2) + eps)^-1/2: dx = s g w - x s^3 sum(g w x) / n,
// dw = s g x.
struct NormScales {
  float s, shared;  // s^3 sum(g w x) / n
  __device__ NormScales(float squares, float products, uint32_t n, float eps)
      : s(1.0f / sqrtf(squares / static_cast<float>(n) + eps)), shared(s * s * s * products / static_cast<float>(n)) {}
  __device__ float dx(float g, float x, float w) const { return g * s * w - x * shared; }
  __device__ float dw(float g, float x, float before) const { return __fmaf_rn(g * s, x, before); }
};

// Of one element, to both sums that the scales need.
__device__ inline void add_products(float g, float x, float w, float& squares, float& products) {
  squares = __fmaf_rn(x, x, squares);
  products = __fmaf_rn(g * w, x, products);
}

}  // namespace npr::compute
