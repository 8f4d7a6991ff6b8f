// Random rows of logits with everything that a draw may depend on, and a plain reference for what it should do.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "sample/row.h"

namespace test {

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

struct Expected {
  std::vector<int32_t> tokens;  // ascending
  std::vector<double> probabilities;
  std::vector<float> processed;
  bool ambiguous = false;  // a truncation's boundary is nearer than rounding can tell
};

inline bool holds(const std::vector<std::vector<int32_t>>& lists, int32_t token) {
  return std::any_of(lists.begin(), lists.end(),
                     [&](const auto& list) { return std::find(list.begin(), list.end(), token) != list.end(); });
}

// Nearer than rounding can tell apart, but not equal: equal are exact sums of equal weights.
inline bool nearly(double a, double b, double unit) { return a != b && std::fabs(a - b) < 1e-5 * unit; }

// The documented order, step by step in double precision, over a sorted vocabulary.
inline Expected reference(const Case& c) {
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
  Expected out;
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
inline std::vector<std::pair<int32_t, double>> raw_log_softmax(const std::vector<float>& logits) {
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

inline bool near(double a, double b) { return std::fabs(a - b) <= 2e-5 * std::max(1.0, std::fabs(b)); }

inline Case random_case(std::mt19937& random) {
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

// Tokens of this vocabulary, for logits of it: a bias at most, and histories, some of them long.
inline void draw_tokens(Case& c, uint32_t vocab, std::mt19937& random) {
  const auto token = [&] { return static_cast<int32_t>(random() % vocab); };
  const auto history = [&](uint32_t count) {
    Histogram out;
    for (; count > 0; --count) out.add(token());
    return out;
  };
  if (c.params.logit_bias.size() > 1) c.params.logit_bias.resize(1);
  for (auto& [biased, bias] : c.params.logit_bias) biased = token();
  c.prompt = history(random() % 8 == 0 ? 3000 : random() % 50);
  c.branch_sampled = history(random() % 20);
  for (Histogram& layer : c.layers) layer = history(random() % 50);
  for (auto* lists : {&c.allowed, &c.forbidden}) {
    for (auto& list : *lists) {
      for (int32_t& each : list)
        each = random() % 9 ? token() : token() + static_cast<int32_t>(vocab);  // some are none
    }
  }
}

}  // namespace test
