// Tokens drawn where the logits lie are those that the host draws, to the bit of their log-probabilities.
#include "schedule/device_draws.h"

#include <bit>
#include <random>
#include <vector>

#include "check.h"
#include "compute/test_backend.h"
#include "sample/cases.h"
#include "sample/plain_policies.h"

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
    c.logprobs = -1;
    c.allowed.clear();
    c.params.repetition_penalty = c.params.branch_repetition_penalty = 1;
    c.params.presence_penalty = c.params.frequency_penalty = 0;
    std::normal_distribution<float> normal(0, random() % 4 == 0 ? 0.01f : 4);
    const bool ties = random() % 4 == 0;
    c.logits.resize(vocab);
    for (float& x : c.logits) {
      if (random() % 3 > 0) continue;
      x = normal(random);
      if (ties) x = std::round(x);
    }
    if (c.params.logit_bias.size() > 1) c.params.logit_bias.resize(1);  // two of one token are the host's
    for (auto& [token, bias] : c.params.logit_bias) token = static_cast<int32_t>(random() % vocab);
  } while (reference(c).tokens.empty());
  return c;
}

TEST(draws_have_the_bits_of_the_host) {
  PlainPolicies plain;
  const auto backend = backend_with(plain);
  DeviceDraws draws;
  Scratch scratch;
  uint32_t truncated = 0, left = 0;
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
        CHECK(draws.add(cases[i].row(), i));
      }
      std::vector<DeviceDraws::Outcome> outcomes(count);
      draws.run(*backend, memory.get(), vocab, outcomes);
      for (uint32_t i = 0; i < count; ++i) {
        const bool truncates = cases[i].params.truncates();
        truncated += truncates;
        if (outcomes[i].kind == Kind::left) {
          CHECK(truncates && vocab > 8192);
          ++left;
          continue;
        }
        CHECK(outcomes[i].kind == Kind::drawn);
        const Sampled expected = sample(cases[i].row(), scratch);
        CHECK_EQ(outcomes[i].sampled.token, expected.token);
        CHECK_EQ(std::bit_cast<uint32_t>(outcomes[i].sampled.policy_logprob),
                 std::bit_cast<uint32_t>(expected.policy_logprob));
      }
    }
  }
  if (check::stride() == 1) CHECK(truncated > 300 && left > 0 && left < truncated / 2);
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
  CHECK(draws.add(none.row(), 0) && draws.add(some.row(), 1));
  std::vector<DeviceDraws::Outcome> outcomes(2);
  draws.run(*backend, memory.get(), 300, outcomes);
  CHECK(outcomes[0].kind == Kind::impossible);
  CHECK(outcomes[1].kind == Kind::drawn && outcomes[1].sampled.token == 299 && outcomes[1].sampled.policy_logprob == 0);
  some.params.repetition_penalty = 2;
  CHECK(!draws.add(some.row(), 1));
}

}  // namespace
