// Operands of linear layers' gradients. Included once per instruction set, after kernel_linear.h and kernel_rows.h.
#pragma once

namespace npr::compute {
namespace {

void gradient_rows(const float* g, size_t, uint32_t, uint32_t n, uint32_t k, void* out) {
  auto* to = static_cast<Operand*>(out);
  narrow(g, n, to);
  __builtin_memset(to + n, 0, (k - n) * sizeof(Operand));
}

void gradient_columns(const float* g, size_t stride, uint32_t rows, uint32_t n, uint32_t first, uint32_t k, void* out) {
  auto* const to = static_cast<Operand*>(out) + first;
  const uint32_t end = k - first < gradient_column_rows ? k - first : gradient_column_rows;
  for (uint32_t column = 0; column < n; column += 16) {
    const uint32_t columns = n - column < 16 ? n - column : 16;
    float turned[16][gradient_column_rows] = {};
    for (uint32_t i = 0; i < rows; ++i) {
      for (uint32_t c = 0; c < columns; ++c) turned[c][i] = g[i * stride + column + c];
    }
    for (uint32_t c = 0; c < columns; ++c) narrow(turned[c], end, to + (column + c) * size_t{k});
  }
}

void gradient_panels(const bf16* x, uint32_t rows, uint32_t k, uint32_t first, size_t panel_bytes, void* out) {
  constexpr uint32_t width = panel_columns;
  for (uint32_t i = 0; i < rows; i += 2) {
    auto* line = static_cast<std::byte*>(out) + (first + i) / 2 * line_bytes;
    for (uint32_t column = 0; column < k; column += width, line += panel_bytes) {
      const uint32_t columns = k - column < width ? k - column : width;
      bf16 even[width] = {}, odd[width] = {}, pairs[2 * width];
      const bf16* from = x + size_t{i} * k + column;
      __builtin_memcpy(even, from, columns * sizeof(bf16));
      if (i + 1 < rows) __builtin_memcpy(odd, from + k, columns * sizeof(bf16));
      for (uint32_t c = 0; c < width; ++c) {
        pairs[2 * c] = even[c];
        pairs[2 * c + 1] = odd[c];
      }
      __builtin_memcpy(line, pairs, sizeof pairs);
    }
  }
}

}  // namespace
}  // namespace npr::compute
