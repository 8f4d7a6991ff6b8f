// AdamW against PyTorch's weights and against the formula in double; what must not change.
#include "train/optimizer.h"

#include <cmath>
#include <limits>
#include <map>

#include "check.h"
#include "compute/convert.h"
#include "model/golden.h"
#include "train/state_file.h"
#include "train/trained.h"

using npr::train::AdamWOptions;
using test::OptimizerOptions;
using test::TinyDirectory;
using test::Trained;

namespace {

const OptimizerOptions golden_options{.adamw = {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1},
                                      .clip_norm = 1};

void check_golden(const std::string& name) {
  const std::string directory = std::string(NPR_FIXTURES) + "/" + name, info = directory + "/info.json";
  const npr::model::SafetensorsFile golden(directory + "/train.safetensors");
  Trained trained(directory, {}, golden_options);
  const auto& arrays = trained.store->arrays();
  std::vector<float> gradients;
  for (const auto& tensor : arrays.tensors()) {
    const auto gradient = test::golden_values<float>(golden, "papo.grad." + tensor.spec.name);
    CHECK_EQ(gradient.size(), tensor.size);
    gradients.insert(gradients.end(), gradient.begin(), gradient.end());
  }
  trained.set_gradients(gradients);
  const auto report = trained.optimizer.step(1e-3);
  const auto json = npr::model::Json::parse(npr::model::read_text(info, 1 << 20), info);
  CHECK(report.applied);
  support::near(report.gradient_norm, json.find("train")->find("papo_grad_norm")->number(), 1e-5, "gradient norm");
  const auto masters = trained.masters();
  for (const auto& tensor : arrays.tensors()) {
    const auto expected = test::golden_values<float>(golden, "papo.after_step." + tensor.spec.name);
    CHECK_EQ(expected.size(), tensor.size);
    for (size_t i = 0; i < tensor.size; ++i)
      support::near(masters[tensor.begin + i], expected[i], 1e-6, tensor.spec.name);
  }
}

// A few steps of one number, in double.
double reference(double w, const std::vector<double>& gradients, const AdamWOptions& o, double rate) {
  double m = 0, v = 0;
  for (size_t t = 1; t <= gradients.size(); ++t) {
    const double g = gradients[t - 1];
    w -= rate * o.weight_decay * w;
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    w -= rate * (m / (1 - std::pow(o.beta1, t))) / (std::sqrt(v / (1 - std::pow(o.beta2, t))) + o.epsilon);
  }
  return w;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST(golden_weights_of_a_tied_model) { check_golden("random-tied"); }
TEST(golden_weights_of_an_untied_model) { check_golden("random-untied-sharded"); }

TEST(steps_follow_the_formula) {
  const TinyDirectory directory;
  // An epsilon that counts, and a norm that clips some steps and leaves others.
  const OptimizerOptions options{.adamw = {.beta1 = 0.8, .beta2 = 0.97, .epsilon = 1e-2, .weight_decay = 0.3},
                                 .clip_norm = 40};
  Trained trained(directory.path(), {}, options);
  const auto before = trained.masters();
  std::vector<float> now(before.size());
  std::vector<std::vector<double>> gradients(before.size());
  support::Random random(5);
  for (const float size : {1.0f, 0.1f, 3.0f, 0.5f}) {
    double squares = 0;
    for (float& g : now) {
      g = size * random.uniform();
      squares += double{g} * g;
    }
    const double norm = std::sqrt(squares), scale = std::min(1.0, 40 / (norm + 1e-6));
    for (size_t i = 0; i < before.size(); ++i) gradients[i].push_back(now[i] * scale);
    trained.set_gradients(now);
    support::near(trained.optimizer.step(1e-2).gradient_norm, norm, 1e-9 * norm, "norm");
    for (const float g : trained.gradients()) CHECK_EQ(g, 0.0f);
  }
  CHECK_EQ(trained.optimizer.steps(), 4u);
  const auto after = trained.masters();
  for (size_t i = 0; i < before.size(); ++i)
    support::near(after[i], reference(before[i], gradients[i], options.adamw, 1e-2), 1e-6, "a master");
}

TEST(the_engine_computes_with_rounded_masters) {
  const TinyDirectory directory(false);
  Trained trained(directory.path());
  const auto loaded = test::engine_weights(trained.model);
  CHECK(loaded.size() == npr::model::parameters(trained.model).size());
  trained.random_step(1);
  trained.random_step(2);
  const auto masters = trained.masters();
  size_t at = 0;
  for (const auto& parameter : test::engine_weights(trained.model)) {
    for (const float weight : parameter) CHECK_EQ(weight, support::widen(support::narrow(masters[at++])));
  }
  CHECK_EQ(at, masters.size());
  CHECK(test::engine_weights(trained.model) != loaded);
}

TEST(masters_start_as_the_engine_holds_them) {
  const TinyDirectory directory;
  auto untouched = test::load_model(directory.path());
  Trained trained(directory.path());
  CHECK(test::engine_weights(trained.model) == test::engine_weights(untouched));
}

TEST(threads_change_no_bit) {
  const TinyDirectory directory;
  Trained one(directory.path(), {}, {}, 1), three(directory.path(), {}, {}, 3);
  for (const uint64_t seed : {1, 2, 3})
    CHECK_EQ(one.random_step(seed).gradient_norm, three.random_step(seed).gradient_norm);
  CHECK(test::same_state(one, three));
  CHECK(test::engine_weights(one.model) == test::engine_weights(three.model));
}

TEST(gradients_that_are_not_finite_change_nothing) {
  const TinyDirectory directory;
  Trained trained(directory.path()), other(directory.path());
  trained.random_step(1);
  other.random_step(1);
  const size_t size = trained.store->arrays().size();
  for (const size_t at : {size_t{0}, size / 2 + 3, size - 1}) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
      trained.random_gradients(9);
      trained.model.backend().upload(trained.store->arrays().gradients() + at, {&bad, 1});
      const auto report = trained.optimizer.step(1e-2);
      CHECK(!report.applied);
      CHECK(!std::isfinite(report.gradient_norm));
      CHECK(test::same_state(trained, other));
    }
  }
  CHECK(test::engine_weights(trained.model) == test::engine_weights(other.model));
  CHECK(trained.random_step(2).applied);  // and no trace of them is left
  other.random_step(2);
  CHECK(test::same_state(trained, other));
}

TEST(gradients_whose_squares_no_float_holds_change_nothing) {
  const TinyDirectory directory;
  const OptimizerOptions unclipped{.adamw = {}, .clip_norm = 0};
  Trained trained(directory.path(), {}, unclipped), other(directory.path(), {}, unclipped);
  const float large = 1e20f;
  trained.model.backend().upload(trained.store->arrays().gradients() + 3, {&large, 1});
  CHECK(!trained.optimizer.step(1e-2).applied);
  CHECK(test::same_state(trained, other));
}

TEST(a_step_that_broke_off_is_the_last_until_a_state_is_loaded) {
  const TinyDirectory directory;
  Trained trained(directory.path());
  const auto state = directory.path() / "state";
  npr::train::save_state(state, *trained.store, trained.optimizer);
  const auto weights = test::engine_weights(trained.model);
  trained.random_gradients(1);
  CHECK(contains(CHECK_THROWS(trained.optimizer.step(3e38)), "finite"));
  CHECK(contains(CHECK_THROWS(trained.optimizer.step(1e-2)), "load a state first"));
  npr::train::load_state(state, *trained.store, trained.optimizer);
  CHECK(test::engine_weights(trained.model) == weights);
  Trained other(directory.path());
  CHECK_EQ(trained.random_step(2).gradient_norm, other.random_step(2).gradient_norm);
  CHECK(test::same_state(trained, other));
}

TEST(discarded_gradients_are_gone) {
  const TinyDirectory directory;
  Trained trained(directory.path());
  trained.random_gradients(1);
  trained.optimizer.discard();
  CHECK_EQ(trained.optimizer.step(0).gradient_norm, 0.0);
}

TEST(options_that_make_no_sense_are_refused) {
  const TinyDirectory directory;
  const auto refused = [&](OptimizerOptions options) { return CHECK_THROWS(Trained(directory.path(), {}, options)); };
  CHECK(contains(refused({.adamw = {.beta1 = 1}}), "beta1: expected"));
  CHECK(contains(refused({.adamw = {.beta2 = -0.1}}), "beta2: expected"));
  CHECK(contains(refused({.adamw = {.epsilon = 0}}), "epsilon: expected"));
  CHECK(contains(refused({.adamw = {.epsilon = 1e-50}}), "epsilon: expected"));  // no float
  CHECK(contains(refused({.adamw = {.weight_decay = -1}}), "weight decay: expected"));
  CHECK(contains(refused({.adamw = {}, .clip_norm = std::nan("")}), "clip norm: expected"));
  Trained trained(directory.path());
  CHECK(contains(CHECK_THROWS(trained.optimizer.step(-1)), "learning rate: expected"));
  CHECK(contains(CHECK_THROWS(trained.optimizer.step(std::nan(""))), "learning rate: expected"));
  CHECK(contains(CHECK_THROWS(trained.optimizer.step(1e39)), "learning rate: expected"));
}

TEST(int8_weights_are_refused) {
  const TinyDirectory directory;
  auto model = test::load_model(directory.path(), 1, npr::compute::WeightFormat::int8);
  CHECK(contains(CHECK_THROWS(npr::train::make_parameter_store(model, {})), "int8"));
}
