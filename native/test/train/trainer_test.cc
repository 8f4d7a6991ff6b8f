// What a caller of the trainer relies on: refusals before anything is computed, and gradients that add up.
#include "train/trainer.h"

#include "check.h"
#include "schedule/world.h"

using namespace npr;
using namespace test;

namespace {

std::shared_ptr<schedule::Engine> make_engine(uint32_t slots = 256,
                                              compute::WeightFormat weights = compute::WeightFormat::bf16) {
  auto model =
      std::make_unique<model::Model>(checkpoint(), support::make_test_backend({.threads = 1, .weights = weights}),
                                     slots * checkpoint().config().kv_shape().slot_bytes(), 64);
  return std::make_shared<schedule::Engine>(std::move(model), vocabulary(), schedule::Options{},
                                            [](std::vector<Event>&&) {});
}

train::TrainerOptions options(uint32_t micro_batch_tokens = 100) {
  train::TrainerOptions out;
  out.micro_batch_tokens = micro_batch_tokens;
  return out;
}

train::Group text(std::vector<int32_t> tokens, float weight = 0.1f) {
  train::Group group;
  group.prompt = {im_start, user, newline, 20, 21, im_end, im_start, assistant, newline};
  train::Trajectory& each = group.trajectories.emplace_back();
  each.weights.assign(tokens.size(), weight);
  each.tokens = std::move(tokens);
  return group;
}

bool says(const std::string& message, const char* part) { return message.find(part) != message.npos; }

TEST(repeating_a_text_makes_it_likely) {
  train::Trainer trainer(make_engine(), options());
  const std::vector<train::Group> groups{text({14, 22, 15, 30, 17, 9, 3, im_end}, 0.125f)};
  double before = 0, after = 0;
  for (int step = 0; step < 30; ++step) {
    const auto result = trainer.accumulate(groups, {});
    if (step == 0) before = result.loss;
    after = result.loss;
    CHECK_EQ(result.tokens, uint64_t{8});
    CHECK_EQ(result.rows, uint64_t{17});
    CHECK(result.entropy > 0);
    const auto stepped = trainer.step(1e-2);
    CHECK(stepped.report.applied && stepped.report.gradient_norm > 0);
  }
  CHECK(after < 0.2 * before);
}

TEST(gradients_add_up_until_the_step) {
  const std::vector<train::Group> both{text({14, 15, 16}), text({30, 31})}, first{both[0]}, second{both[1]};
  const auto norm = [](const auto& accumulate) {
    train::Trainer trainer(make_engine(), options());
    accumulate(trainer);
    return trainer.step(0).report.gradient_norm;
  };
  const double together = norm([&](auto& trainer) { trainer.accumulate(both, {}); });
  const double one = norm([&](auto& trainer) { trainer.accumulate(first, {}); });
  const auto near = [](double a, double b) { return std::abs(a - b) < 1e-5 * b; };
  CHECK(near(norm([&](auto& trainer) {
               trainer.accumulate(first, {});
               trainer.accumulate(second, {});
             }),
             together));
  CHECK(!near(one, together));
  CHECK_EQ(norm([&](auto& trainer) {
             trainer.accumulate(first, {});
             trainer.score(both);
           }),
           one);
  CHECK_EQ(norm([](auto&) {}), 0.0);
}

TEST(refuses_before_anything_is_computed) {
  const auto engine = make_engine(64);
  train::Trainer trainer(engine, options());
  const auto refusal = [&](train::Group wrong, const train::Loss& loss = {}) {
    const std::vector<train::Group> groups{text({14, 15}), std::move(wrong)};
    const auto message = CHECK_THROWS(trainer.accumulate(groups, loss));
    CHECK_EQ(trainer.step(0).report.gradient_norm, 0.0);
    return message;
  };
  CHECK(says(refusal(text({})), "group 1, trajectory 0: the trajectory has no tokens"));
  CHECK(says(refusal(text({48})), "token 0 is 48"));
  CHECK(says(refusal(text(std::vector<int32_t>(60, 20))), "takes 69 tokens with its prompt; the KV pool has 64 slots"));
  CHECK(says(refusal(text(std::vector<int32_t>(395, 20))), "it takes 404 positions; the model's context has 400"));
  CHECK(says(refusal(text({20}), {.kind = train::Loss::Kind::clipped}), "no old log-probabilities"));
  CHECK(says(refusal(text({20}), {.kind = train::Loss::Kind::clipped, .low = 2}), "low is 2"));
  // a branch of the prompt reaches further than the one that follows it
  train::Group open = text({newline, 46});
  open.parallel = true;
  open.prompt.insert(open.prompt.end(), {40, 42, 20, 43, 42, 21, 43, 41, newline, 44});
  open.prompt.insert(open.prompt.end(), 400, 20);
  open.prompt.insert(open.prompt.end(), {45, newline, 44});
  CHECK(says(refusal(open), "positions; the model's context has 400"));
  auto group = text({20});
  group.prompt.clear();
  CHECK(says(refusal(group), "group 1: the prompt has no tokens"));
  CHECK(says(CHECK_THROWS(train::Trainer(engine, options(0))), "a micro-batch of 0 tokens"));
  if (support::on_cuda()) return;
  CHECK(says(CHECK_THROWS(train::Trainer(make_engine(64, compute::WeightFormat::int8), options())), "int8"));
}

TEST(waits_for_no_request) {
  const auto engine = make_engine();
  train::Trainer trainer(engine, options());
  const std::vector<train::Group> groups{text({14, 15})};
  Request request;
  request.id = 1;
  request.prompt = {20, 21};
  request.max_tokens = 3;
  engine->submit(request);
  CHECK(says(CHECK_THROWS(trainer.accumulate(groups, {})), "no request runs or waits"));
  CHECK(says(CHECK_THROWS(trainer.score(groups)), "no request runs or waits"));
  CHECK(says(CHECK_THROWS(trainer.step(1e-3)), "no request runs or waits"));
  while (engine->step()) {
  }
  trainer.accumulate(groups, {});
}

TEST(an_empty_pass_is_nothing) {
  train::Trainer trainer(make_engine(), options());
  auto group = text({14});
  group.trajectories.clear();
  const auto result = trainer.accumulate(std::vector{group}, {});
  CHECK_EQ(result.rows, uint64_t{0});
  CHECK_EQ(result.entropy, 0.0);
  CHECK(result.logprobs.empty());
}

}  // namespace
