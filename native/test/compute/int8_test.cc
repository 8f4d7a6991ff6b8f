// Matrices of int8 against a plain reference of the same quantization.
#include <algorithm>
#include <limits>

#include "check.h"
#include "compute/support.h"

using namespace support;

namespace {

constexpr uint32_t group_size = 128;  // elements of an activation that share a scale

struct Quantized {
  std::vector<int> values;
  float scale;
};

Quantized quantized(const float* x, uint32_t count) {
  float max = 0;
  for (uint32_t i = 0; i < count; ++i) max = std::max(max, std::abs(x[i]));
  Quantized out{std::vector<int>(count), max / 127};
  const float inverse = max > 0 ? 127 / max : 0;
  for (uint32_t i = 0; i < count; ++i) out.values[i] = static_cast<int>(std::nearbyint(x[i] * inverse));
  return out;
}

std::vector<float> widen_all(const std::vector<bf16>& x) {
  std::vector<float> out(x.size());
  std::transform(x.begin(), x.end(), out.begin(), [](bf16 b) { return widen(b); });
  return out;
}

struct Shape {
  uint32_t n, k;
};
const Shape shapes[] = {{1, 2}, {17, 38}, {64, 128}, {100, 130}, {130, 1030}, {257, 192}};

}  // namespace

TEST(matches_the_reference) {
  Random random(1);
  for (auto& backend : backends(2, WeightFormat::int8)) {
    for (const auto& [n, k] : shapes) {
      const auto weights = random_floats(random, size_t{n} * k);
      const auto w = pack(*backend, weights, k);
      for (uint32_t rows : {1, 3, 7, 37, 140}) {
        const auto x = random_bf16s(random, size_t{rows} * k);
        const auto wide = widen_all(x);
        const auto out = product(*backend, *w, x);
        std::vector<float> sums(out.size(), 0.25f);
        backend->linear_add(x.data(), rows, *w, sums.data());
        for (uint32_t c = 0; c < n; ++c) {
          const auto channel = quantized(&weights[size_t{c} * k], k);
          for (uint32_t r = 0; r < rows; ++r) {
            double expected = 0, size = 0;
            for (uint32_t first = 0; first < k; first += group_size) {
              const auto group = quantized(&wide[size_t{r} * k + first], std::min(group_size, k - first));
              int sum = 0;
              for (size_t i = 0; i < group.values.size(); ++i) sum += group.values[i] * channel.values[first + i];
              // one group is one rounding a factor, whatever the instruction set
              const double term = k <= group_size ? static_cast<float>(sum) * group.scale * channel.scale
                                                  : double{group.scale} * sum * channel.scale;
              expected += term;
              size += std::abs(term);
            }
            near(out[r * n + c], expected, k <= group_size ? 0 : size * 1e-6, backend->description());
            CHECK_EQ(sums[r * n + c], 0.25f + out[r * n + c]);
          }
        }
      }
    }
  }
}

TEST(stays_near_the_true_product) {
  constexpr uint32_t n = 50, k = 1024;
  Random random(2);
  const auto weights = random_floats(random, n * k);
  const auto x = random_bf16s(random, k);
  for (auto& backend : backends(1, WeightFormat::int8)) {
    const auto out = product(*backend, *pack(*backend, weights, k), x);
    for (uint32_t c = 0; c < n; ++c) {
      double expected = 0;
      for (uint32_t i = 0; i < k; ++i) expected += double{weights[c * k + i]} * widen(x[i]);
      // errors of half a step in both factors, about evenly spread: sqrt(k) / (127 sqrt(12)) each, times 5 deviations
      near(out[c], expected, 5 * std::sqrt(2.0 * k / 3) / (127 * std::sqrt(12.0)), backend->description());
    }
  }
}

TEST(embedding_gives_rows_back_to_half_a_step) {
  constexpr uint32_t n = 40, k = 70;
  Random random(3);
  const auto weights = random_floats(random, n * k);
  for (auto& backend : backends(2, WeightFormat::int8)) {
    const auto w = pack(*backend, weights, k);
    std::vector<float> rows(3 * k);
    const std::vector<int32_t> tokens{39, 0, 17};
    backend->embed(tokens, *w, rows.data());
    for (size_t t = 0; t < tokens.size(); ++t) {
      const float* row = &weights[static_cast<size_t>(tokens[t]) * k];
      const auto expected = quantized(row, k);
      for (uint32_t i = 0; i < k; ++i) {
        CHECK_EQ(rows[t * k + i], static_cast<float>(expected.values[i]) * expected.scale);
        near(rows[t * k + i], row[i], expected.scale * 0.501, backend->description());
      }
    }
  }
}

TEST(nan_and_infinity_show_in_every_output_of_their_row_alone) {
  constexpr uint32_t n = 37, k = 300;
  Random random(5);
  const auto weights = random_floats(random, n * k);
  for (auto& backend : backends(2, WeightFormat::int8)) {
    const auto w = pack(*backend, weights, k);
    const auto clean = random_bf16s(random, 3 * k);
    const auto expected = product(*backend, *w, clean);
    for (const bf16 bad : {bf16{0x7f80}, bf16{0xff80}, bf16{0x7fc1}, bf16{0xff81}}) {
      for (const uint32_t at : {0u, 127u, 128u, 299u}) {
        auto x = clean;
        x[k + at] = bad;
        const auto out = product(*backend, *w, x);
        for (uint32_t c = 0; c < n; ++c) {
          CHECK_EQ(out[c], expected[c]);
          CHECK(!std::isfinite(out[n + c]));
          CHECK_EQ(out[2 * n + c], expected[2 * n + c]);
        }
      }
    }
  }
}

TEST(the_smallest_and_largest_numbers_do_no_harm) {
  constexpr uint32_t n = 16, k = 256;
  Random random(6);
  for (auto& backend : backends(1, WeightFormat::int8)) {
    auto weights = random_floats(random, n * k);
    std::fill_n(weights.begin(), k, 0.0f);
    std::fill_n(weights.begin() + k, k, std::numeric_limits<float>::denorm_min());
    const auto w = pack(*backend, weights, k);
    std::vector<bf16> x(3 * k);                           // a row of zeros,
    std::fill_n(x.begin() + k, k, bf16{0x0001});          // one of the smallest numbers,
    std::fill_n(x.begin() + 2 * k, k / 2, bf16{0x7f7f});  // one that holds the largest
    const auto out = product(*backend, *w, x);
    for (uint32_t c = 0; c < n; ++c) {
      CHECK_EQ(out[c], 0.0f);
      CHECK_EQ(out[n + c], 0.0f);
      CHECK(!std::isnan(out[2 * n + c]));
    }
    CHECK_EQ(out[2 * n], 0.0f);
    CHECK_EQ(out[2 * n + 1], 0.0f);
  }
}
