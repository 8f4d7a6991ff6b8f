// Operations on rows against plain references at odd sizes.
#include <limits>

#include "check.h"
#include "compute/support.h"

using namespace support;

TEST(rms_norm_matches_the_reference) {
  Random random(1);
  for (auto& backend : backends(2)) {
    for (uint32_t n : {1, 16, 17, 37, 1024}) {
      for (uint32_t rows : {1, 3, 40}) {
        const auto x = random_floats(random, size_t{rows} * n), weight = random_floats(random, n);
        std::vector<bf16> out(x.size());
        backend->rms_norm(x.data(), weight.data(), rows, n, 1e-6f, out.data());
        for (uint32_t r = 0; r < rows; ++r) {
          double squares = 0;
          for (uint32_t i = 0; i < n; ++i) squares += double{x[r * n + i]} * x[r * n + i];
          for (uint32_t i = 0; i < n; ++i) {
            const double expected = x[r * n + i] / std::sqrt(squares / n + 1e-6) * weight[i];
            near(widen(out[r * n + i]), expected, 0.002 + std::abs(expected) / 255, backend->description());
          }
        }
      }
    }
  }
}

TEST(swiglu_matches_the_reference) {
  Random random(2);
  for (auto& backend : backends(2)) {
    for (uint32_t n : {1, 37, 192}) {
      constexpr uint32_t rows = 50;
      auto x = random_floats(random, size_t{rows} * 2 * n);
      for (float& v : x) v *= 30;
      x[0] = -1e30f;
      x[2 * n] = 1e30f;
      x[4 * n] = -200;
      std::vector<bf16> out(size_t{rows} * n);
      backend->swiglu(x.data(), rows, n, out.data());
      for (uint32_t r = 0; r < rows; ++r) {
        for (uint32_t i = 0; i < n; ++i) {
          const double gate = x[r * 2 * n + i], expected = gate / (1 + std::exp(-gate)) * x[r * 2 * n + n + i];
          near(widen(out[r * n + i]), expected, 1e-6 + std::abs(expected) / 255, backend->description());
        }
      }
    }
  }
}

// Rotation seen from outside: one token attends to itself alone, so attention returns its value; queries come back
// from rotate_and_store directly.
TEST(rotation_is_exact_far_out) {
  constexpr uint32_t d = 48, q_heads = 3;
  Random random(3);
  std::vector<float> inv_freq(d / 2);
  for (uint32_t i = 0; i < d / 2; ++i) inv_freq[i] = std::pow(1e6f, -2.0f * static_cast<float>(i) / d);
  const float scale = 1.25f;
  for (auto& backend : backends(2)) {
    backend->allocate_kv({.layers = 1, .kv_heads = 1, .head_dim = d}, 32, q_heads, {inv_freq, scale});
    const std::vector<int32_t> positions{0, 1, 4095, 131072, 131071};
    const std::vector<npr::compute::Slot> slots{3, 4, 5, 6, 7};
    const npr::compute::Run run{3, 5};
    const npr::compute::Sequence sequence{{&run, 1}, 5, 5};
    const auto qkv = random_floats(random, 5 * (q_heads + 2) * d);
    const auto q_norm = random_floats(random, d), k_norm = random_floats(random, d);
    std::vector<bf16> q(5 * q_heads * d), out(q.size());
    backend->begin(positions, slots, {&sequence, 1});
    backend->rotate_and_store(0, qkv.data(), {q_norm.data(), k_norm.data()}, 1e-6f, q.data());
    backend->attention(0, q.data(), out.data(), nullptr);
    for (uint32_t r = 0; r < 5; ++r) {
      for (uint32_t h = 0; h < q_heads; ++h) {
        const float* x = &qkv[(r * (q_heads + 2) + h) * d];
        double squares = 0;
        for (uint32_t i = 0; i < d; ++i) squares += double{x[i]} * x[i];
        const double norm = 1 / std::sqrt(squares / d + 1e-6);
        for (uint32_t i = 0; i < d / 2; ++i) {
          const double angle = static_cast<float>(positions[r]) * inv_freq[i];
          const double a = x[i] * norm * q_norm[i], b = x[i + d / 2] * norm * q_norm[i + d / 2];
          const double first = scale * (a * std::cos(angle) - b * std::sin(angle));
          const double second = scale * (b * std::cos(angle) + a * std::sin(angle));
          const bf16* got = &q[(r * q_heads + h) * d];
          near(widen(got[i]), first, 1e-5 + std::abs(first) / 255, backend->description());
          near(widen(got[i + d / 2]), second, 1e-5 + std::abs(second) / 255, backend->description());
        }
      }
    }
    for (uint32_t h = 0; h < q_heads; ++h) {  // the first row sees itself alone
      for (uint32_t i = 0; i < d; ++i) CHECK_EQ(widen(out[h * d + i]), widen(narrow(qkv[(q_heads + 1) * d + i])));
    }
  }
}

TEST(nan_and_infinity_stay_visible) {
  for (auto& backend : backends(1)) {
    std::vector<float> x(32, 1.0f), one(16, 1.0f);
    x[3] = NAN;
    std::vector<bf16> out(16);
    backend->rms_norm(x.data(), one.data(), 1, 16, 0, out.data());
    CHECK(std::isnan(widen(out[0])));
    backend->swiglu(x.data(), 1, 16, out.data());
    CHECK(std::isnan(widen(out[3])));
    CHECK(!std::isnan(widen(out[4])));
    x[16 + 5] = std::numeric_limits<float>::infinity();
    backend->swiglu(x.data(), 1, 16, out.data());
    CHECK(std::isinf(widen(out[5])));
  }
}

TEST(gather_picks_rows) {
  for (auto& backend : backends(1)) {
    float* x = backend->floats(6);
    CHECK_EQ(backend->host(x, 6)[5], 0.0f);
    backend->upload(x, std::vector<float>{1, 2, 3, 4, 5, 6});
    float* out = backend->floats(4);
    backend->gather(x, std::vector<uint32_t>{2, 0}, 2, out);
    const auto seen = backend->host(out, 4);
    CHECK(std::vector<float>(seen.begin(), seen.end()) == (std::vector<float>{5, 6, 1, 2}));
  }
}
