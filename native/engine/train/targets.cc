#include "train/targets.h"

namespace npr::train {

Targets::Targets(const MicroBatch& micro, const branch::Lexicon& lexicon, const model::Config& config,
                 std::vector<std::vector<float>>& logprobs)
    : lexicon_(lexicon),
      vocab_(config.vocab_size),
      max_positions_(config.max_position_embeddings),
      at_(micro.trajectories.begin()),
      end_(micro.trajectories.end()) {
  for (const Placed& placed : micro.trajectories) {
    logprobs.emplace_back(placed.prepared->trajectory->tokens.size(), 0.0f);
  }
  logprobs_ = logprobs.end() - static_cast<ptrdiff_t>(micro.trajectories.size());
}

std::optional<uint32_t> Targets::next(Target& out) {
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

std::optional<uint32_t> Targets::next_of_all(const Prepared& prepared, Target& out) {
  out.drawn.reset();
  if (token_ < prepared.trajectory->tokens.size()) return token_++;
  token_ = 0;
  return std::nullopt;
}

std::optional<uint32_t> Targets::next_sampled(const Prepared& prepared, Target& out) {
  const Request& request = *prepared.group->request;
  if (!replay_) replay_.emplace(request, lexicon_, *prepared.start, *prepared.trajectory, max_positions_);
  const auto token = replay_->next();
  if (!token) {
    replay_.reset();
    return std::nullopt;
  }
  // The replay goes on before the row is looked at.
  out.drawn = replay_->row(nullptr, vocab_, out.response);
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

}  // namespace npr::train
