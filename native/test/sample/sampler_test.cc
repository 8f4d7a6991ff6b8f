#include "sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

namespace {

using namespace npr::sample;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

// What a row refers to.
struct Case {
  std::vector<float> logits;
  Params params;
  Histogram prompt, branch_sampled;
  std::vector<Histogram> layers;
  std::vector<const Histogram*> response;
  std::vector<std::vector<int32_t>> allowed, forbidden;
  uint64_t index = 0;
  int32_t logprobs = -1;
  bool in_branch = false;

  Row row() {
    response.clear();
    for (const Histogram& layer : layers) response.push_back(&layer);
    Row out{logits.data(), static_cast<uint32_t>(logits.size()), &params, Stream::root(params.seed, 0), index};
    for (const auto& list : allowed) out.mask.allow(list);
    for (const auto& list : forbidden) out.mask.forbid(list);
    out.prompt = &prompt;
    out.response = response;
    if (in_branch) out.branch_sampled = &branch_sampled;
    out.logprobs = logprobs;
    return out;
  }
};

struct Distribution {
  std::vector<int32_t> tokens;  // ascending
  std::vector<double> probabilities;
  std::vector<float> processed;
  bool ambiguous = false;  // a truncation's boundary is nearer than rounding can tell
};

bool holds(const std::vector<std::vector<int32_t>>& lists, int32_t token) {
  return std::any_of(lists.begin(), lists.end(),
                     [&](const auto& list) { return std::find(list.begin(), list.end(), token) != list.end(); });
}

// Nearer than rounding can tell apart, but not equal: equal are exact sums of equal weights.
bool nearly(double a, double b, double unit) { return a != b && std::fabs(a - b) < 1e-5 * unit; }

// The documented order, step by step in double precision, over a sorted vocabulary.
Distribution reference(const Case& c) {
  const Params& p = c.params;
  std::vector<float> x = c.logits;
  for (int32_t t = 0; t < static_cast<int32_t>(x.size()); ++t) {
    uint32_t in_response = 0;
    for (const Histogram& layer : c.layers) in_response += layer.count(t);
    if (c.prompt.count(t) + in_response > 0 && p.repetition_penalty != 1.0f) {
      x[t] = x[t] > 0 ? x[t] / p.repetition_penalty : x[t] * p.repetition_penalty;
    }
    if (c.in_branch && c.branch_sampled.count(t) > 0 && p.branch_repetition_penalty != 1.0f) {
      x[t] = x[t] > 0 ? x[t] / p.branch_repetition_penalty : x[t] * p.branch_repetition_penalty;
    }
    if (in_response > 0) x[t] = x[t] - p.frequency_penalty * static_cast<float>(in_response) - p.presence_penalty;
    for (const auto& [token, bias] : p.logit_bias) {
      if (token == t) x[t] += bias;
    }
    if (!std::isfinite(x[t]) || holds(c.forbidden, t) || (!c.allowed.empty() && !holds(c.allowed, t))) x[t] = -infinity;
  }
  Distribution out;
  out.processed = x;
  std::vector<int32_t> order;
  for (int32_t t = 0; t < static_cast<int32_t>(x.size()); ++t) {
    if (x[t] > -infinity) order.push_back(t);
  }
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return x[a] > x[b]; });
  if (order.empty()) return out;
  if (p.temperature == 0.0f) {
    out.tokens = {order[0]};
    out.probabilities = {1.0};
    return out;
  }
  if (p.top_k > 0 && p.top_k < order.size()) order.resize(p.top_k);
  std::map<int32_t, double> weight;
  double total = 0;
  for (const int32_t t : order) {
    weight[t] =
        std::exp((static_cast<double>(x[t]) - static_cast<double>(x[order[0]])) / static_cast<double>(p.temperature));
    total += weight[t];
  }
  if (p.top_p < 1.0f) {
    const double wanted = static_cast<double>(p.top_p) * total;
    double mass = 0;
    size_t kept = 0;
    while (kept < order.size() && (kept == 0 || mass < wanted)) mass += weight[order[kept++]];
    const double last = weight[order[kept - 1]];
    out.ambiguous = nearly(mass, wanted, total) || nearly(mass - last, wanted, total);
    order.resize(kept);
  }
  if (p.min_p > 0.0f) {
    for (const int32_t t : order) {
      if (nearly(weight[t], static_cast<double>(p.min_p), 1.0)) out.ambiguous = true;
    }
    std::erase_if(order, [&](int32_t t) { return weight[t] < static_cast<double>(p.min_p); });
  }
  std::sort(order.begin(), order.end());
  total = 0;
  for (const int32_t t : order) total += weight[t];
  for (const int32_t t : order) {
    out.tokens.push_back(t);
    out.probabilities.push_back(weight[t] / total);
  }
  return out;
}

// log-softmax of the raw logits, and the tokens that have one in falling order.
std::vector<std::pair<int32_t, double>> raw_log_softmax(const std::vector<float>& logits) {
  std::vector<std::pair<int32_t, double>> out;
  double max = -infinity, sum = 0;
  for (const float x : logits) {
    if (std::isfinite(x)) max = std::max(max, static_cast<double>(x));
  }
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!std::isfinite(logits[i])) continue;
    out.emplace_back(static_cast<int32_t>(i), logits[i]);
    sum += std::exp(static_cast<double>(logits[i]) - max);
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  for (auto& [token, value] : out) value = std::max(value - max - std::log(sum), -3.4028234663852886e38);
  return out;
}

bool near(double a, double b) { return std::fabs(a - b) <= 2e-5 * std::max(1.0, std::fabs(b)); }

Case random_case(std::mt19937& random) {
  const auto chance = [&](uint32_t one_in) { return random() % one_in == 0; };
  const auto pick = [&](std::initializer_list<float> values) { return values.begin()[random() % values.size()]; };
  static const uint32_t sizes[] = {1, 2, 3, 17, 100, 129, 1000, 4096, 4097, 9001};
  Case c;
  const uint32_t vocab = sizes[random() % std::size(sizes)];
  const auto token = [&] { return static_cast<int32_t>(random() % vocab); };
  std::normal_distribution<float> normal(pick({0, -50, 1000}), pick({0.1f, 1, 3, 10, 100}));
  const bool ties = chance(3), specials = chance(4), sparse = chance(8);
  for (uint32_t i = 0; i < vocab; ++i) {
    float x = normal(random);
    if (ties) x = std::round(x);
    if (specials && chance(10)) x = pick({infinity, -infinity, not_a_number, -3e38f, 3e38f, 0.0f, -0.0f});
    if (sparse && !chance(500)) x = -infinity;
    c.logits.push_back(x);
  }
  Params& p = c.params;
  p.temperature = chance(4) ? 0.0f : pick({1, 0.6f, 0.01f, 2});
  if (chance(2)) p.top_p = pick({0, 0.1f, 0.5f, 0.9f, 0.95f, 0.999f});
  if (chance(2)) p.top_k = 1 + random() % (chance(4) ? 5000 : 40);
  if (chance(3)) p.min_p = pick({0.01f, 0.1f, 0.5f, 1.0f});
  if (chance(3)) p.repetition_penalty = pick({0.8f, 1.02f, 1.5f});
  if (chance(3)) p.presence_penalty = pick({-2, 0.5f, 2});
  if (chance(3)) p.frequency_penalty = pick({-0.5f, 0.1f, 1});
  if (chance(3)) p.branch_repetition_penalty = pick({1.02f, 1.3f});
  if (chance(4)) {
    std::set<int32_t> biased;
    for (uint32_t n = random() % 5; n > 0; --n) biased.insert(token());
    for (const int32_t t : biased) p.logit_bias.emplace_back(t, pick({-100, -1, 1, 100}));
  }
  p.seed = random();
  c.index = random() % 1000;
  for (uint32_t n = random() % 50; n > 0; --n) c.prompt.add(token());
  c.layers.resize(random() % 4);
  for (Histogram& layer : c.layers) {
    for (uint32_t n = random() % 50; n > 0; --n) layer.add(token());
  }
  c.in_branch = chance(2);
  for (uint32_t n = random() % 20; n > 0; --n) c.branch_sampled.add(token());
  const auto lists = [&](std::vector<std::vector<int32_t>>& out) {
    out.resize(1 + random() % 3);
    for (auto& list : out) {
      for (uint32_t n = random() % 30; n > 0; --n) list.push_back(token());
    }
  };
  if (chance(4)) lists(c.allowed);
  if (chance(3)) lists(c.forbidden);
  if (chance(20)) {
    c.forbidden.clear();
    c.allowed = {{token()}};
  }
  c.logprobs = static_cast<int32_t>(random() % 22) - 1;
  return c;
}

TEST(agrees_with_a_plain_reference) {
  std::mt19937 random(20250101);
  Scratch scratch;  // one for all, so that nothing of one row may stay for the next
  int nothing_left = 0, ambiguous = 0, boundary = 0;
  constexpr int rounds = 4000;
  for (int round = 0; round < rounds; ++round) {
    Case c = random_case(random);
    const Distribution expected = reference(c);
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
    const Distribution expected = reference(c);
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
