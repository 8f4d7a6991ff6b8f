// Tokens drawn where the logits lie are those that the host draws, to the bit of their log-probabilities.
#include "schedule/device_draws.h"

#include <bit>
#include <random>
#include <vector>

#include "check.h"
#include "compute/test_backend.h"
#include "sample/cases.h"
#include "sample/plain_policies.h"
#include "schedule/device_scores.h"
#include "schedule/world.h"

namespace {

using namespace test;
using npr::schedule::DeviceDraws;
using Kind = DeviceDraws::Outcome::Kind;

std::unique_ptr<npr::compute::Backend> backend_with(PlainPolicies& plain) {
  auto backend = support::make_test_backend();
  if (backend->policies()) return backend;
  return std::make_unique<FarBackend>(std::move(backend), plain);
}

// As random_case() makes them, of one vocabulary; flat ones have more that may come than is listed.
Case case_of(std::mt19937& random, uint32_t vocab) {
  Case c;
  do {
    c = random_case(random);
    std::normal_distribution<float> normal(0, random() % 4 == 0 ? 0.01f : 4);
    const bool ties = random() % 4 == 0;
    c.logits.resize(vocab);
    for (float& x : c.logits) {
      if (random() % 3 > 0) continue;
      x = normal(random);
      if (ties) x = std::round(x);
    }
    draw_tokens(c, vocab, random);
  } while (reference(c).tokens.empty());
  return c;
}

void check_same(const std::vector<std::pair<int32_t, float>>& got,
                const std::vector<std::pair<int32_t, float>>& expected) {
  CHECK_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    CHECK_EQ(got[i].first, expected[i].first);
    CHECK_EQ(std::bit_cast<uint32_t>(got[i].second), std::bit_cast<uint32_t>(expected[i].second));
  }
}

TEST(draws_have_the_bits_of_the_host) {
  PlainPolicies plain;
  const auto backend = backend_with(plain);
  DeviceDraws draws;
  PolicyBatch::Edits edits;
  Scratch scratch;
  uint32_t truncated = 0, restricted = 0, left = 0, reported = 0;
  std::mt19937 random(1);
  for (const uint32_t vocab : {50u, 4096u, 4097u, 12305u, 40000u}) {
    for (uint32_t round = 0; round < 4; round += check::stride()) {
      std::vector<Case> cases;
      const uint32_t count = vocab < 5000 ? 60 : 16;
      for (uint32_t i = 0; i < count; ++i) cases.push_back(case_of(random, vocab));
      const auto memory = std::static_pointer_cast<float>(backend->allocate(size_t{count} * vocab * sizeof(float)));
      draws.clear();
      for (uint32_t i = 0; i < count; ++i) {
        backend->upload(memory.get() + size_t{i} * vocab, cases[i].logits);
        CHECK(PolicyBatch::edits_of(cases[i].row(), edits));
        draws.add(cases[i].row(), i, edits);
      }
      std::vector<DeviceDraws::Outcome> outcomes(count);
      draws.run(*backend, memory.get(), vocab, outcomes);
      for (uint32_t i = 0; i < count; ++i) {
        const bool limits = !cases[i].allowed.empty(), truncates = cases[i].params.truncates() && !limits;
        truncated += truncates;
        restricted += limits;
        if (outcomes[i].kind == Kind::left) {
          CHECK(vocab > 8192 && (truncates || cases[i].logprobs > 0));
          ++left;
          continue;
        }
        CHECK(outcomes[i].kind == Kind::drawn);
        const Sampled expected = sample(cases[i].row(), scratch);
        CHECK_EQ(outcomes[i].sampled.token, expected.token);
        CHECK_EQ(std::bit_cast<uint32_t>(outcomes[i].sampled.policy_logprob),
                 std::bit_cast<uint32_t>(expected.policy_logprob));
        CHECK_EQ(std::bit_cast<uint32_t>(outcomes[i].sampled.logprob), std::bit_cast<uint32_t>(expected.logprob));
        check_same(outcomes[i].sampled.top, expected.top);
        reported += expected.top.size() > 1;
      }
    }
  }
  if (check::stride() == 1)
    CHECK(truncated > 300 && restricted > 100 && reported > 300 && left > 0 && left < truncated / 2);
}

TEST(nothing_to_draw_from_is_said) {
  PlainPolicies plain;
  const auto backend = backend_with(plain);
  Case none, some;
  none.logits.assign(300, -infinity);
  some.logits.assign(300, -infinity);
  some.logits[299] = 1;
  for (Case* c : {&none, &some}) {
    c->params.top_k = 3;
    c->params.top_p = 0.5f;
  }
  const auto memory = std::static_pointer_cast<float>(backend->allocate(600 * sizeof(float)));
  backend->upload(memory.get(), none.logits);
  backend->upload(memory.get() + 300, some.logits);
  DeviceDraws draws;
  PolicyBatch::Edits edits;
  Case masked = some;
  masked.allowed = {{3, 298}, {400}};
  for (Case* c : {&none, &some, &masked}) {
    CHECK(PolicyBatch::edits_of(c->row(), edits));
    draws.add(c->row(), c != &none, edits);
  }
  std::vector<DeviceDraws::Outcome> outcomes(3);
  draws.run(*backend, memory.get(), 300, outcomes);
  CHECK(outcomes[0].kind == Kind::impossible);
  CHECK(outcomes[1].kind == Kind::drawn && outcomes[1].sampled.token == 299 && outcomes[1].sampled.policy_logprob == 0);
  CHECK(outcomes[2].kind == Kind::impossible);
  some.params.logit_bias = {{7, 1.0f}, {7, 2.0f}};
  CHECK(!PolicyBatch::edits_of(some.row(), edits));
}

TEST(scores_have_the_bits_of_the_host) {
  PlainPolicies plain;
  const auto backend = backend_with(plain);
  npr::schedule::DeviceScores scores;
  Scratch scratch;
  std::mt19937 random(2);
  uint32_t left = 0;
  for (const uint32_t vocab : {3u, 300u, 4097u, 20000u}) {
    constexpr uint32_t count = 24;
    const auto memory = std::static_pointer_cast<float>(backend->allocate(size_t{count} * vocab * sizeof(float)));
    std::vector<std::vector<float>> logits(count, std::vector<float>(vocab));
    std::vector<std::pair<int32_t, uint32_t>> wanted;
    scores.clear();
    for (uint32_t i = 0; i < count; ++i) {
      std::normal_distribution<float> normal(0, 3);
      for (float& x : logits[i]) {
        x = i % 6 == 0 ? 1.0f : normal(random);
        if (i % 6 == 1 && random() % 10 == 0) x = random() % 2 ? not_a_number : infinity;
        if (i == 2) x = -infinity;
      }
      backend->upload(memory.get() + size_t{i} * vocab, logits[i]);
      wanted.emplace_back(random() % vocab, random() % 3 ? random() % 21 : 0);
      scores.add(i, wanted[i].first, wanted[i].second);
    }
    std::vector<npr::schedule::DeviceScores::Outcome> outcomes(count);
    scores.run(*backend, memory.get(), vocab, outcomes);
    for (uint32_t i = 0; i < count; ++i) {
      if (!outcomes[i].scored) {
        CHECK(i == 2 || (vocab > 8192 && i % 6 == 0 && wanted[i].second));
        ++left;
        continue;
      }
      const Score expected = score(logits[i].data(), vocab, wanted[i].first, wanted[i].second, scratch);
      CHECK_EQ(std::bit_cast<uint32_t>(outcomes[i].score.logprob), std::bit_cast<uint32_t>(expected.logprob));
      check_same(outcomes[i].score.top, expected.top);
    }
  }
  CHECK(left > 4);
}

// Penalties, biases, truncation, log-probabilities of tokens and of prompts, all through the engine.
TEST(answers_have_the_bits_of_the_host) {
  PlainPolicies plain;
  plain.refuses = 5;
  World near({.threads = 2, .on_host = true}), far({.threads = 2, .policies = &plain});
  RequestMaker random(3);
  std::vector<npr::Request> requests;
  for (npr::RequestId id = 1; id <= 60; id += check::stride()) requests.push_back(random.make(id));
  for (World* world : {&near, &far}) {
    for (const auto& request : requests) world->engine().submit(request);
    world->run();
  }
  for (const auto& request : requests) CHECK_EQ(near.of(request.id).difference(far.of(request.id)), std::string());
  if (!support::on_cuda() && check::stride() == 1)
    CHECK(plain.looked > 2000 && plain.listed > 1000 && plain.gathered > 100);
}

}  // namespace
