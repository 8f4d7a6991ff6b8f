#include "sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "sample/cases.h"
#include "sample/logit_row.h"

namespace {

using namespace test;

// Which of two zeros is the maximum depends on who looks for it.
TEST(certain_tokens_have_a_positive_zero) {
  for (const float logit : {0.0f, -0.0f}) {
    for (const float max : {0.0f, -0.0f}) CHECK(!std::signbit(log_probability(logit, max, 1, 1)));
  }
}

TEST(agrees_with_a_plain_reference) {
  std::mt19937 random(20250101);
  Scratch scratch;  // one for all, so that nothing of one row may stay for the next
  int nothing_left = 0, ambiguous = 0, boundary = 0;
  constexpr int rounds = 4000;
  for (int round = 0; round < rounds; ++round) {
    Case c = random_case(random);
    const Expected expected = reference(c);
    if (expected.tokens.empty()) {
      CHECK_THROWS(sample(c.row(), scratch));
      ++nothing_left;
      continue;
    }
    const Sampled got = sample(c.row(), scratch);

    const auto raw = raw_log_softmax(c.logits);
    if (c.logprobs >= 0) {
      const auto at = std::find_if(raw.begin(), raw.end(), [&](const auto& r) { return r.first == got.token; });
      CHECK(at != raw.end());
      CHECK(near(static_cast<double>(got.logprob), at->second));
      CHECK_EQ(got.top.size(), std::min(raw.size(), static_cast<size_t>(c.logprobs)));
      for (size_t i = 0; i < got.top.size(); ++i) {
        CHECK_EQ(got.top[i].first, raw[i].first);
        CHECK(near(static_cast<double>(got.top[i].second), raw[i].second));
      }
      const Score scored = score(c.logits.data(), static_cast<uint32_t>(c.logits.size()), got.token,
                                 static_cast<uint32_t>(c.logprobs), scratch);
      CHECK_EQ(scored.logprob, got.logprob);
      CHECK(scored.top == got.top);
    } else {
      CHECK(got.top.empty());
    }

    if (expected.ambiguous) {
      ++ambiguous;
      continue;
    }
    const double uniform = Stream::root(c.params.seed, 0).uniform(c.index);
    size_t i = 0;
    double below = 0;
    while (i + 1 < expected.tokens.size() && below + expected.probabilities[i] <= uniform) {
      below += expected.probabilities[i++];
    }
    if (c.params.temperature > 0 && expected.tokens.size() > 1 &&
        (uniform - below < 1e-5 || below + expected.probabilities[i] - uniform < 1e-5)) {
      ++boundary;
      continue;
    }
    CHECK_EQ(got.token, expected.tokens[i]);
    if (c.params.temperature == 0.0f) {
      CHECK_EQ(got.policy_logprob, 0.0f);
    } else {
      CHECK(near(static_cast<double>(got.policy_logprob), std::log(expected.probabilities[i])));
    }
  }
  std::printf("      %d with nothing left, %d ambiguous, %d at a boundary, of %d\n", nothing_left, ambiguous, boundary,
              rounds);
  CHECK(ambiguous + boundary < rounds / 20);
  CHECK(nothing_left > 0 && nothing_left < rounds / 5);
}

TEST(frequencies_follow_the_distribution) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  Scratch scratch;
  for (int setting = 0; setting < 6; ++setting) {
    Case c;
    // The large one spans chunks; its tokens are counted 500 together.
    c.logits.resize(setting == 5 ? 10000 : 12);
    for (float& x : c.logits) x = normal(random);
    if (setting == 1) c.params.temperature = 0.6f;
    if (setting == 2) c.params.top_k = 5;
    if (setting == 3) c.params.top_p = 0.7f;
    if (setting == 4) c.forbidden = {{0, 3, 5}};
    c.params.seed = 1000 + static_cast<uint64_t>(setting);
    const Expected expected = reference(c);
    const size_t cell = setting == 5 ? 500 : 1;
    std::vector<double> probability(c.logits.size() / cell), count(c.logits.size() / cell);
    for (size_t i = 0; i < expected.tokens.size(); ++i) {
      probability[static_cast<size_t>(expected.tokens[i]) / cell] += expected.probabilities[i];
    }
    constexpr int draws = 20000;
    for (c.index = 0; c.index < draws; ++c.index) ++count[static_cast<size_t>(sample(c.row(), scratch).token) / cell];
    double chi = 0, freedom = -1;
    for (size_t i = 0; i < count.size(); ++i) {
      if (probability[i] == 0) {
        CHECK_EQ(count[i], 0.0);
        continue;
      }
      const double mean = probability[i] * draws;
      chi += (count[i] - mean) * (count[i] - mean) / mean;
      ++freedom;
    }
    CHECK(chi < freedom + 4.5 * std::sqrt(2 * freedom) + 6);  // beyond it with probability below 1e-4
  }
}

TEST(greedy_takes_the_lowest_id_among_equals) {
  Scratch scratch;
  Case c;
  c.logits.assign(10000, 1.0f);
  c.params.temperature = 0;
  CHECK_EQ(sample(c.row(), scratch).token, 0);
  c.forbidden = {{0, 1, 2}};
  CHECK_EQ(sample(c.row(), scratch).token, 3);
  c.logits[9999] = c.logits[7777] = 2.0f;
  CHECK_EQ(sample(c.row(), scratch).token, 7777);
  c.allowed = {{9999, 12}, {12, 7777, 9999}};
  CHECK_EQ(sample(c.row(), scratch).token, 7777);
}

TEST(a_draw_depends_on_its_row_alone) {
  std::mt19937 random(5);
  Scratch used;
  for (int round = 0; round < 300; ++round) {
    Case c = random_case(random);
    if (reference(c).tokens.empty()) continue;
    Scratch fresh;
    const Sampled a = sample(c.row(), used), b = sample(c.row(), fresh);
    CHECK_EQ(a.token, b.token);
    CHECK_EQ(a.logprob, b.logprob);
    CHECK_EQ(a.policy_logprob, b.policy_logprob);
    CHECK(a.top == b.top);
  }
}

TEST(threads_draw_different_rows_at_once) {
  std::mt19937 random(8);
  std::vector<Case> cases;
  while (cases.size() < 200) {
    Case c = random_case(random);
    if (!reference(c).tokens.empty()) cases.push_back(std::move(c));
  }
  std::vector<Sampled> alone, together(cases.size());
  Scratch scratch;
  for (Case& c : cases) alone.push_back(sample(c.row(), scratch));
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Scratch own;
      for (size_t i = t; i < cases.size(); i += 4) together[i] = sample(cases[i].row(), own);
    });
  }
  for (auto& thread : threads) thread.join();
  for (size_t i = 0; i < cases.size(); ++i) {
    CHECK_EQ(together[i].token, alone[i].token);
    CHECK_EQ(together[i].policy_logprob, alone[i].policy_logprob);
    CHECK(together[i].top == alone[i].top);
  }
}

TEST(untouched_sampling_at_temperature_one_has_the_raw_logprob_to_the_bit) {
  std::mt19937 random(6);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  Scratch scratch;
  Case c;
  c.logits.resize(9000);
  for (float& x : c.logits) x = normal(random);
  c.logprobs = 0;
  for (c.index = 0; c.index < 100; ++c.index) {
    const Sampled got = sample(c.row(), scratch);
    CHECK_EQ(got.logprob, got.policy_logprob);
  }
}

TEST(says_why_nothing_can_be_sampled) {
  Scratch scratch;
  Case c;
  c.logits = {not_a_number, infinity, -infinity};
  for (const float temperature : {0.0f, 1.0f}) {
    c.params.temperature = temperature;
    CHECK_EQ(CHECK_THROWS(sample(c.row(), scratch)), "no token can be sampled: 0 of 3 logits are finite");
  }
  CHECK_EQ(CHECK_THROWS(score(c.logits.data(), 3, 0, 1, scratch)), "no token can be sampled: 0 of 3 logits are finite");
  c.logits = {1, 2, not_a_number};
  c.forbidden = {{0, 1}};
  const std::string why = "no token can be sampled: 2 of 3 logits are finite, and the mask allows none of them";
  for (const float temperature : {0.0f, 1.0f}) {
    c.params.temperature = temperature;
    c.allowed.clear();
    CHECK_EQ(CHECK_THROWS(sample(c.row(), scratch)), why);
    c.allowed = {{2}};
    CHECK_EQ(CHECK_THROWS(sample(c.row(), scratch)), why);
  }
  CHECK_EQ(score(c.logits.data(), 3, 2, 0, scratch).logprob, -infinity);
}

TEST(extremes_stay_finite) {
  Scratch scratch;
  Case c;
  c.logits = {3e38f, -3e38f, 0.0f, 3e38f};
  c.logprobs = 4;
  for (const float temperature : {1e-38f, 1e-6f, 1.0f, 1e30f}) {
    for (const float top_p : {1.0f, 0.99999994f, 1e-30f}) {
      for (const float min_p : {0.0f, 1e-38f, 1.0f}) {
        c.params.temperature = temperature;
        c.params.top_p = top_p;
        c.params.min_p = min_p;
        const Sampled got = sample(c.row(), scratch);
        CHECK(got.token == 0 || got.token == 3);
        CHECK(std::isfinite(got.policy_logprob) && std::isfinite(got.logprob));
      }
    }
  }
}

}  // namespace
