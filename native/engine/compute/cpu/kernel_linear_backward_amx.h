// Left operands of linear layers' gradients, arranged as kernel_amx.h arranges rows. Included by
// kernels_amx.cc alone, after kernel_amx.h.
#pragma once

namespace npr::compute {
namespace {

void amx_gradient_rows(const float* g, size_t stride, uint32_t rows, uint32_t n, uint32_t k, void* out) {
  for (uint32_t r = 0; r < tile_height; ++r) {
    auto* to = static_cast<std::byte*>(out) + r * size_t{64};
    for (uint32_t i = 0; i < k; i += 32, to += step_bytes) {
      const uint32_t left = r < rows && i < n ? n - i : 0;
      const auto some = [&](uint32_t skip) {
        return Vec{_mm512_maskz_loadu_ps(lanes_below(left > skip ? left - skip : 0), g + r * stride + i + skip)};
      };
      _mm512_store_ps(to, neighbours(some(0), some(16)).v);
    }
  }
}

void amx_gradient_columns(const float* g, size_t stride, uint32_t rows, uint32_t n, uint32_t first, uint32_t k,
                          void* out) {
  auto* to = static_cast<std::byte*>(out) + first / 32 * step_bytes;
  for (uint32_t column = 0; column < n; column += 16, to += tile_height * arranged_row_bytes(k)) {
    const __mmask16 exist = lanes_below(n - column);
    const auto row = [&](uint32_t r) {
      return Vec{_mm512_maskz_loadu_ps(r < rows ? exist : __mmask16{0}, g + r * stride + column)};
    };
    __m512i words[16];  // a line pairs two rows
    for (uint32_t p = 0; p < 16; ++p) {
      words[p] = _mm512_castps_si512(pairs(row(2 * p), row(2 * p + 1)).v);
    }
    transpose_words(words);
    for (uint32_t c = 0; c < 16; ++c) _mm512_store_si512(to + c * size_t{64}, words[c]);
  }
}

}  // namespace
}  // namespace npr::compute
