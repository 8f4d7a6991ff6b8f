// Left operands of linear layers' gradients. Included once per instruction set, after kernel_rows.h.
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

}  // namespace
}  // namespace npr::compute
