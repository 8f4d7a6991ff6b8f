// Right operands of linear layers' gradients. Included once per instruction set, after kernel_linear.h.
#pragma once

namespace npr::compute {
namespace {

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
