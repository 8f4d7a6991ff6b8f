// Left operands of linear layers, as the tiles read them: what a tile's rows have at one step is together, which rows
// apart would meet in a set or two of L1 wherever k is a multiple of 512. Included once per instruction set, after
// kernel_linear.h and kernel_rows.h.
#pragma once

namespace npr::compute {
namespace {

// Operands go by words of four bytes: a pair, or one element of it.
constexpr uint32_t word_elements = sizeof(float) / sizeof(Operand);

// Stores the first `count` words, and maybe what is behind them up to `end`.
inline void store_words(Operand* at, Vec words, uint32_t count, const Operand* end) {
  auto* to = reinterpret_cast<float*>(at);
  if (to + 16 <= reinterpret_cast<const float*>(end)) return store(to, words);
  store_some(to, words, count);
}

// out [count][rows] = words(row, first) for every first multiple of 16 up to `count`, at most sixteen rows.
template <class F>
inline void turn_rows(uint32_t rows, uint32_t count, Operand* out, const F& words) {
  const Operand* const end = out + size_t{count} * rows * word_elements;
  uint32_t first = 0;
  if constexpr (linear_rows == 8) {
    for (; rows == 8 && first + 16 <= count; first += 16) {
      decltype(words(0u, 0u)) block[8];
      for (uint32_t r = 0; r < 8; ++r) block[r] = words(r, first);
      transpose_eight(block);
      for (const auto& line : block) {
        store(reinterpret_cast<float*>(out), line);
        out += 16 * word_elements;
      }
    }
  }
  for (; first < count; first += 16) {
    Vec block[16];
    for (uint32_t r = 0; r < 16; ++r) block[r] = r < rows ? words(r, first) : set1(0.0f);
    transpose(block);
    for (uint32_t i = 0; i < 16 && first + i < count; ++i, out += rows * word_elements) {
      store_words(out, block[i], rows, end);
    }
  }
}

inline Vec words_of(const bf16* row, uint32_t count) {
  constexpr uint32_t whole = 16 * word_elements;
  if (count < whole) {
    bf16 some[whole] = {};
    __builtin_memcpy(some, row, count * sizeof(bf16));
    return words_of(some, whole);
  }
  if constexpr (word_elements == 1) {
    return load_bf16(row);
  } else {
    return load(reinterpret_cast<const float*>(row));
  }
}

// Sixteen words of a row, of whose elements part(i) has those from i on.
template <class F>
inline Vec row_words(const F& part) {
  if constexpr (word_elements == 1) {
    return part(0);
  } else {
    return neighbours(part(0), part(16));
  }
}
// A word of each of sixteen columns, whose elements from row `row` on row_of() has.
template <class F>
inline Vec column_words(const F& row_of, uint32_t row) {
  if constexpr (word_elements == 1) {
    return row_of(row);
  } else {
    return pairs(row_of(row), row_of(row + 1));
  }
}

void arrange_by_step(const void* x, uint32_t rows, uint32_t k, void* out) {
  const auto* from = static_cast<const bf16*>(x);
  auto* to = static_cast<Operand*>(out);
  if (rows == 1) return widen(from, k, to);
  turn_rows(rows, k / word_elements, to, [&](uint32_t row, uint32_t first) {
    return words_of(from + row * size_t{k} + first * word_elements, k - first * word_elements);
  });
}

void gradient_rows(const float* g, size_t stride, uint32_t rows, uint32_t n, uint32_t k, void* out) {
  turn_rows(rows, k / word_elements, static_cast<Operand*>(out), [&](uint32_t row, uint32_t first) {
    const uint32_t at = first * word_elements;
    return row_words(
        [&](uint32_t i) { return at + i < n ? load_some(g + row * stride + at + i, n - at - i) : set1(0.0f); });
  });
}

// A tile's rows are columns of g, which lie beside each other as they are.
void gradient_columns(const float* g, size_t stride, uint32_t rows, uint32_t n, uint32_t first, uint32_t k, void* out) {
  const uint32_t together = linear_tile_rows(n);
  const uint32_t end = k - first < gradient_column_rows ? k - first : gradient_column_rows;
  for (uint32_t column = 0; column < n; column += together) {
    // by rows the lines to come lie too far apart for the hardware to see them coming
    for (uint32_t row = 0; row < rows; ++row) __builtin_prefetch(g + row * stride + column + 48);
    const uint32_t tile = n - column < together ? n - column : together;
    auto* to = static_cast<Operand*>(out) + column * size_t{k} + first * size_t{tile};
    const Operand* const after = to + end * size_t{tile};
    const auto columns = [&](uint32_t row) {
      return row < rows ? load_some(g + row * stride + column, n - column) : set1(0.0f);
    };
    for (uint32_t row = 0; row < end; row += word_elements, to += tile * word_elements) {
      store_words(to, column_words(columns, row), tile, after);
    }
  }
}

}  // namespace
}  // namespace npr::compute
