#include "sample/candidates.h"

#include <algorithm>
#include <limits>
#include <span>
#include <vector>

#include "check.h"

namespace {

using npr::sample::Candidates;
using npr::sample::Pick;

constexpr float lowest = std::numeric_limits<float>::lowest();

std::vector<int32_t> tokens(const Candidates& candidates) {
  std::vector<int32_t> out;
  for (size_t i = 0; i < candidates.size(); ++i) out.push_back(candidates.token(i));
  return out;
}

using Tokens = std::vector<int32_t>;

TEST(a_pick_never_lands_on_no_weight) {
  const std::vector<float> weights = {0.0f, 0.5f, 0.0f, 0.25f, 0.0f};
  // Whether they come at once or in pieces.
  for (size_t piece = 1; piece <= weights.size(); ++piece) {
    const auto picked = [&](double target) {
      Pick pick(target);
      for (size_t i = 0; i < weights.size(); i += piece) {
        if (pick.add(std::span(weights).subspan(i, std::min(piece, weights.size() - i)))) break;
      }
      return pick.index();
    };
    CHECK_EQ(picked(0.0), 1u);
    CHECK_EQ(picked(0.499), 1u);
    CHECK_EQ(picked(0.5), 3u);
    CHECK_EQ(picked(0.75), 3u);  // beyond the sum, as rounding may ask
  }
}

TEST(takes_in_what_is_finite_and_large_enough) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> logits = {1.0f, infinity, -infinity, std::numeric_limits<float>::quiet_NaN(), lowest, 2.0f};
  Candidates candidates;
  candidates.add(10, logits, lowest);
  candidates.add(20, logits, 1.5f);
  CHECK(tokens(candidates) == (Tokens{10, 14, 15, 25}));
}

TEST(truncations_keep_lower_ids_among_equals) {
  const std::vector<float> logits = {1.0f, 2.0f, 1.0f, -0.0f, 2.0f, 1.0f, 0.0f};
  Candidates candidates;
  candidates.add(0, logits, lowest);
  candidates.keep_top_k(6);
  CHECK(tokens(candidates) == (Tokens{0, 1, 2, 3, 4, 5}));
  candidates.keep_top_k(4);
  CHECK(tokens(candidates) == (Tokens{0, 1, 2, 4}));
  candidates.weigh(2.0f, 1.0f);
  candidates.keep_top_p(2.1 / candidates.total_weight(), candidates.total_weight());
  CHECK(tokens(candidates) == (Tokens{0, 1, 4}));
  candidates.keep_top_p(0.0, candidates.total_weight());
  CHECK(tokens(candidates) == (Tokens{1}));
}

TEST(top_p_of_a_flat_distribution_is_the_lowest_ids) {
  const std::vector<float> logits(10000, -3.0f);
  Candidates candidates;
  candidates.add(0, logits, lowest);
  candidates.weigh(-3.0f, 0.7f);
  candidates.keep_top_p(0.25, 10000.0);
  CHECK_EQ(candidates.size(), 2500u);
  CHECK_EQ(candidates.token(2499), 2499);
}

}  // namespace
