#include "train/pass.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "compute/backward.h"
#include "error.h"
#include "sample/policy.h"
#include "train/stopwatch.h"

namespace npr::train {

struct Pass::Outcome {
  float logprob = 0;
  double entropy = 0;
  Term term;
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
  Targets source(micro, lexicon_, model_.config(), logprobs_);
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

// Returns whether the loss depends on any of them. Rows that the host has to look at come first, so that only they are
// copied.
bool Pass::evaluate(std::span<const Target> targets, std::span<const uint32_t> rows) {
  Stopwatch watch;
  const auto looked_at = order(targets);
  const std::span here = std::span(looked_at).first(targets.size() - policy_batch_.rows().size());
  const std::span away = std::span(looked_at).subspan(here.size());
  std::vector<uint32_t> ordered;
  for (const uint32_t i : looked_at) ordered.push_back(rows[i]);
  std::vector<Outcome> outcomes(targets.size());
  float* const logits = graph_.logits(ordered);
  const size_t copied = here.size() * model_.config().vocab_size;
  compute::Backward& ops = model_.backend().backward();
  if (!here.empty()) look_here(targets, here, ops.borrow(logits, copied).data(), outcomes);
  if (!away.empty()) look_on_device(targets, away, logits, outcomes);
  const bool any = std::ranges::any_of(outcomes, [](const Outcome& outcome) { return outcome.term.slope != 0; });
  if (any && !here.empty()) ops.give_back(logits, copied);
  if (!away.empty()) differentiate_on_device(targets, away, logits, any, outcomes);
  for (size_t i = 0; i < targets.size(); ++i) {
    const Outcome& outcome = outcomes[i];
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
  }
  totals_.forward_ms += watch.lap();
  if (any) graph_.logits_backward(*gradients_);
  totals_.backward_ms += watch.lap();
  return any;
}

// The targets that the host looks at, then those of policy_batch_.
std::vector<uint32_t> Pass::order(std::span<const Target> targets) {
  const bool device = model_.backend().policies();
  std::vector<uint32_t> here, away;
  policy_batch_.clear();
  // Rows of the batch are numbered anew once it is known how many come before them.
  for (uint32_t i = 0; i < targets.size(); ++i) {
    const Target& target = targets[i];
    const int32_t token = target.trajectory->tokens[target.token];
    const auto at = static_cast<uint32_t>(away.size());
    bool takes = device;
    if (device && target.drawn) {
      takes = policy_batch_.look(*target.drawn, at, token);
    } else if (device) {
      policy_batch_.look_raw(at, token);
    }
    (takes ? away : here).push_back(i);
  }
  policy_batch_.shift(static_cast<uint32_t>(here.size()));
  here.insert(here.end(), away.begin(), away.end());
  return here;
}

void Pass::look_here(std::span<const Target> targets, std::span<const uint32_t> order, float* logits,
                     std::span<Outcome> outcomes) const {
  std::vector<std::optional<Error>> faults(order.size());
  model_.backend().parallel(static_cast<uint32_t>(order.size()), [&](uint32_t i) {
    try {
      look(targets[order[i]], logits + size_t{i} * model_.config().vocab_size, outcomes[order[i]]);
    } catch (const Error& error) {
      faults[i] = error;
    }
  });
  for (const auto& fault : faults) {
    if (fault) throw *fault;
  }
}

Term Pass::term_of(const Target& target, float logprob) const {
  const auto& [weights, old] = std::tie(target.trajectory->weights, target.trajectory->old_logprobs);
  if (!loss_ || weights[target.token] == 0) return {};
  return term(*loss_, weights[target.token], logprob, old.empty() ? 0 : old[target.token]);
}

// Leaves the gradient of the loss in place of the logits, where there is a loss.
void Pass::look(const Target& target, float* logits, Outcome& out) const {
  thread_local sample::Scratch scratch;
  const uint32_t vocab = model_.config().vocab_size;
  const int32_t token = target.trajectory->tokens[target.token];
  auto drawn = target.drawn;
  if (drawn) drawn->logits = logits;
  const sample::Policy policy = drawn ? sample::Policy(*drawn, scratch) : sample::Policy(logits, vocab, scratch);
  out.logprob = policy.logprob(token);
  out.term = term_of(target, out.logprob);
  if (out.term.slope != 0) {
    out.entropy = policy.differentiate(token, static_cast<float>(out.term.slope), logits);
    return;
  }
  if (target.trajectory->weights[target.token] != 0) out.entropy = policy.entropy();
  if (loss_) std::fill_n(logits, vocab, 0.0f);
}

void Pass::look_on_device(std::span<const Target> targets, std::span<const uint32_t> order, const float* logits,
                          std::span<Outcome> outcomes) {
  const auto rows = policy_batch_.rows();
  values_.resize(rows.size());
  model_.backend().policies()->look(logits, model_.config().vocab_size, rows, policy_batch_.edits(), values_);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!sample::possible(values_[i]))
      throw Error(ErrorCode::internal, "no token can be sampled: no logit that the mask allows is finite");
    Outcome& out = outcomes[order[i]];
    out.logprob = sample::logprob(rows[i], values_[i]);
    out.term = term_of(targets[order[i]], out.logprob);
  }
}

// Entropies of what has a weight, and with `replace` the gradients in place of the logits.
void Pass::differentiate_on_device(std::span<const Target> targets, std::span<const uint32_t> order, float* logits,
                                   bool replace, std::span<Outcome> outcomes) {
  const auto rows = policy_batch_.rows();
  std::vector<compute::PolicySlope> slopes(rows.size());
  bool wanted = replace;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Target& target = targets[order[i]];
    if (target.trajectory->weights[target.token] == 0) continue;
    slopes[i] = sample::slope(rows[i], values_[i], static_cast<float>(outcomes[order[i]].term.slope));
    wanted |= slopes[i].wanted;
  }
  if (!wanted) return;
  std::vector<double> distances(rows.size());
  model_.backend().policies()->differentiate(logits, model_.config().vocab_size, rows, policy_batch_.edits(), values_,
                                             slopes, replace, distances);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (slopes[i].wanted) outcomes[order[i]].entropy = sample::entropy(rows[i], values_[i], distances[i]);
  }
}

}  // namespace npr::train
