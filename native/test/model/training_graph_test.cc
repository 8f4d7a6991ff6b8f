// The gradients of whole models against PyTorch's, and what changes no bit of them.
#include "model/training_graph.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>

#include "check.h"
#include "compute/backward.h"
#include "model/golden.h"
#include "model/gradients.h"
#include "model/runs.h"

using npr::model::Recompute;
using npr::model::TrainingGraph;
using test::CollectedGradients;
using test::Flat;
using test::Isa;

namespace {

struct Trajectory {
  Flat flat;
  uint32_t prompt, group;
  double advantage;
  std::vector<float> logprobs;     // [tokens - prompt]
  std::vector<uint8_t> loss_mask;  // [tokens]
  std::vector<uint32_t> rows;      // [tokens] of the batch
};

struct Case {
  std::deque<Trajectory> trajectories;
  npr::model::SafetensorsFile file;
  npr::model::Batch batch;
  std::deque<npr::compute::Path> paths;

  explicit Case(const std::string& directory) : file(directory + "/train.safetensors") {}
};

// The golden trajectories of a model as one batch, the prompt of a group once.
std::unique_ptr<Case> load_case(const std::string& model) {
  const std::string directory = std::string(NPR_FIXTURES) + "/" + model, info = directory + "/info.json";
  auto out = std::make_unique<Case>(directory);
  const auto json = npr::model::Json::parse(npr::model::read_text(info, 1 << 20), info);
  npr::compute::Slot next = 0;
  for (const auto& entry : json.find("train")->find("trajectories")->array()) {
    const std::string name = "traj" + std::to_string(out->trajectories.size());
    Trajectory t{.flat = {test::golden_values<int32_t>(out->file, name + ".tokens"), {}, {}},
                 .prompt = static_cast<uint32_t>(entry.find("prompt_len")->number()),
                 .group = static_cast<uint32_t>(entry.find("group")->number()),
                 .advantage = entry.find("advantage")->number(),
                 .logprobs = test::golden_values<float>(out->file, name + ".logprobs"),
                 .loss_mask = test::golden_values<uint8_t>(out->file, name + ".loss_mask"),
                 .rows = {}};
    t.flat.layout = npr::branch::parallel_layout(t.flat.tokens, test::golden_vocabulary());
    const auto count = static_cast<uint32_t>(t.flat.tokens.size());
    uint32_t shared = 0;
    if (!out->trajectories.empty() && out->trajectories.back().group == t.group) {
      shared = t.prompt;
      t.flat.slots.assign(out->trajectories.back().flat.slots.begin(),
                          out->trajectories.back().flat.slots.begin() + shared);
      t.rows.assign(out->trajectories.back().rows.begin(), out->trajectories.back().rows.begin() + shared);
    }
    for (uint32_t i = shared; i < count; ++i) t.flat.slots.push_back(next++);
    out->trajectories.push_back(std::move(t));
    Trajectory& kept = out->trajectories.back();
    for (const auto& piece : kept.flat.layout.pieces) {
      const uint32_t begin = std::max(piece.begin, shared);
      if (begin >= piece.end) continue;
      for (uint32_t i = begin; i < piece.end; ++i) {
        kept.rows.push_back(out->batch.rows());
        out->batch.tokens.push_back(kept.flat.tokens[i]);
        out->batch.positions.push_back(kept.flat.layout.positions[i]);
        out->batch.slots.push_back(kept.flat.slots[i]);
      }
      const auto& path = out->paths.emplace_back(test::path_of({&kept.flat, begin, piece.end}));
      const auto length =
          std::accumulate(path.begin(), path.end(), 0u, [](uint32_t n, auto run) { return n + run.count; });
      out->batch.sequences.push_back({path, length, piece.end - begin});
    }
  }
  return out;
}

// A token that the loss looks at: the row that predicts it, and d loss / d logp.
struct Target {
  uint32_t row;
  int32_t token;
  double weight;
  float golden;
};

std::vector<Target> targets_of(const Case& data, bool papo) {
  std::vector<Target> out;
  double count = 0;
  for (const Trajectory& t : data.trajectories) {
    for (uint32_t i = t.prompt; i < t.flat.tokens.size(); ++i) {
      const double weight = papo ? t.loss_mask[i] * t.advantage : 1;
      count += papo ? t.loss_mask[i] : 1;
      out.push_back({t.rows[i - 1], t.flat.tokens[i], -weight, t.logprobs[i - t.prompt]});
    }
  }
  for (Target& target : out) target.weight /= count;
  return out;
}

// Forward, loss and backward; returns the loss, and the largest distance of a log-probability from the golden one.
std::pair<double, double> run(npr::model::Model& model, TrainingGraph& graph, const Case& data,
                              std::span<const Target> targets, CollectedGradients& gradients) {
  auto& ops = model.backend().backward();
  const size_t vocab = model.config().vocab_size;
  graph.forward(data.batch);
  double loss = 0, furthest = 0;
  for (size_t first = 0; first < targets.size(); first += 50) {
    const auto some = targets.subspan(first, std::min<size_t>(50, targets.size() - first));
    std::vector<uint32_t> rows;
    for (const Target& target : some) rows.push_back(target.row);
    float* const device = graph.logits(rows);
    const auto logits = ops.borrow(device, rows.size() * vocab);
    for (size_t i = 0; i < some.size(); ++i) {
      const auto row = logits.subspan(i * vocab, vocab);
      double sum = 0;
      for (const float x : row) sum += std::exp(double{x});
      const double logp = row[some[i].token] - std::log(sum);
      furthest = std::max(furthest, std::abs(logp - some[i].golden));
      loss += some[i].weight * logp;
      for (float& x : row) x = static_cast<float>(-some[i].weight * std::exp(double{x}) / sum);
      row[some[i].token] += static_cast<float>(some[i].weight);
    }
    ops.give_back(device, rows.size() * vocab);
    graph.logits_backward(gradients);
  }
  graph.backward(gradients);
  return {loss, furthest};
}

struct Closeness {
  double error, cosine;
};
Closeness compare(const std::vector<float>& a, const std::vector<float>& golden) {
  double difference = 0, aa = 0, gg = 0, ag = 0;
  for (size_t i = 0; i < golden.size(); ++i) {
    difference += (double{a[i]} - golden[i]) * (double{a[i]} - golden[i]);
    aa += double{a[i]} * a[i];
    gg += double{golden[i]} * golden[i];
    ag += double{a[i]} * golden[i];
  }
  return {std::sqrt(difference / gg), ag / std::sqrt(aa * gg)};
}

const std::vector<std::string> models{"random-tied", "random-untied-sharded"};

}  // namespace

// PyTorch's own run in bf16 stands at 3.4e-2, 1.4e-2 in the median and 0.9994.
TEST(gradients_are_those_of_the_float_reference) {
  for (const std::string& model_name : models) {
    const auto data = load_case(model_name);
    for (const Isa isa : test::machine_isas()) {
      auto model = test::make_model(std::string(NPR_FIXTURES) + "/" + model_name, isa, 2, 4096, 16);
      for (const bool papo : {true, false}) {
        TrainingGraph graph(model, Recompute::none);
        CollectedGradients gradients(model);
        const auto targets = targets_of(*data, papo);
        const auto [loss, furthest] = run(model, graph, *data, targets, gradients);
        CHECK(furthest < 0.1);
        std::vector<double> errors;
        double worst_cosine = 1;
        for (const auto& [name, values] : gradients.by_name()) {
          const auto golden = test::golden_values<float>(data->file, (papo ? "papo.grad." : "sft.grad.") + name);
          CHECK_EQ(golden.size(), values.size());
          const auto [error, cosine] = compare(values, golden);
          if (error > 4e-2 || cosine < 0.999) {
            throw check::Failed(name + ": error " + std::to_string(error) + ", cosine " + std::to_string(cosine));
          }
          errors.push_back(error);
          worst_cosine = std::min(worst_cosine, cosine);
        }
        for (const uint32_t times : gradients.done()) CHECK_EQ(times, 1u);
        std::ranges::sort(errors);
        std::printf("%s %s %s: loss %.5f, logp within %.4f, errors: median %.4f, worst %.4f, cosine %.5f\n",
                    model_name.c_str(), model.backend().description().c_str(), papo ? "papo" : "sft", loss, furthest,
                    errors[errors.size() / 2], errors.back(), worst_cosine);
        CHECK(errors[errors.size() / 2] < 1.5e-2);
      }
    }
  }
}

TEST(threads_and_recomputation_change_no_bit_of_a_gradient) {
  for (const std::string& model_name : models) {
    const auto data = load_case(model_name);
    const auto targets = targets_of(*data, true);
    std::map<std::string, std::vector<float>> first;
    for (const auto& [threads, recompute] : std::vector<std::pair<uint32_t, Recompute>>{
             {1, Recompute::none}, {3, Recompute::none}, {2, Recompute::mlp}, {2, Recompute::layer}}) {
      auto model = test::make_model(std::string(NPR_FIXTURES) + "/" + model_name, Isa::best, threads, 4096, 16);
      TrainingGraph graph(model, recompute);
      CollectedGradients gradients(model);
      run(model, graph, *data, targets, gradients);
      auto now = gradients.by_name();
      if (first.empty()) first = now;
      for (const auto& [name, values] : now) CHECK(std::ranges::equal(values, first[name]));
      // the same graph again adds the same once more
      run(model, graph, *data, targets, gradients);
      const auto doubled = gradients.by_name();
      for (const auto& [name, values] : now) {
        CHECK(compare(doubled.at(name), values).error < 1.0001 && compare(doubled.at(name), values).error > 0.9999);
      }
    }
  }
}
