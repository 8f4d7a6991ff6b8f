// Rows quantized on the way in, times panels of int8. Included once per instruction set.
//
// Within a group of k the sums are whole numbers, exact in any order; the groups of a row are folded in order.
#pragma once

namespace npr::compute {
namespace {

constexpr uint32_t group_size = 128;

// Neighbouring elements of a row, each about scale * value.
struct Group {
  float scale;
  int32_t start;             // of sums of products, which takes the weights' bias back
  Quant values[group_size];  // -127 .. 127, zeros past the row's end
};

inline uint32_t groups(uint32_t k) { return (k + group_size - 1) / group_size; }

inline void quantize_group(const bf16 (&x)[group_size], Group& out) {
  uint16_t largest = 0;  // magnitude: as bits they have the same order, infinity and NaN above the others
  for (const bf16 element : x) {
    const auto magnitude = static_cast<uint16_t>(element & 0x7fff);
    largest = magnitude > largest ? magnitude : largest;
  }
  const float max = __builtin_bit_cast(float, uint32_t{largest} << 16);
  if (!(max >= 0x1p-100f) || largest >= 0x7f80) {  // as good as zeros; or not finite, which must show in every output
    out = {};
    out.scale = largest >= 0x7f80 ? __builtin_nanf("") : 0.0f;
    return;
  }
  const float inverse = 127.0f / max;
  int32_t sum = 0;
  for (uint32_t i = 0; i < group_size; ++i) {
    // Adding 1.5 * 2^23 rounds to a whole number, left in the mantissa's low bits.
    const float shifted = __builtin_bit_cast(float, uint32_t{x[i]} << 16) * inverse + 12582912.0f;
    const int32_t value = __builtin_bit_cast(int32_t, shifted) - 0x4b400000;
    out.values[i] = static_cast<Quant>(value);
    sum += value;
  }
  out.scale = max / 127.0f;
  out.start = -weight_bias * sum;
}

void quantize(const bf16* x, uint32_t k, void* out) {
  auto* group = static_cast<Group*>(out);
  for (uint32_t first = 0; first < k; first += group_size) {
    bf16 elements[group_size] = {};
    __builtin_memcpy(elements, x + first, (k - first < group_size ? k - first : group_size) * sizeof(bf16));
    quantize_group(elements, *group++);
  }
}

struct Int8Weights {
  static constexpr uint32_t depth = 4;
  static constexpr size_t inseparable = group_size / depth;
  static size_t row_bytes(uint32_t k) { return groups(k) * sizeof(Group); }

  template <int R, int V, class Ahead = Nothing>
  static void multiply(const LinearTask& t, uint32_t row, const std::byte* panels, size_t panel, size_t first,
                       size_t lines, float* c, Ahead&& ahead = {}) {
    const size_t row_groups = groups(t.k), end = first + lines;
    auto fetches = ahead;  // a copy lives in registers
    const Group* a = static_cast<const Group*>(t.x) + row * row_groups + first / inseparable;
    for (size_t line = first; line < end; line += inseparable, ++a) {
      const size_t group_end = end - line < inseparable ? end : line + inseparable;
      IntVec sum[R][V];
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[r][v] = set1_int(a[r * row_groups].start);
      }
      const Quant* values = a->values;
      for (size_t i = line; i < group_end; ++i, values += depth) {
        fetches.at(i - first);
#pragma GCC unroll 2
        for (uint32_t step = 0; step < depth / quant_depth; ++step) {
          const auto right = [&](int v) {
            return load_weights(panels + v * panel + i * line_bytes + step * 16 * quant_depth);
          };
          const Quant* left = values + step * quant_depth;
          constexpr size_t stride = sizeof(Group) / sizeof(Quant);
          if constexpr (right_stays) {
            IntRight all[V];
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) all[v] = right(v);
#pragma GCC unroll 16
            for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
              for (int v = 0; v < V; ++v) sum[r][v] = dot(sum[r][v], left + r * row_groups * stride, all[v]);
            }
          } else {
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) {
              const IntRight one = right(v);
#pragma GCC unroll 16
              for (int r = 0; r < R; ++r) sum[r][v] = dot(sum[r][v], left + r * row_groups * stride, one);
            }
          }
        }
      }
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const Vec scale = set1(a[r * row_groups].scale);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
          float* at = c + 16 * (r * V + v);
          store(at, fma(to_float(sum[r][v]), scale, line ? load(at) : set1(0.0f)));
        }
      }
    }
    ahead = fetches;
  }
};

}  // namespace
}  // namespace npr::compute
