#include "sample/policy.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "check.h"
#include "sample/cases.h"
#include "sample/sampler.h"

namespace {

using namespace test;

bool same_bits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

TEST(has_the_bits_of_what_sampling_reported) {
  std::mt19937 random(1);
  Scratch drawing, scratch;
  for (int round = 0; round < 3000; ++round) {
    Case c = random_case(random);
    if (reference(c).tokens.empty()) {
      if (c.params.temperature > 0) CHECK_THROWS(Policy(c.row(), scratch));
      continue;
    }
    const Sampled drawn = sample(c.row(), drawing);
    CHECK(same_bits(Policy(c.row(), scratch).logprob(drawn.token), drawn.policy_logprob));

    const auto vocab = static_cast<uint32_t>(c.logits.size());
    const auto token = static_cast<int32_t>(random() % vocab);
    const Score scored = score(c.logits.data(), vocab, token, 0, drawing);
    CHECK(same_bits(Policy(c.logits.data(), vocab, scratch).logprob(token), scored.logprob));
  }
}

TEST(raw_logits_without_a_finite_one_are_refused) {
  Scratch scratch;
  const std::vector<float> logits{infinity, -infinity, not_a_number};
  CHECK_EQ(CHECK_THROWS(Policy(logits.data(), 3, scratch)), "no token can be sampled: 0 of 3 logits are finite");
}

// Everything that changes the distribution, over logits whose differences a float holds well.
Case smooth_case(std::mt19937& random) {
  Case c = random_case(random);
  std::normal_distribution<float> normal(0, 3);
  for (float& x : c.logits) {
    do {
      x = normal(random);
    } while (std::fabs(x) < 1e-2f);  // a repetition penalty has a kink at 0
    if (random() % 50 == 0) x = -infinity;
  }
  if (c.params.temperature == 0.01f) c.params.temperature = 0.5f;
  return c;
}

// ln p(token) in double, where `kept` are the tokens that may come.
double log_probability_of(const Case& c, const std::vector<double>& x, const std::vector<int32_t>& kept,
                          int32_t token) {
  const Params& p = c.params;
  const auto processed = [&](int32_t t) {
    double y = x[static_cast<size_t>(t)];
    uint32_t count = 0;
    for (const auto& layer : c.layers) count += layer.count(t);
    const auto repeat = [&](float penalty) {
      y = y > 0 ? y / static_cast<double>(penalty) : y * static_cast<double>(penalty);
    };
    if (c.prompt.count(t) + count > 0) repeat(p.repetition_penalty);
    if (c.in_branch && c.branch_sampled.count(t) > 0) repeat(p.branch_repetition_penalty);
    if (count) y -= static_cast<double>(p.frequency_penalty) * count + static_cast<double>(p.presence_penalty);
    for (const auto& [biased, bias] : p.logit_bias) {
      if (biased == t) y += static_cast<double>(bias);
    }
    return y / static_cast<double>(p.temperature);
  };
  double max = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const int32_t t : kept) max = std::max(max, processed(t));
  for (const int32_t t : kept) sum += std::exp(processed(t) - max);
  return processed(token) - max - std::log(sum);
}

void check_gradient(const Case& c, const std::vector<int32_t>& kept, int32_t token, float coefficient,
                    const std::vector<float>& gradient, std::mt19937& random) {
  const auto vocab = static_cast<uint32_t>(c.logits.size());
  std::vector<double> x(c.logits.begin(), c.logits.end());
  const double unit =
      std::fabs(static_cast<double>(coefficient)) / std::min(1.0, static_cast<double>(c.params.temperature));
  for (int probe = 0; probe < 12; ++probe) {
    uint32_t j = random() % vocab;
    if (probe < 6) j = static_cast<uint32_t>(kept[random() % kept.size()]);
    if (probe == 0) j = static_cast<uint32_t>(token);
    double difference = 0;
    if (std::isfinite(x[j])) {
      constexpr double h = 1e-4;
      const double at = x[j];
      x[j] = at + h;
      difference = log_probability_of(c, x, kept, token);
      x[j] = at - h;
      difference = (difference - log_probability_of(c, x, kept, token)) / (2 * h) * static_cast<double>(coefficient);
      x[j] = at;
    }
    CHECK(std::fabs(static_cast<double>(gradient[j]) - difference) < 1e-4 * unit);
  }
}

TEST(gradients_agree_with_finite_differences) {
  std::mt19937 random(2);
  Scratch scratch;
  int checked = 0, truncated = 0, penalized = 0, masked = 0;
  for (int round = 0; round < 1500; ++round) {
    Case c = smooth_case(random);
    const Expected expected = reference(c);
    if (expected.tokens.empty() || expected.ambiguous || c.params.temperature == 0) continue;
    ++checked;
    truncated += c.params.top_k > 0 || c.params.top_p < 1 || c.params.min_p > 0;
    penalized += c.params.repetition_penalty != 1 || (c.in_branch && c.params.branch_repetition_penalty != 1);
    masked += !c.allowed.empty() || !c.forbidden.empty();
    const int32_t token = expected.tokens[random() % expected.tokens.size()];
    const float coefficient = random() % 2 ? -0.7f : 2.5f;
    Case in_place = c;
    const double entropy = Policy(in_place.row(), scratch).differentiate(token, coefficient, in_place.logits.data());
    check_gradient(c, expected.tokens, token, coefficient, in_place.logits, random);

    double surprise = 0;
    for (const double p : expected.probabilities) surprise -= p > 0 ? p * std::log(p) : 0;
    CHECK(std::fabs(entropy - surprise) < 1e-4);
    CHECK_EQ(Policy(c.row(), scratch).entropy(), entropy);
  }
  CHECK(checked > 800 && truncated > 300 && penalized > 200 && masked > 200);
}

TEST(gradients_of_raw_logits_agree_with_finite_differences) {
  std::mt19937 random(3);
  Scratch scratch;
  for (int round = 0; round < 300; ++round) {
    Case c = smooth_case(random);
    Case plain;
    plain.logits = c.logits;
    std::vector<int32_t> finite;
    for (size_t i = 0; i < c.logits.size(); ++i) {
      if (std::isfinite(c.logits[i])) finite.push_back(static_cast<int32_t>(i));
    }
    if (finite.empty()) continue;
    const int32_t token = finite[random() % finite.size()];
    const auto vocab = static_cast<uint32_t>(c.logits.size());
    Policy(c.logits.data(), vocab, scratch).differentiate(token, -1.5f, c.logits.data());
    check_gradient(plain, finite, token, -1.5f, c.logits, random);
  }
}

TEST(a_token_that_can_not_come_has_no_gradient) {
  std::mt19937 random(4);
  Scratch scratch;
  int left_out = 0;
  for (int round = 0; round < 1000; ++round) {
    Case c = smooth_case(random);
    const Expected expected = reference(c);
    if (expected.tokens.empty() || expected.ambiguous || c.params.temperature == 0) continue;
    const auto token = static_cast<int32_t>(random() % c.logits.size());
    if (std::ranges::binary_search(expected.tokens, token)) continue;
    ++left_out;
    const Policy policy(c.row(), scratch);
    CHECK_EQ(policy.logprob(token), -infinity);
    policy.differentiate(token, 3, c.logits.data());
    CHECK(std::ranges::all_of(c.logits, [](float g) { return g == 0; }));
  }
  CHECK(left_out > 100);
}

TEST(temperature_0_leaves_nothing_to_chance) {
  Scratch scratch;
  Case c;
  c.logits = {1, 3, 2};
  c.params.temperature = 0;
  const Policy policy(c.row(), scratch);
  CHECK_EQ(policy.logprob(1), 0.0f);
  CHECK_EQ(policy.entropy(), 0.0);
  CHECK_EQ(policy.differentiate(1, 1, c.logits.data()), 0.0);
  CHECK(c.logits == std::vector<float>(3, 0.0f));
}

}  // namespace
