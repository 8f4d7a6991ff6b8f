// What training computes of a response is what was computed as it was sampled: every bit of every token, before and
// after updates.
#include "check.h"
#include "sample/plain_policies.h"
#include "schedule/flat_answer.h"
#include "schedule/world.h"
#include "train/trainer.h"

using namespace npr;
using namespace test;

namespace {

// An engine that its test steps, and what it answered.
class Rollouts {
 public:
  // far: logits are looked at by the backend, as where they lie on a device.
  explicit Rollouts(const Setup& setup, bool far = false) {
    auto backend = support::make_test_backend({.threads = setup.threads});
    if (far && !backend->policies()) backend = std::make_unique<FarBackend>(std::move(backend), policies_);
    auto model = std::make_unique<model::Model>(
        checkpoint(), std::move(backend), setup.slots * checkpoint().config().kv_shape().slot_bytes(), setup.rows);
    engine_ = std::make_shared<schedule::Engine>(std::move(model), vocabulary(), setup.options,
                                                 [this](std::vector<Event>&& events) {
                                                   for (const auto& event : events) take(event);
                                                 });
  }

  const std::shared_ptr<schedule::Engine>& engine() { return engine_; }
  PlainPolicies& policies() { return policies_; }

  // All requests at once; a group each, without those that failed, and with random weights.
  std::vector<train::Group> run(std::span<const Request> requests, RequestMaker& random) {
    answers_.clear();
    failed_.clear();
    for (const auto& request : requests) engine_->submit(request);
    while (engine_->step()) {
    }
    std::vector<train::Group> groups;
    for (const auto& request : requests) {
      if (failed_.contains(request.id)) continue;
      train::Group& group = groups.emplace_back();
      group.prompt = request.prompt;
      group.request = request;
      for (uint32_t choice = 0; choice < request.n; ++choice) {
        auto flat = answers_[{request.id, choice}].flat();
        train::Trajectory& each = group.trajectories.emplace_back();
        for (const uint8_t forced : flat.forced) {
          const bool weightless = forced || random.chance(4);
          each.weights.push_back(weightless ? 0 : 1e-4f * (static_cast<float>(random.below(200)) - 100));
        }
        each.tokens = std::move(flat.tokens);
        each.forced = std::move(flat.forced);
        each.old_logprobs = std::move(flat.policy_logprobs);
        each.choice = choice;
      }
    }
    return groups;
  }

 private:
  void take(const Event& event) {
    if (event.type == Event::Type::failed) failed_.insert(event.request);
    answers_[{event.request, event.choice}].take(event);
  }

  PlainPolicies policies_;
  std::shared_ptr<schedule::Engine> engine_;
  std::map<std::pair<RequestId, uint32_t>, FlatAnswer> answers_;
  std::set<RequestId> failed_;
};

// Requests of every kind that leave tokens to train on.
std::vector<Request> random_requests(RequestMaker& random, uint32_t count) {
  std::vector<Request> requests;
  while (requests.size() < count) {
    Request request = random.make(requests.size() + 1);
    if (!request.max_tokens) continue;
    request.policy_logprobs = true;
    request.prompt_logprobs = -1;
    requests.push_back(std::move(request));
  }
  return requests;
}

struct Compared {
  uint32_t tokens = 0, differing = 0;
};

Compared compare(std::span<const train::Group> groups, const train::PassResult& result) {
  Compared out;
  size_t at = 0;
  for (const auto& group : groups) {
    for (const auto& trajectory : group.trajectories) {
      const auto& logprobs = result.logprobs.at(at++);
      CHECK_EQ(logprobs.size(), trajectory.tokens.size());
      for (size_t i = 0; i < logprobs.size(); ++i, ++out.tokens) {
        out.differing += std::bit_cast<uint32_t>(logprobs[i]) != std::bit_cast<uint32_t>(trajectory.old_logprobs[i]);
      }
    }
  }
  CHECK_EQ(at, result.logprobs.size());
  return out;
}

train::TrainerOptions options(uint32_t micro_batch_tokens, bool lora) {
  train::TrainerOptions out;
  out.micro_batch_tokens = micro_batch_tokens;
  if (lora) out.lora = {.rank = 3, .alpha = 6, .targets = {train::LoraTarget::q, train::LoraTarget::down}, .seed = 5};
  return out;
}

TEST(log_probabilities_are_those_of_sampling_to_the_bit) {
  uint32_t branches = 0, micro_batches = 0;
  for (const auto& [threads, far] : {std::pair{1u, false}, {2u, false}, {3u, false}, {2u, true}}) {
    // Few slots, so that requests are preempted, too.
    Rollouts rollouts({.threads = threads, .rows = 64, .slots = 900}, far);
    train::Trainer trainer(rollouts.engine(), options(threads == 2 ? 100 : 800, threads == 3));
    RequestMaker random(threads);
    for (uint32_t round = 0; round < 4; round += std::min(check::stride(), 3u)) {  // one follows an update
      const auto groups = rollouts.run(random_requests(random, 16), random);
      const auto scored = trainer.score(groups);
      const auto [tokens, differing] = compare(groups, scored);
      CHECK(tokens > 500);
      CHECK_EQ(differing, 0u);
      CHECK_EQ(scored.mismatch, 0.0f);
      micro_batches += scored.rows > 800;

      const auto result = trainer.accumulate(groups, {.kind = train::Loss::Kind::clipped});
      CHECK_EQ(compare(groups, result).differing, 0u);
      CHECK_EQ(result.mismatch, 0.0f);
      CHECK_EQ(result.clipped, 0.0);
      CHECK_EQ(result.entropy, scored.entropy);

      // The update changes the distribution, for the engine and the trainer alike.
      CHECK(trainer.step(1e-2).report.applied);
      CHECK(trainer.score(groups).mismatch > 0);
      rollouts.engine()->check_integrity();
    }
    branches += static_cast<uint32_t>(rollouts.engine()->stats().forked_branches);
  }
  if (check::stride() == 1) CHECK(branches > 200 && micro_batches > 2);
}

// Who looks at the logits changes no token and no bit of a log-probability.
TEST(logits_may_lie_away_from_the_host) {
  Rollouts near({.threads = 2, .rows = 64}), far({.threads = 2, .rows = 64}, true);
  RequestMaker random(5), same(5);
  auto requests = random_requests(random, 40);
  random_requests(same, 40);
  for (auto& request : requests) {
    request.logprobs = -1;
    sample::Params& p = request.sampling;
    if (request.id % 5 == 1) p.top_p = 0.9f;
    if (request.id % 5 == 2) p.top_k = 7;
    if (request.id % 5 == 3) p.min_p = 0.05f;
    if (request.id % 5 == 4) p.repetition_penalty = 1.2f;
  }
  far.policies().refuses = 3;
  const auto here = near.run(requests, random), there = far.run(requests, same);
  CHECK_EQ(here.size(), there.size());
  for (size_t i = 0; i < here.size(); ++i) {
    for (size_t j = 0; j < here[i].trajectories.size(); ++j) {
      CHECK(here[i].trajectories[j].tokens == there[i].trajectories[j].tokens);
      CHECK(here[i].trajectories[j].old_logprobs == there[i].trajectories[j].old_logprobs);
    }
  }
  const uint64_t drawn = far.policies().looked;
  train::Trainer trainer(near.engine(), options(800, false)), away(far.engine(), options(800, false));
  const auto expected = trainer.accumulate(here, {.kind = train::Loss::Kind::clipped});
  const auto got = away.accumulate(there, {.kind = train::Loss::Kind::clipped});
  CHECK(got.logprobs == expected.logprobs);
  CHECK_EQ(got.entropy, expected.entropy);
  CHECK_EQ(got.loss, expected.loss);
  if (!support::on_cuda()) CHECK(drawn > 200 && far.policies().looked > drawn + 80 && far.policies().listed > 200);
  const double norm = trainer.step(1e-3).report.gradient_norm;
  CHECK(std::abs(away.step(1e-3).report.gradient_norm - norm) < 1e-4 * norm);
}

// The same rollouts in micro-batches of any size: no bit of a log-probability depends on what else is in the batch.
TEST(micro_batches_change_no_bit) {
  Rollouts rollouts({.threads = 2, .rows = 64, .slots = 4096});
  RequestMaker random(11);
  const auto groups = rollouts.run(random_requests(random, 12), random);
  std::vector<std::vector<float>> first;
  uint64_t rows = 0;
  for (const uint32_t most : {4096u, 300u, 1u}) {
    train::Trainer trainer(rollouts.engine(), options(most, false));
    const auto result = trainer.score(groups);
    if (first.empty()) first = result.logprobs;
    CHECK(first == result.logprobs);
    CHECK(result.rows >= rows);
    rows = result.rows;
    if (most == 1) CHECK_EQ(result.saved_rows, uint64_t{0});
  }
}

}  // namespace
