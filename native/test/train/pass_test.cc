// Losses and gradients of packed groups against PyTorch's.
#include "train/pass.h"

#include <cmath>
#include <map>
#include <memory>

#include "check.h"
#include "model/golden.h"
#include "model/gradients.h"
#include "model/runs.h"

namespace {

using namespace npr::train;
using npr::model::Recompute;
using npr::model::TrainingGraph;

const npr::branch::Lexicon& lexicon() {
  static const npr::branch::Lexicon made(test::golden_vocabulary());
  return made;
}

struct Golden {
  std::unique_ptr<npr::model::SafetensorsFile> file;
  double loss;
  std::vector<Group> groups;
  std::vector<std::vector<float>> logprobs;  // of each trajectory
};

Golden load_golden(const std::string& model, bool papo) {
  const std::string directory = std::string(NPR_FIXTURES) + "/" + model, info = directory + "/info.json";
  const auto json = npr::model::Json::parse(npr::model::read_text(info, 1 << 20), info);
  const auto& train = *json.find("train");
  Golden out{std::make_unique<npr::model::SafetensorsFile>(directory + "/train.safetensors"),
             train.find(papo ? "papo_loss" : "sft_loss")->number(),
             {},
             {}};
  size_t tokens = 0;
  for (const auto& entry : train.find("trajectories")->array()) {
    const std::string name = "traj" + std::to_string(out.logprobs.size());
    const auto flat = test::golden_values<int32_t>(*out.file, name + ".tokens");
    const auto mask = test::golden_values<uint8_t>(*out.file, name + ".loss_mask");
    const auto prompt = static_cast<ptrdiff_t>(entry.find("prompt_len")->number());
    if (out.groups.size() <= entry.find("group")->number()) {
      out.groups.push_back({.prompt = {flat.begin(), flat.begin() + prompt},
                            .trajectories = {},
                            .request = std::nullopt,
                            .parallel = true});
    }
    Trajectory& each = out.groups.back().trajectories.emplace_back();
    each.tokens.assign(flat.begin() + prompt, flat.end());
    for (auto i = static_cast<size_t>(prompt); i < flat.size(); ++i) {
      const bool weighted = !papo || mask[i];
      tokens += weighted;
      each.weights.push_back(!weighted ? 0 : papo ? static_cast<float>(entry.find("advantage")->number()) : 1.0f);
    }
    out.logprobs.push_back(test::golden_values<float>(*out.file, name + ".logprobs"));
  }
  for (auto& group : out.groups) {
    for (auto& each : group.trajectories) {
      for (float& weight : each.weights) weight /= static_cast<float>(tokens);
    }
  }
  return out;
}

struct Run {
  Totals totals;
  std::vector<std::vector<float>> logprobs;
  std::map<std::string, std::vector<float>> gradients;
};

Run run(npr::model::Model& model, const std::vector<Group>& groups, const Loss& loss, uint32_t most_rows) {
  TrainingGraph graph(model, Recompute::none);
  test::CollectedGradients gradients(model);
  Pass pass(model, graph, lexicon(), &loss, &gradients);
  const auto prepared = prepare(groups, model.config(), lexicon());
  for (const auto& part : split(prepared, most_rows, model.slots())) pass.run(pack(part));
  return {pass.totals(), std::move(pass.logprobs()), gradients.by_name()};
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / norm);
}

// PyTorch's own run in bf16 is off by up to 3.4e-2.
TEST(losses_and_gradients_are_those_of_the_float_reference) {
  for (const char* name : {"random-tied", "random-untied-sharded"}) {
    auto model = test::make_model(std::string(NPR_FIXTURES) + "/" + name, test::Isa::best, 2, 4096, 16);
    for (const bool papo : {true, false}) {
      const Golden golden = load_golden(name, papo);
      for (const uint32_t most_rows : {4096u, 150u}) {
        const Run got = run(model, golden.groups, {}, most_rows);
        CHECK(std::fabs(got.totals.loss - golden.loss) < 1e-2);
        for (size_t i = 0; i < golden.logprobs.size(); ++i) {
          CHECK_EQ(got.logprobs[i].size(), golden.logprobs[i].size());
          for (size_t t = 0; t < golden.logprobs[i].size(); ++t) {
            CHECK(std::fabs(got.logprobs[i][t] - golden.logprobs[i][t]) < 0.1f);
          }
        }
        for (const auto& [parameter, values] : got.gradients) {
          const auto expected =
              test::golden_values<float>(*golden.file, (papo ? "papo.grad." : "sft.grad.") + parameter);
          CHECK_EQ(values.size(), expected.size());
          CHECK(distance(values, expected) < 4e-2);
        }
      }
    }
  }
}

TEST(on_policy_the_clipped_loss_gives_the_same_gradient) {
  auto model = test::make_model(std::string(NPR_FIXTURES) + "/random-tied", test::Isa::best, 2, 4096, 16);
  Golden golden = load_golden("random-tied", true);
  const Run likelihood = run(model, golden.groups, {}, 4096);
  CHECK_EQ(likelihood.totals.clipped, uint64_t{0});
  size_t at = 0;
  for (auto& group : golden.groups) {
    for (auto& each : group.trajectories) each.old_logprobs = likelihood.logprobs[at++];
  }
  const Run clipped = run(model, golden.groups, {.kind = Loss::Kind::clipped}, 4096);
  CHECK_EQ(clipped.totals.mismatch, 0.0f);
  CHECK_EQ(clipped.totals.weighted, likelihood.totals.weighted);
  CHECK(clipped.gradients == likelihood.gradients);

  // Every ratio is e^0.5: positive weights are clipped, and with them their part of the gradient.
  for (auto& group : golden.groups) {
    for (auto& each : group.trajectories) {
      for (float& old : each.old_logprobs) old -= 0.5f;
    }
  }
  const Run off = run(model, golden.groups, {.kind = Loss::Kind::clipped}, 4096);
  uint64_t positive = 0;
  for (auto& group : golden.groups) {
    for (auto& each : group.trajectories) {
      positive += static_cast<uint64_t>(std::ranges::count_if(each.weights, [](float w) { return w > 0; }));
      for (float& weight : each.weights) weight = weight > 0 ? 0 : weight * std::exp(0.5f);
    }
  }
  CHECK(positive > 0);
  CHECK_EQ(off.totals.clipped, positive);
  CHECK(std::fabs(off.totals.mismatch - 0.5f) < 1e-5f);
  const Run expected = run(model, golden.groups, {}, 4096);
  for (const auto& [parameter, values] : off.gradients) {
    CHECK(distance(values, expected.gradients.at(parameter)) < 1e-4);
  }
}

}  // namespace
