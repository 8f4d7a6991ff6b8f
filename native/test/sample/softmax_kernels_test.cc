#include "sample/softmax_kernels.h"

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "check.h"

namespace {

using namespace npr::sample;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

TEST(exp_is_exact_to_one_unit_in_the_last_place) {
  CHECK_EQ(exp_nonpositive(0.0f), 1.0f);
  CHECK_EQ(exp_nonpositive(-0.0f), 1.0f);
  for (const float x : {-87.01f, -1e30f, -infinity, 1e-30f, 1.0f, 3e38f, infinity, not_a_number}) {
    CHECK_EQ(exp_nonpositive(x), 0.0f);
  }
  for (float x = -87.0f; x < 0.0f; x += 0.00037f) {
    const double exact = std::exp(static_cast<double>(x));
    CHECK(std::fabs(static_cast<double>(exp_nonpositive(x)) / exact - 1.0) < 0x1p-23);
  }
}

TEST(every_instruction_set_gives_the_same_bits) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0.0f, 10.0f);
  for (int round = 0; round < 300; ++round) {
    const uint32_t n = 1 + random() % (round % 2 ? chunk_entries : 300);
    std::vector<float> x(n);
    float max = -infinity;
    for (float& v : x) {
      v = normal(random);
      const uint32_t special = random() % 200;
      if (special == 0) v = infinity;
      if (special == 1) v = -infinity;
      if (special == 2) v = not_a_number;
      if (special == 3) v = -3e38f;
      if (std::isfinite(v)) max = std::max(max, v);
    }
    if (max == -infinity) max = 0;
    const float scale = std::exp(normal(random) / 5);
    const uint32_t groups = (n + group_entries - 1) / group_entries;

    std::vector<float> group_max(groups, -infinity);
    double sum = 0, distances = 0;
    for (uint32_t i = 0; i < n; ++i) {
      if (!std::isfinite(x[i])) continue;
      group_max[i / group_entries] = std::max(group_max[i / group_entries], x[i]);
      const double distance = static_cast<double>(x[i]) - static_cast<double>(max);
      const double weight = std::exp(distance * static_cast<double>(scale));
      sum += weight;
      distances += weight * distance;
    }
    const double first_sum = available_kernels()[0].sum_exp(x.data(), n, max, scale);
    CHECK(std::fabs(first_sum - sum) <= 1e-5 * sum);
    std::vector<float> weights((n + 15) / 16 * 16), again(weights.size());
    const double first_distances = available_kernels()[0].exp_distances(x.data(), n, max, scale, again.data());
    CHECK(std::fabs(first_distances - distances) <= 1e-5 * std::fabs(distances) + 1e-30);
    for (const Kernels& kernels : available_kernels()) {
      std::vector<float> got(groups);
      kernels.group_max(x.data(), n, got.data());
      CHECK(got == group_max);
      CHECK_EQ(kernels.sum_exp(x.data(), n, max, scale), first_sum);
      kernels.exp(x.data(), n, max, scale, weights.data());
      CHECK_EQ(kernels.exp_distances(x.data(), n, max, scale, again.data()), first_distances);
      CHECK(again == weights);
      for (uint32_t i = 0; i < n; ++i) {
        CHECK_EQ(std::bit_cast<uint32_t>(weights[i]), std::bit_cast<uint32_t>(exp_nonpositive((x[i] - max) * scale)));
      }
    }
  }
}

}  // namespace
