#include "compute/cpu/linear_backward.h"

#include <algorithm>
#include <cstring>

namespace npr::compute {
namespace {

// Of the sum over outputs, or over rows: so much of 512 left operands and of a task's panels fits L2 together.
constexpr uint32_t block = 768;
constexpr size_t line = 64;
constexpr uint32_t block_lines = panel_columns / 2;  // lines of a panel over 16 elements

uint32_t divide_up(uint32_t a, uint32_t b) { return (a + b - 1) / b; }
uint32_t whole_panels(uint32_t n) { return divide_up(n, panel_columns) * panel_columns; }

// A 16 x 16 block of a panel, as lines of pairs along k, to lines of pairs along n: an 8 x 8 transpose of squares of
// 2 x 2, each of which is transposed, too.
void transpose_block(const std::byte* from, std::byte* to) {
  uint64_t in[block_lines][block_lines], out[block_lines][block_lines];
  std::memcpy(in, from, sizeof in);
  for (uint32_t i = 0; i < block_lines; ++i) {
    for (uint32_t j = 0; j < block_lines; ++j) {
      const uint64_t square = in[j][i];
      out[i][j] = (square & 0xffff00000000ffff) | (square & 0xffff0000) << 16 | (square >> 16 & 0xffff0000);
    }
  }
  std::memcpy(to, out, sizeof out);
}

void grow(Pages& pages, size_t& have, size_t bytes) {
  if (bytes <= have) return;
  pages = {};
  have = 0;
  pages = Pages(bytes, "gradients of a linear layer");
  have = bytes;
}

}  // namespace

void LinearBackward::input(const float* g, uint32_t rows, const PackedMatrix& w, float* dx) {
  const uint32_t n = w.n(), k = w.k(), panels = divide_up(k, panel_columns);
  const LinearKernels& kernels = kernels_.bf16_linear;
  const uint32_t together = kernels.tile_rows(rows), parts = divide_up(rows, together);
  for (uint32_t first = 0; first < n; first += block) {
    const uint32_t count = std::min(block, n - first), padded = whole_panels(count);
    const size_t part_bytes = together * kernels.operand_row_bytes(padded);
    grow(left_, left_bytes_, parts * part_bytes);
    grow(right_, right_bytes_, size_t{panels} * padded * panel_columns * sizeof(bf16));
    threads_.run(parts, [&](uint32_t part, uint32_t) {
      const uint32_t row = part * together;
      kernels_.gradient_rows(g + size_t{row} * n + first, n, std::min(together, rows - row), count, padded,
                             left_.as<std::byte>() + part * part_bytes);
    });
    const size_t panel_bytes = size_t{padded} * panel_columns * sizeof(bf16);
    threads_.run(panels, [&](uint32_t panel, uint32_t) {
      std::byte* to = right_.as<std::byte>() + panel * panel_bytes;
      const uint32_t lines = std::min(block_lines, k / 2 - panel * block_lines);
      for (uint32_t i = 0; i < padded / panel_columns; ++i, to += block_lines * line) {
        const std::byte* from = w.panel(first / panel_columns + i) + panel * block_lines * line;
        if (lines == block_lines) {
          transpose_block(from, to);
        } else {
          std::byte last[block_lines * line] = {};
          std::memcpy(last, from, lines * line);
          transpose_block(last, to);
        }
      }
    });
    linear_.multiply(left_.as<std::byte>(), rows, true,
                     {kernels, k, padded, right_.as<std::byte>(), panel_bytes, nullptr}, dx, first > 0);
  }
}

void LinearBackward::weight(const float* g, const bf16* x, uint32_t rows, uint32_t n, uint32_t k, float* dw) {
  const LinearKernels& kernels = kernels_.bf16_linear;
  const uint32_t panels = divide_up(k, panel_columns), together = kernels.tile_rows(n);
  for (uint32_t first = 0; first < rows; first += block) {
    const uint32_t count = std::min(block, rows - first), padded = (count + 1) / 2 * 2;
    grow(left_, left_bytes_, divide_up(n, together) * together * kernels.operand_row_bytes(padded));
    grow(right_, right_bytes_, size_t{panels} * padded * panel_columns * sizeof(bf16));
    const size_t panel_bytes = size_t{padded} * panel_columns * sizeof(bf16);
    threads_.run(2 * divide_up(count, gradient_column_rows), [&](uint32_t task, uint32_t) {
      const uint32_t row = task / 2 * gradient_column_rows, some = std::min(gradient_column_rows, count - row);
      if (task % 2 == 0) {
        kernels_.gradient_columns(g + size_t{first + row} * n, n, some, n, row, padded, left_.as<std::byte>());
      } else {
        kernels_.gradient_panels(x + size_t{first + row} * k, some, k, row, panel_bytes, right_.as<std::byte>());
      }
    });
    linear_.multiply(left_.as<std::byte>(), n, true, {kernels, k, padded, right_.as<std::byte>(), panel_bytes, nullptr},
                     dw, true);
  }
}

}  // namespace npr::compute
