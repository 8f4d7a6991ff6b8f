#include "sample/truncation.h"

#include <limits>
#include <vector>

#include "check.h"

namespace {

using npr::sample::least_of_top_k;

constexpr float lowest = std::numeric_limits<float>::lowest(), infinity = std::numeric_limits<float>::infinity();

TEST(least_of_top_k_is_the_k_th_largest_maximum) {
  const auto least = [](uint32_t k) {
    std::vector<float> maxima{2, -5, 7, 7, 0};
    return least_of_top_k(k, maxima);
  };
  CHECK_EQ(least(1), 7.0f);
  CHECK_EQ(least(2), 7.0f);
  CHECK_EQ(least(3), 2.0f);
  CHECK_EQ(least(5), -5.0f);
  CHECK_EQ(least(6), lowest);
}

// A group that the mask forbids has no maximum; what reaches -infinity would be no candidate.
TEST(least_of_top_k_is_finite_where_groups_have_no_entry) {
  std::vector<float> maxima{-infinity, 3, -infinity};
  CHECK_EQ(least_of_top_k(2, maxima), lowest);
  std::vector<float> none{-infinity};
  CHECK_EQ(least_of_top_k(1, none), lowest);
}

}  // namespace
