// What a training step does to arrays of its own, and gradients of rows as wide as models have them, against formulas
// in double precision.
#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"
#include "compute/backward.h"
#include "compute/support.h"

using namespace support;
using npr::compute::AdamWStep;
using npr::compute::Backend;
using npr::compute::Backward;
using npr::compute::LowRank;

namespace {

Backward& operations(Backend& backend) {
  backend.allocate_kv({.layers = 1, .kv_heads = 1, .head_dim = 16}, 16, 1, {.inv_freq = std::vector<float>(8, 0.0f)});
  return backend.backward();
}

void near_all(const std::vector<float>& got, const std::vector<double>& expected, double tolerance, const char* what) {
  double largest = 0;
  for (const double x : expected) largest = std::max(largest, std::abs(x));
  for (size_t i = 0; i < expected.size(); ++i) near(got[i], expected[i], tolerance * largest, what);
}

TEST(sums_of_squares) {
  Random random(1);
  for (auto& backend : backends(3)) {
    auto& ops = operations(*backend);
    for (const size_t count : {size_t{1}, size_t{7}, size_t{20000}, size_t{131072}, size_t{400001}}) {
      auto x = random_floats(random, count);
      double expected = 0;
      for (const float v : x) expected += double{v} * v;
      const double got = ops.sum_of_squares(x.data(), count);
      near(got, expected, 1e-12 * expected, "sum of squares");
      CHECK_EQ(ops.sum_of_squares(x.data(), count), got);
      x[count - 1] = std::numeric_limits<float>::quiet_NaN();
      CHECK(!std::isfinite(ops.sum_of_squares(x.data(), count)));
    }
  }
}

// Every operation rounds once, in one order: to the bit.
TEST(adamw) {
  Random random(2);
  const AdamWStep s{.gradient_scale = 0.7f,
                    .keep = 0.999f,
                    .weight1 = 0.1f,
                    .beta2 = 0.95f,
                    .weight2 = 0.05f,
                    .step_size = 0.01f,
                    .root_of_correction2 = 0.3f,
                    .epsilon = 1e-8f};
  for (auto& backend : backends(2)) {
    auto& ops = operations(*backend);
    for (const size_t count : {size_t{1}, size_t{1023}, size_t{1024}, size_t{40007}}) {
      auto w = random_floats(random, count), g = random_floats(random, count), m = random_floats(random, count);
      auto v = random_floats(random, count);
      for (float& each : v) each = std::abs(each);
      g[0] = 0;
      const auto before = w, gradient = g, first = m, second = v;
      ops.adamw(s, count, w.data(), g.data(), m.data(), v.data());
      for (size_t i = 0; i < count; ++i) {
        volatile float scaled = gradient[i] * s.gradient_scale, step = scaled - first[i];
        volatile float change = s.weight1 * step, moment = first[i] + change;
        volatile float kept = s.beta2 * second[i], part = s.weight2 * scaled, square = part * scaled;
        volatile float moment2 = kept + square, root = std::sqrt(moment2), corrected = root / s.root_of_correction2;
        volatile float below = corrected + s.epsilon, scaled_step = s.step_size * moment,
                       quotient = scaled_step / below;
        volatile float decayed = before[i] * s.keep;
        CHECK_EQ(w[i], decayed - quotient);
        CHECK_EQ(m[i], moment);
        CHECK_EQ(v[i], moment2);
        CHECK_EQ(g[i], 0.0f);
      }
    }
    std::vector<float> x(70001, 3.0f);
    ops.zero(x.data(), x.size() - 1);
    CHECK(std::ranges::all_of(std::span(x).first(70000), [](float v) { return v == 0; }));
    CHECK_EQ(x.back(), 3.0f);
  }
}

TEST(low_rank) {
  Random random(3);
  for (auto& backend : backends(2)) {
    auto& ops = operations(*backend);
    for (const auto& [rows, columns, rank] :
         {std::array{1u, 2u, 1u}, {45u, 300u, 8u}, {33u, 70u, 11u}, {300u, 34u, 17u}}) {
      const auto a = random_floats(random, rank * columns), b = random_floats(random, rows * rank);
      const auto g = random_floats(random, rows * columns);
      const float scale = 0.7f;
      const LowRank factors{rows, columns, rank, scale, a.data(), b.data()};
      std::vector<double> w(rows * columns, 0.5), da(a.size(), -1.0), db(b.size(), 2.0);
      for (uint32_t i = 0; i < rows; ++i) {
        for (uint32_t j = 0; j < columns; ++j) {
          for (uint32_t r = 0; r < rank; ++r) {
            w[i * columns + j] += double{scale} * b[i * rank + r] * a[r * columns + j];
            da[r * columns + j] += double{scale} * b[i * rank + r] * g[i * columns + j];
            db[i * rank + r] += double{scale} * g[i * columns + j] * a[r * columns + j];
          }
        }
      }
      std::vector<float> got(w.size(), 0.5f), got_a(a.size(), -1.0f), got_b(b.size(), 2.0f);
      ops.low_rank_add(factors, got.data());
      ops.low_rank(factors, g.data(), got_a.data(), got_b.data());
      near_all(got, w, 1e-5, "w");
      near_all(got_a, da, 1e-5, "da");
      near_all(got_b, db, 1e-5, "db");
    }
  }
}

TEST(norms_of_wide_rows) {
  Random random(4);
  for (auto& backend : backends(2)) {
    auto& ops = operations(*backend);
    for (const uint32_t n : {4u, 1028u, 2560u, 2570u}) {
      constexpr uint32_t rows = 37;
      const auto x = random_floats(random, rows * n), g = random_floats(random, rows * n);
      const auto weight = random_floats(random, n);
      std::vector<double> dx(x.size(), 0.25), dw(n, 1.0);
      for (uint32_t r = 0; r < rows; ++r) {
        double squares = 0, products = 0;
        for (size_t i = r * n; i < (r + 1) * n; ++i) {
          squares += double{x[i]} * x[i];
          products += double{g[i]} * weight[i % n] * x[i];
        }
        const double s = 1 / std::sqrt(squares / n + 0.01);
        for (size_t i = r * n; i < (r + 1) * n; ++i) {
          dx[i] += s * g[i] * weight[i % n] - x[i] * s * s * s * products / n;
          dw[i % n] += s * g[i] * x[i];
        }
      }
      std::vector<float> got(x.size(), 0.25f), got_w(n, 1.0f);
      ops.rms_norm(g.data(), x.data(), weight.data(), rows, n, 0.01f, got.data(), got_w.data());
      near_all(got, dx, 1e-5, "dx");
      near_all(got_w, dw, 1e-5, "dw");
    }
  }
}

TEST(activations_of_wide_rows) {
  Random random(5);
  for (auto& backend : backends(2)) {
    for (const uint32_t n : {1024u, 1030u}) {
      constexpr uint32_t rows = 5;
      const auto x = random_floats(random, rows * 2 * n), g = random_floats(random, rows * n);
      std::vector<double> expected(x.size());
      for (uint32_t r = 0; r < rows; ++r) {
        for (uint32_t i = 0; i < n; ++i) {
          const double gate = x[r * 2 * n + i], up = x[r * 2 * n + n + i], t = 1 / (1 + std::exp(-gate));
          expected[r * 2 * n + i] = g[r * n + i] * up * t * (1 + gate * (1 - t));
          expected[r * 2 * n + n + i] = g[r * n + i] * gate * t;
        }
      }
      std::vector<float> got(x.size());
      operations(*backend).swiglu(g.data(), x.data(), rows, n, got.data());
      near_all(got, expected, 1e-6, "d_gate_up");
    }
  }
}

// In order: to the bit, however often a row is picked.
TEST(rows_that_are_picked_often) {
  Random random(6);
  constexpr uint32_t rows = 300, n = 290;
  std::vector<uint32_t> pick;
  for (uint32_t i = 0; i < 2000; ++i) pick.push_back(random.below(3) ? random.below(rows) : 17);
  const auto g = random_floats(random, pick.size() * n);
  std::vector<float> expected(rows * n, 0.5f);
  for (size_t i = 0; i < pick.size(); ++i) {
    for (uint32_t c = 0; c < n; ++c) expected[pick[i] * n + c] += g[i * n + c];
  }
  for (auto& backend : backends(3)) {
    std::vector<float> got(expected.size(), 0.5f);
    operations(*backend).scatter_add(g.data(), pick, n, got.data());
    CHECK(got == expected);
    operations(*backend).scatter_add(g.data(), {}, n, got.data());
    CHECK(got == expected);
  }
}

}  // namespace
