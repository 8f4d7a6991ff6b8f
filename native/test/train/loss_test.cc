#include "train/loss.h"

#include <cmath>
#include <limits>
#include <random>

#include "check.h"

namespace {

using namespace npr::train;

bool near(double a, double b) { return std::fabs(a - b) < 1e-6 * std::max(1.0, std::fabs(b)); }

const Loss likelihood{.kind = Loss::Kind::likelihood};
const Loss clipped{.kind = Loss::Kind::clipped, .low = 0.2f, .high = 0.28f, .dual = 10};

Term at_ratio(double ratio, float weight) { return term(clipped, weight, static_cast<float>(std::log(ratio)), 0); }

TEST(likelihood_weighs_the_log_probability) {
  const Term t = term(likelihood, -0.5f, -3, 7);
  CHECK_EQ(t.value, -1.5);
  CHECK_EQ(t.slope, 0.5);
  CHECK(!t.clipped);
}

TEST(clips_by_hand) {
  struct Expected {
    double ratio;
    float weight;
    double value;
    bool clipped;
  };
  for (const auto& [ratio, weight, value, is_clipped] : {Expected{1, 2, -2, false},
                                                         {1.2, 2, -2.4, false},
                                                         {1.5, 2, -2.56, true},
                                                         {0.3, 2, -0.6, false},
                                                         {1, -2, 2, false},
                                                         {0.9, -2, 1.8, false},
                                                         {0.5, -2, 1.6, true},
                                                         {3, -2, 6, false},
                                                         {12, -2, 20, true}}) {
    const Term t = at_ratio(ratio, weight);
    CHECK(near(t.value, value));
    CHECK_EQ(t.clipped, is_clipped);
    CHECK(near(t.slope, is_clipped ? 0 : value));
  }
}

TEST(slopes_are_derivatives) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 1000; ++round) {
    const float weight = normal(random), old = -std::fabs(normal(random)), logp = old + 1.5f * normal(random);
    constexpr float h = 0x1p-10f;
    const Term below = term(clipped, weight, logp - h, old), above = term(clipped, weight, logp + h, old);
    if (below.clipped != above.clipped) continue;  // a kink between them
    const Term t = term(clipped, weight, logp, old);
    const double distance = static_cast<double>(logp + h) - static_cast<double>(logp - h);
    CHECK(std::fabs(t.slope - (above.value - below.value) / distance) < 1e-4 * std::max(1.0, std::fabs(t.slope)));
  }
}

TEST(on_policy_the_clipped_loss_has_the_gradient_of_likelihood_to_the_bit) {
  for (const float weight : {0.3f, -1.7f}) {
    const Term t = term(clipped, weight, -2.5f, -2.5f);
    CHECK_EQ(t.slope, term(likelihood, weight, -2.5f, 0).slope);
    CHECK(!t.clipped);
  }
}

TEST(a_token_that_the_policy_leaves_out_has_no_slope) {
  constexpr float never = -std::numeric_limits<float>::infinity();
  CHECK_EQ(term(likelihood, 2, never, 0).value, 0.0);
  CHECK_EQ(term(likelihood, 2, never, 0).slope, 0.0);
  CHECK_EQ(term(clipped, 2, never, -1).value, 0.0);
  CHECK_EQ(term(clipped, 2, never, -1).slope, 0.0);
  CHECK(near(term(clipped, -2, never, -1).value, 1.6));
  CHECK_EQ(term(clipped, -2, never, -1).slope, 0.0);
}

TEST(bounds_that_make_no_sense_are_refused) {
  const auto refusal = [](float low, float high, float dual) {
    return CHECK_THROWS(validate({Loss::Kind::clipped, low, high, dual}));
  };
  validate(clipped);
  CHECK(refusal(1, 0.2f, 10).find("low is 1") != std::string::npos);
  CHECK(refusal(-0.1f, 0.2f, 10).find("low") != std::string::npos);
  CHECK(refusal(0.2f, -1, 10).find("high") != std::string::npos);
  CHECK(refusal(0.2f, 0.2f, 1.1f).find("more than 1 + high") != std::string::npos);
}

}  // namespace
