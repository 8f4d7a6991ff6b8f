#include "train/pass.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "compute/backward.h"
#include "error.h"
#include "sample/policy.h"
#include "train/replay.h"
#include "train/stopwatch.h"

namespace npr::train {

struct Pass::Outcome {
  float logprob = 0;
  double entropy = 0;
  Term term;
  std::optional<Error> fault;
};

// The tokens of a micro-batch that are to be evaluated, in order.
class Pass::Targets {
 public:
  Targets(const MicroBatch& micro, const branch::Lexicon& lexicon, uint32_t max_positions,
          std::vector<std::vector<float>>& logprobs)
      : lexicon_(lexicon),
        max_positions_(max_positions),
        at_(micro.trajectories.begin()),
        end_(micro.trajectories.end()) {
    for (const Placed& placed : micro.trajectories) {
      logprobs.emplace_back(placed.prepared->trajectory->tokens.size(), 0.0f);
    }
    logprobs_ = logprobs.end() - static_cast<ptrdiff_t>(micro.trajectories.size());
  }

  // Fills `out` and returns the row that predicts it; none at the end.
  std::optional<uint32_t> next(Target& out) {
    for (; at_ != end_; ++at_, ++logprobs_) {
      const Prepared& prepared = *at_->prepared;
      const auto token = prepared.start ? next_sampled(prepared, out) : next_of_all(prepared, out);
      if (!token) continue;
      out.trajectory = prepared.trajectory;
      out.token = *token;
      out.logprob = &(*logprobs_)[*token];
      return at_->predicts(*token);
    }
    return std::nullopt;
  }

 private:
  std::optional<uint32_t> next_of_all(const Prepared& prepared, Target& out) {
    out.drawn.reset();
    if (token_ < prepared.trajectory->tokens.size()) return token_++;
    token_ = 0;
    return std::nullopt;
  }

  std::optional<uint32_t> next_sampled(const Prepared& prepared, Target& out) {
    const Request& request = *prepared.group->request;
    if (!replay_) replay_.emplace(request, lexicon_, *prepared.start, *prepared.trajectory, max_positions_);
    const auto token = replay_->next();
    if (!token) {
      replay_.reset();
      return std::nullopt;
    }
    // The replay goes on before the row is looked at.
    out.drawn = replay_->row(nullptr, 0, out.response);
    out.layers.resize(out.response.size());
    for (size_t i = 0; i < out.layers.size(); ++i) {
      out.layers[i] = *out.response[i];
      out.response[i] = &out.layers[i];
    }
    out.drawn->response = out.response;
    if (out.drawn->branch_sampled) {
      out.own = *out.drawn->branch_sampled;
      out.drawn->branch_sampled = &out.own;
    }
    return token;
  }

  const branch::Lexicon& lexicon_;
  const uint32_t max_positions_;
  std::vector<Placed>::const_iterator at_, end_;
  std::vector<std::vector<float>>::iterator logprobs_;
  uint32_t token_ = 0;            // of a trajectory without a request: the next one
  std::optional<Replay> replay_;  // of one with a request
};

Pass::Pass(model::Model& model, model::TrainingGraph& graph, const branch::Lexicon& lexicon, const Loss* loss,
           model::GradientSink* gradients)
    : model_(model), graph_(graph), lexicon_(lexicon), loss_(loss), gradients_(gradients) {
  ensure(!loss == !gradients, "a loss and where its gradients go, or neither");
}

void Pass::run(const MicroBatch& micro) {
  Stopwatch watch;
  graph_.forward(micro.batch);
  totals_.forward_ms += watch.lap();
  Targets source(micro, lexicon_, model_.config().max_position_embeddings, logprobs_);
  std::vector<Target> targets(graph_.head_rows());
  std::vector<uint32_t> rows;
  bool any = false, more = true;
  while (more) {
    rows.clear();
    while (rows.size() < targets.size()) {
      const auto row = source.next(targets[rows.size()]);
      more = row.has_value();
      if (!more) break;
      rows.push_back(*row);
    }
    if (!rows.empty()) any |= evaluate(std::span(targets).first(rows.size()), rows);
  }
  watch.lap();
  if (any) graph_.backward(*gradients_);
  totals_.backward_ms += watch.lap();
}

// Returns whether the loss depends on any of them.
bool Pass::evaluate(std::span<const Target> targets, std::span<const uint32_t> rows) {
  Stopwatch watch;
  const size_t vocab = model_.config().vocab_size;
  compute::Backward& ops = model_.backend().backward();
  float* const device = graph_.logits(rows);
  float* const logits = ops.borrow(device, targets.size() * vocab).data();
  std::vector<Outcome> outcomes(targets.size());
  model_.backend().parallel(static_cast<uint32_t>(targets.size()), [&](uint32_t i) {
    try {
      look(targets[i], logits + i * vocab, outcomes[i]);
    } catch (const Error& error) {
      outcomes[i].fault = error;
    }
  });
  bool any = false;
  for (size_t i = 0; i < targets.size(); ++i) {
    const Outcome& outcome = outcomes[i];
    if (outcome.fault) throw *outcome.fault;
    const auto& [weights, old] = std::tie(targets[i].trajectory->weights, targets[i].trajectory->old_logprobs);
    const uint32_t token = targets[i].token;
    *targets[i].logprob = outcome.logprob;
    if (!old.empty() && outcome.logprob != old[token]) {
      const float distance = std::abs(outcome.logprob - old[token]);
      totals_.mismatch =
          std::isnan(distance) ? std::numeric_limits<float>::infinity() : std::max(totals_.mismatch, distance);
    }
    totals_.weighted += weights[token] != 0;
    totals_.entropy += outcome.entropy;
    totals_.loss += outcome.term.value;
    totals_.clipped += outcome.term.clipped;
    any |= outcome.term.slope != 0;
  }
  totals_.forward_ms += watch.lap();
  if (any) {
    ops.give_back(device, targets.size() * vocab);
    graph_.logits_backward(*gradients_);
  }
  totals_.backward_ms += watch.lap();
  return any;
}

// Leaves the gradient of the loss in place of the logits, where there is a loss.
void Pass::look(const Target& target, float* logits, Outcome& out) const {
  thread_local sample::Scratch scratch;
  const Trajectory& trajectory = *target.trajectory;
  const uint32_t vocab = model_.config().vocab_size;
  const int32_t token = trajectory.tokens[target.token];
  const float weight = trajectory.weights[target.token];
  auto drawn = target.drawn;
  if (drawn) {
    drawn->logits = logits;
    drawn->vocab = vocab;
  }
  const sample::Policy policy = drawn ? sample::Policy(*drawn, scratch) : sample::Policy(logits, vocab, scratch);
  out.logprob = policy.logprob(token);
  if (loss_ && weight != 0) {
    const float old = trajectory.old_logprobs.empty() ? 0 : trajectory.old_logprobs[target.token];
    out.term = term(*loss_, weight, out.logprob, old);
  }
  if (out.term.slope != 0) {
    out.entropy = policy.differentiate(token, static_cast<float>(out.term.slope), logits);
    return;
  }
  if (weight != 0) out.entropy = policy.entropy();
  if (loss_) std::fill_n(logits, vocab, 0.0f);
}

}  // namespace npr::train
