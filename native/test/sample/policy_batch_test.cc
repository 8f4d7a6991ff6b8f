// What a backend says of rows where their logits lie is what sampling and training say of them on the host, to the bit.
#include "sample/policy_batch.h"

#include <bit>
#include <random>
#include <vector>

#include "check.h"
#include "compute/test_backend.h"
#include "sample/cases.h"
#include "sample/plain_policies.h"
#include "sample/policy.h"
#include "sample/sampler.h"

namespace {

using namespace test;
using npr::compute::Policies;
using npr::compute::PolicySlope;
using npr::compute::PolicyValue;

// Rows of one vocabulary on their way to policies, and what the host says of them.
class Block {
 public:
  Block(npr::compute::Backend& backend, Policies& policies, uint32_t vocab)
      : backend_(backend), policies_(policies), vocab_(vocab) {}

  // Calls f(logits, a device array) where the rows' logits are.
  template <class F>
  void on_device(const std::vector<Case>& cases, const F& f) {
    const size_t size = cases.size() * vocab_;
    const auto memory = std::static_pointer_cast<float>(backend_.allocate(size * sizeof(float)));
    for (size_t i = 0; i < cases.size(); ++i) backend_.upload(memory.get() + i * vocab_, cases[i].logits);
    f(memory.get());
  }

  npr::compute::Backend& backend_;
  Policies& policies_;
  const uint32_t vocab_;
};

bool same_bits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

// As random_case() makes them, but of one vocabulary and mostly without what takes a list.
Case case_of(std::mt19937& random, uint32_t vocab) {
  Case c;
  do {
    c = random_case(random);
    c.logprobs = -1;
    if (random() % 8) {
      c.allowed.clear();
      c.params.top_p = 1;
      c.params.top_k = 0;
      c.params.min_p = 0;
      c.params.repetition_penalty = c.params.branch_repetition_penalty = 1;
      c.params.presence_penalty = c.params.frequency_penalty = 0;
    }
    std::normal_distribution<float> normal(0, 4);
    c.logits.resize(vocab);
    for (float& x : c.logits) {
      if (random() % 3 == 0) x = normal(random);
    }
    draw_tokens(c, vocab, random);
  } while (reference(c).tokens.empty());
  return c;
}

void check_rows(npr::compute::Backend& backend, Policies& policies, uint32_t vocab, uint32_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<Case> cases;
  for (uint32_t i = 0; i < count; ++i) cases.push_back(case_of(random, vocab));
  Block block(backend, policies, vocab);
  Scratch scratch;
  PolicyBatch batch;
  PolicyBatch::Edits edits;
  std::vector<uint32_t> taken;
  for (uint32_t i = 0; i < count; ++i) {
    if (cases[i].params.truncates() || cases[i].row().mask.restricted()) continue;  // schedule/device_draws_test.cc
    if (!PolicyBatch::edits_of(cases[i].row(), edits)) continue;
    batch.draw(cases[i].row(), i, edits);
    taken.push_back(i);
  }
  CHECK(taken.size() > count / 2);
  block.on_device(cases, [&](float* logits) {
    std::vector<PolicyValue> values(taken.size());
    policies.look(logits, vocab, batch.rows(), batch.edits(), values);
    for (size_t i = 0; i < taken.size(); ++i) {
      const Sampled expected = sample(cases[taken[i]].row(), scratch);
      CHECK_EQ(values[i].token, expected.token);
      CHECK(same_bits(logprob(batch.rows()[i], values[i]), expected.policy_logprob));
    }
  });
  // Given tokens, some of which can't come, and gradients in place.
  for (const bool raw : {false, true}) {
    std::vector<int32_t> tokens;
    batch.clear();
    taken.clear();
    for (uint32_t i = 0; i < count; ++i) {
      const auto token = static_cast<int32_t>(random() % vocab);
      if (raw) batch.look_raw(i, token);
      if (!raw && !batch.look(cases[i].row(), i, token)) continue;
      taken.push_back(i);
      tokens.push_back(token);
    }
    block.on_device(cases, [&](float* logits) {
      std::vector<PolicyValue> values(taken.size());
      policies.look(logits, vocab, batch.rows(), batch.edits(), values);
      std::vector<PolicySlope> slopes(taken.size());
      std::vector<double> distances(taken.size()), entropies;
      std::vector<std::vector<float>> expected;
      for (size_t i = 0; i < taken.size(); ++i) {
        Case& c = cases[taken[i]];
        auto gradient = c.logits;
        Row row = c.row();
        row.logits = gradient.data();
        const Policy policy = raw ? Policy(gradient.data(), vocab, scratch) : Policy(row, scratch);
        CHECK(same_bits(logprob(batch.rows()[i], values[i]), policy.logprob(tokens[i])));
        const bool skipped = random() % 5 == 0;
        const float coefficient = skipped ? 0 : 0.01f * static_cast<float>(random() % 200) - 1;
        slopes[i] = skipped ? PolicySlope{} : slope(batch.rows()[i], values[i], coefficient);
        entropies.push_back(policy.entropy());
        policy.differentiate(tokens[i], coefficient, gradient.data());
        expected.push_back(skipped ? std::vector<float>(vocab) : std::move(gradient));
      }
      const auto check_entropies = [&] {
        for (size_t i = 0; i < taken.size(); ++i) {
          if (slopes[i].wanted) CHECK_EQ(entropy(batch.rows()[i], values[i], distances[i]), entropies[i]);
        }
      };
      policies.differentiate(logits, vocab, batch.rows(), batch.edits(), values, slopes, false, distances);
      check_entropies();
      policies.differentiate(logits, vocab, batch.rows(), batch.edits(), values, slopes, true, distances);
      check_entropies();
      for (size_t i = 0; i < taken.size(); ++i) {
        std::vector<float> got(vocab);
        backend.download(logits + size_t{taken[i]} * vocab, got);
        CHECK(got == expected[i]);
      }
    });
  }
}

TEST(rows_have_the_bits_of_the_host) {
  const auto backend = support::make_test_backend();
  PlainPolicies plain;
  Policies& policies = backend->policies() ? *backend->policies() : plain;
  uint32_t seed = 0;
  for (const uint32_t vocab : {50u, 4096u, 4097u, 12305u, 40000u}) {
    for (uint32_t round = 0; round < 4; round += check::stride())
      check_rows(*backend, policies, vocab, vocab < 5000 ? 60 : 12, ++seed);
  }
}

TEST(edits_come_in_turns) {
  Case c;
  c.logits.assign(100, 0.0f);
  c.forbidden = {{3, 4}, {4, 200}};  // of 4 it is said once, and of 200, which there is none, nothing
  c.params.logit_bias = {{7, -2.0f}, {4, 1.0f}};
  c.params.repetition_penalty = 1.5f;
  c.params.branch_repetition_penalty = 1.25f;
  c.params.frequency_penalty = 0.5f;
  c.params.presence_penalty = 0.25f;
  c.prompt.add(9);
  c.layers.resize(1);
  c.layers[0].add(8, 3);
  c.branch_sampled.add(8);
  c.in_branch = true;
  PolicyBatch::Edits edits;
  CHECK(PolicyBatch::edits_of(c.row(), edits));
  const std::vector<std::vector<std::pair<int32_t, float>>> expected = {
      {{8, 1.5f}, {9, 1.5f}},          {{8, 1.25f}}, {{8, -1.5f}}, {{8, -0.25f}}, {{4, 1.0f}, {7, -2.0f}},
      {{3, -infinity}, {4, -infinity}}};
  std::vector<std::vector<std::pair<int32_t, float>>> turns;
  size_t at = 0;
  for (const uint32_t end : edits.ends) {
    turns.emplace_back();
    for (; at < end; ++at) turns.back().emplace_back(edits.list[at].token, edits.list[at].value);
  }
  CHECK(turns == expected);
  PolicyBatch batch;
  for (const uint32_t row : {2u, 5u}) batch.draw(c.row(), row, edits);
  CHECK_EQ(batch.rows()[1].row, 5u);
  CHECK_EQ(batch.rows()[1].edits_begin, batch.rows()[0].edits_end[5]);
  CHECK_EQ(batch.edits().size(), 2 * edits.list.size());
}

TEST(what_is_left_to_the_host) {
  Case plain;
  plain.logits.assign(100, 0.0f);
  plain.params.logit_bias = {{4, 1.0f}, {7, -2.0f}};
  PolicyBatch::Edits edits;
  const auto left = [&](auto change) {
    Case c = plain;
    change(c);
    return !PolicyBatch::edits_of(c.row(), edits);
  };
  CHECK(!left([](Case&) {}));
  CHECK(left([](Case& c) { c.params.logit_bias.emplace_back(7, 1.0f); }));  // added one after the other
  const auto penalized = [](Case& c) {
    c.params.repetition_penalty = 1.1f;
    for (int32_t token = 0; token < 9000; ++token) c.prompt.add(token);
  };
  CHECK(left(penalized));  // longer than it is worth
  // What truncates, what a mask restricts and what is penalized is not looked at for training: two take lists, and
  // gradients pass through penalties.
  PolicyBatch batch;
  CHECK(batch.look(plain.row(), 0, 1));
  plain.params.top_p = 0.9f;
  CHECK(!batch.look(plain.row(), 0, 1));
  plain.params.top_p = 1;
  plain.params.presence_penalty = 1;
  CHECK(!batch.look(plain.row(), 0, 1));
  plain.params.presence_penalty = 0;
  plain.allowed = {{1, 2}};
  CHECK(!batch.look(plain.row(), 0, 1));
}

TEST(nothing_to_draw_from_shows) {
  const auto backend = support::make_test_backend();
  PlainPolicies plain;
  Policies& policies = backend->policies() ? *backend->policies() : plain;
  Case c;
  c.logits.assign(5000, -infinity);
  c.logits[17] = not_a_number;
  c.logits[4999] = infinity;
  Block block(*backend, policies, 5000);
  for (const float temperature : {1.0f, 0.0f}) {
    c.params.temperature = temperature;
    PolicyBatch batch;
    PolicyBatch::Edits edits;
    CHECK(PolicyBatch::edits_of(c.row(), edits));
    batch.draw(c.row(), 0, edits);
    block.on_device({c}, [&](float* logits) {
      PolicyValue value;
      policies.look(logits, 5000, batch.rows(), batch.edits(), {&value, 1});
      CHECK(!possible(value));
    });
  }
}

}  // namespace
