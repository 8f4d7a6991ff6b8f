// Linear layers against a plain reference, and the rule that other rows change no bit of a row.
#include "check.h"
#include "compute/support.h"

using namespace support;
using npr::compute::DType;
using npr::compute::HostRows;

namespace {

struct Shape {
  uint32_t n, k;
};
const Shape shapes[] = {{1, 2}, {17, 38}, {64, 64}, {100, 514}, {130, 1030}, {257, 192}};

void check_rows_and_threads(WeightFormat format) {
  Random random(2);
  for (const auto& [n, k] : {Shape{200, 1030}, Shape{65, 514}, Shape{208, 258}, Shape{33, 2054}}) {
    const auto weights = random_bf16s(random, size_t{n} * k);
    const auto x = random_bf16s(random, size_t{600} * k);
    std::vector<uint32_t> counts{100, 127, 253, 600};
    for (uint32_t rows = 1; rows <= 40; rows += check::stride()) counts.push_back(rows);
    std::vector<std::vector<float>> by_isa;  // each row alone, on one thread
    std::vector<float> avx512, amx;
    for (auto& backend : backends(1, format)) {
      const auto w = pack(*backend, weights, k);
      auto& alone = by_isa.emplace_back();
      for (uint32_t r = 0; r < 600; ++r) {
        const auto one = product(*backend, *w, {x.begin() + size_t{r} * k, x.begin() + size_t{r + 1} * k});
        alone.insert(alone.end(), one.begin(), one.end());
      }
      if (backend->description().find("512") != std::string::npos) avx512 = alone;
      if (backend->description().find("amx") != std::string::npos) amx = alone;
    }
    // Sums of int8 are whole numbers, which both fold in one order by the same instruction.
    if (format == WeightFormat::int8 && !avx512.empty() && !amx.empty()) CHECK(amx == avx512);
    for (uint32_t threads : {1, 2, 3}) {
      auto alone = by_isa.begin();
      for (auto& backend : backends(threads, format)) {
        const auto w = pack(*backend, weights, k);
        float* const together = backend->floats(size_t{600} * n);  // aligned: such outputs may pass the caches by
        for (uint32_t rows : counts) {
          backend->linear(x.data(), rows, *w, together);
          CHECK(std::memcmp(together, alone->data(), size_t{rows} * n * sizeof(float)) == 0);
        }
        ++alone;
      }
    }
  }
}

}  // namespace

TEST(matches_the_reference) {
  Random random(1);
  for (auto& backend : backends(2)) {
    for (const auto& [n, k] : shapes) {
      const auto weights = random_bf16s(random, size_t{n} * k);
      const auto w = pack(*backend, weights, k);
      CHECK_EQ(w->n(), n);
      CHECK_EQ(w->k(), k);
      for (uint32_t rows : {1, 3, 7, 37, 140}) {
        const auto x = random_bf16s(random, size_t{rows} * k);
        const auto out = product(*backend, *w, x);
        std::vector<float> sums(out.size(), 0.25f);
        backend->linear_add(x.data(), rows, *w, sums.data());
        for (uint32_t r = 0; r < rows; ++r) {
          for (uint32_t c = 0; c < n; ++c) {
            double expected = 0;
            for (uint32_t i = 0; i < k; ++i) expected += double{widen(x[r * k + i])} * widen(weights[c * k + i]);
            near(out[r * n + c], expected, 1e-5 * std::sqrt(k) + 1e-6, backend->description());
            CHECK_EQ(sums[r * n + c], 0.25f + out[r * n + c]);
          }
        }
      }
    }
  }
}

TEST(rows_and_threads_change_no_bit) { check_rows_and_threads(WeightFormat::bf16); }
TEST(rows_and_threads_change_no_bit_of_int8) { check_rows_and_threads(WeightFormat::int8); }

TEST(parts_of_any_dtype_stack) {
  constexpr uint32_t k = 70;
  Random random(4);
  std::vector<float> whole = random_floats(random, 90 * k);
  for (float& x : whole) x = std::round(x * 64) / 64;  // exact in every format
  std::vector<bf16> brief(whole.size()), half(whole.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    brief[i] = narrow(whole[i]);
    const auto h = static_cast<_Float16>(whole[i]);
    std::memcpy(&half[i], &h, 2);
  }
  const HostRows stacked[] = {
      {whole.data(), DType::f32, 30}, {half.data() + 30 * k, DType::f16, 1}, {brief.data() + 31 * k, DType::bf16, 59}};
  for (const auto format : weight_formats()) {
    for (auto& backend : backends(2, format)) {
      const auto x = random_bf16s(random, 5 * k);
      CHECK(product(*backend, *backend->pack(stacked, k), x) == product(*backend, *pack(*backend, whole, k), x));
    }
  }
  for (auto& backend : backends(2)) {
    const auto a = backend->pack(stacked, k);
    std::vector<float> rows(3 * k);
    backend->embed(std::vector<int32_t>{89, 0, 30}, *a, rows.data());
    CHECK(std::equal(rows.begin(), rows.begin() + k, whole.begin() + 89 * k));
    CHECK(std::equal(rows.begin() + k, rows.begin() + 2 * k, whole.begin()));
    CHECK(std::equal(rows.begin() + 2 * k, rows.end(), whole.begin() + 30 * k));
    CHECK_THROWS(backend->embed(std::vector<int32_t>{90}, *a, rows.data()));
    CHECK_THROWS(backend->embed(std::vector<int32_t>{-1}, *a, rows.data()));
  }
}

TEST(half_and_float_round_as_they_should) {
  const float floats[] = {1.00390625f, 1.01171875f, -0.0f, 3.395e38f};  // ties to even, a zero's sign, the largest
  const float expected[] = {1.0f, 1.015625f, -0.0f, 0x1.fep127f};
  const uint16_t halves[] = {0x0001, 0x8400, 0x7bff, 0x3c00};  // smallest subnormal, -2^-14, the largest, 1
  const float half_values[] = {0x1p-24f, -0x1p-14f, 65536.0f, 1.0f};
  const HostRows parts[] = {{floats, DType::f32, 1}, {halves, DType::f16, 1}};
  for (auto& backend : backends(1)) {
    const auto w = backend->pack(parts, 4);
    float rows[8];
    backend->embed(std::vector<int32_t>{0, 1}, *w, rows);
    for (int i = 0; i < 4; ++i) {
      CHECK_EQ(rows[i], expected[i]);
      CHECK_EQ(rows[4 + i], half_values[i]);
    }
    CHECK(std::signbit(rows[2]));
  }
}

TEST(updated_in_place_as_if_packed_anew) {
  constexpr uint32_t k = 70, n = 90;  // no multiples of a block or a panel
  Random random(6);
  const auto before = random_bf16s(random, n * k);
  const auto after = random_floats(random, n * k);
  for (auto& backend : backends(2)) {
    const auto updated = pack(*backend, before, k), fresh = pack(*backend, after, k);
    const auto x = random_bf16s(random, 5 * k);
    CHECK(product(*backend, *updated, x) != product(*backend, *fresh, x));
    backend->update(*updated, after.data());
    CHECK(product(*backend, *updated, x) == product(*backend, *fresh, x));
    auto damaged = after;
    damaged[n * k - 1] = 3.3962e38f;  // infinite as bf16
    CHECK_THROWS(backend->update(*updated, damaged.data()));
  }
}

TEST(int8_weights_are_not_updated) {
  const std::vector<float> zeros(64);
  for (auto& backend : backends(1, WeightFormat::int8)) {
    const auto matrix = pack(*backend, zeros, 16);
    CHECK(CHECK_THROWS(backend->update(*matrix, zeros.data())).find("int8") != std::string::npos);
  }
}

TEST(weights_that_are_not_finite_are_refused) {
  constexpr uint32_t k = 70, n = 33;
  for (const auto format : weight_formats()) {
    for (auto& backend : backends(2, format)) {
      // 3.3895e38 is the largest that bf16 holds; above 3.3961e38 it rounds to infinity.
      for (const float bad : {std::nanf(""), -std::nanf(""), INFINITY, -INFINITY, 3.3962e38f}) {
        for (const size_t at : {size_t{0}, size_t{k} * 16 + 67, size_t{n} * k - 1}) {
          std::vector<float> weights(n * k, 1);
          weights[at] = bad;
          CHECK_THROWS(pack(*backend, weights, k));
          weights[at] = 3.396e38f;
          CHECK(pack(*backend, weights, k) != nullptr);
        }
      }
    }
  }
}

TEST(odd_columns_are_refused) {
  const std::vector<bf16> weights(6);
  for (auto& backend : backends(1)) {
    CHECK(CHECK_THROWS(pack(*backend, weights, 3)).find("3 columns") != std::string::npos);
  }
}
