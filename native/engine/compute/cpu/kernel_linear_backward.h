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
    // by rows the lines to come lie too far apart for the hardware to see them coming
    for (uint32_t row = 0; row < rows; ++row) __builtin_prefetch(g + row * stride + column + 48);
    for (uint32_t row = 0; row < end; row += 16) {
      Vec block[16];
      for (uint32_t i = 0; i < 16; ++i) {
        block[i] = row + i < rows ? load_some(g + (row + i) * stride + column, n - column) : set1(0.0f);
      }
      transpose(block);
      for (uint32_t c = 0; c < 16 && column + c < n; ++c) {
        narrow_some(to + (column + c) * size_t{k} + row, block[c], end - row);
      }
    }
  }
}

void gradient_panels(const bf16* x, uint32_t rows, uint32_t k, uint32_t first, size_t panel_bytes, void* out) {
  for (uint32_t i = 0; i < rows; i += 2) {
    auto* line = static_cast<std::byte*>(out) + (first + i) / 2 * line_bytes;
    for (uint32_t column = 0; column < k; column += panel_columns, line += panel_bytes) {
      const bf16* const from = x + size_t{i} * k + column;
      bf16* const to = reinterpret_cast<bf16*>(line);
      if (i + 1 < rows && k - column >= panel_columns) {
        interleave(from, from + k, to);
        continue;
      }
      const uint32_t columns = k - column < panel_columns ? k - column : panel_columns;
      bf16 even[panel_columns] = {}, odd[panel_columns] = {};
      __builtin_memcpy(even, from, columns * sizeof(bf16));
      if (i + 1 < rows) __builtin_memcpy(odd, from + k, columns * sizeof(bf16));
      interleave(even, odd, to);
    }
  }
}

}  // namespace
}  // namespace npr::compute
