#include "train/trainer.h"

#include <algorithm>
#include <string>

#include "error.h"
#include "model/save_weights.h"
#include "train/packing.h"
#include "train/pass.h"
#include "train/prepare.h"
#include "train/state_file.h"
#include "train/stopwatch.h"

namespace npr::train {

namespace {

void require_old_logprobs(std::span<const Prepared> trajectories) {
  for (size_t i = 0; i < trajectories.size(); ++i) {
    const Trajectory& each = *trajectories[i].trajectory;
    if (!each.old_logprobs.empty() || std::ranges::all_of(each.weights, [](float w) { return w == 0; })) continue;
    throw Error(ErrorCode::invalid_request, "trajectory " + std::to_string(i) +
                                                " of the pass has weights but no old log-probabilities; the clipped "
                                                "loss needs them");
  }
}

}  // namespace

Trainer::Trainer(std::shared_ptr<schedule::Engine> engine, const TrainerOptions& options)
    : engine_(std::move(engine)), micro_batch_tokens_(options.micro_batch_tokens) {
  if (!micro_batch_tokens_) {
    throw Error(ErrorCode::invalid_request, "a micro-batch of 0 tokens; expected at least 1");
  }
  engine_->exclusive([&](model::Model& model) {
    graph_ = std::make_unique<model::TrainingGraph>(model, options.recompute);
    store_ = make_parameter_store(model, options.lora);
    optimizer_ = std::make_unique<Optimizer>(model.backend(), *store_, options.optimizer);
  });
}

PassResult Trainer::accumulate(std::span<const Group> groups, const Loss& loss) {
  validate(loss);
  return pass(groups, &loss);
}

PassResult Trainer::score(std::span<const Group> groups) { return pass(groups, nullptr); }

PassResult Trainer::pass(std::span<const Group> groups, const Loss* loss) {
  const auto trajectories = prepare(groups, engine_->config(), engine_->lexicon());
  if (loss && loss->kind == Loss::Kind::clipped) require_old_logprobs(trajectories);
  const auto parts = split(trajectories, micro_batch_tokens_, engine_->slots());
  PassResult out;
  engine_->exclusive([&](model::Model& model) {
    Pass pass(model, *graph_, engine_->lexicon(), loss, loss ? store_.get() : nullptr);
    try {
      for (const auto& part : parts) {
        const MicroBatch micro = pack(part);
        pass.run(micro);
        out.rows += micro.batch.rows();
      }
    } catch (...) {
      if (loss) optimizer_->discard();  // what was added is a part of something
      throw;
    }
    const Totals& totals = pass.totals();
    const auto weighted = static_cast<double>(std::max<uint64_t>(totals.weighted, 1));
    out.loss = totals.loss;
    out.tokens = totals.weighted;
    out.entropy = totals.entropy / weighted;
    out.clipped = static_cast<double>(totals.clipped) / weighted;
    out.mismatch = totals.mismatch;
    out.logprobs = std::move(pass.logprobs());
    out.forward_ms = totals.forward_ms;
    out.backward_ms = totals.backward_ms;
  });
  uint64_t alone = 0;
  for (const Prepared& each : trajectories) alone += each.rows();
  out.saved_rows = alone - out.rows;
  return out;
}

StepResult Trainer::step(double learning_rate) {
  StepResult out{};
  engine_->exclusive([&](model::Model&) {
    Stopwatch watch;
    out.report = optimizer_->step(learning_rate);
    out.update_ms = watch.lap();
  });
  return out;
}

void Trainer::save_weights(const std::filesystem::path& directory) {
  engine_->exclusive([&](model::Model& model) { model::save_weights(model, directory); });
}

void Trainer::save_state(const std::filesystem::path& file) {
  engine_->exclusive([&](model::Model&) { train::save_state(file, *store_, *optimizer_); });
}

void Trainer::load_state(const std::filesystem::path& file) {
  engine_->exclusive([&](model::Model&) { train::load_state(file, *store_, *optimizer_); });
}

}  // namespace npr::train
