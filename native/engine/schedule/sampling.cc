// The end of a step: from logits to tokens.
#include <algorithm>
#include <optional>
#include <utility>

#include "schedule/engine.h"

namespace npr::schedule {

// Logits of consecutive rows, from `first` on, of those that have any.
struct Engine::LogitBlock {
  compute::Backend& backend;
  uint32_t vocab, first;
  const float* device;
  const float* copy = nullptr;
  uint32_t copied = 0;  // the first row of the copy

  // Rows [begin, end) to where the host can look at them; those that were there before are gone.
  void fetch(uint32_t begin, uint32_t end) {
    copy = backend.host(device + size_t{begin - first} * vocab, size_t{end - begin} * vocab).data();
    copied = begin;
  }
  const float* host(uint32_t row) const { return copy + size_t{row - copied} * vocab; }
};

// Logits come in blocks of rows. Within one all rows are sampled; then the choices take their tokens in order.
void Engine::sample() {
  events_.reserve(events_.size() + builder_.samples().size());
  const std::span samples(builder_.samples());
  const std::span scores(builder_.scores());
  const uint32_t rows = builder_.logit_rows();
  size_t sampled = 0, scored = 0;
  const uint32_t most = model_->max_logit_rows();
  for (uint32_t first = 0; first < rows; first += most) {
    const uint32_t count = std::min(rows - first, most);
    LogitBlock block{model_->backend(), config().vocab_size, first, model_->logits(first, count)};
    const auto upto = [&](auto list, size_t from) {
      while (from < list.size() && list[from].logits < first + count) ++from;
      return from;
    };
    const size_t scored_to = upto(scores, scored), sampled_to = upto(samples, sampled);
    score_rows(block, scores.subspan(scored, scored_to - scored));
    sample_rows(block, samples.subspan(sampled, sampled_to - sampled));
    scored = scored_to;
    sampled = sampled_to;
  }
}

void Engine::sample_rows(LogitBlock& block, std::span<const SampleRow> rows) {
  std::vector<Draw> draws(rows.size());
  const auto left = draw_on_device(block, rows, draws);
  if (!left.empty()) block.fetch(rows[left.front()].logits, rows[left.back()].logits + 1);
  block.backend.parallel(static_cast<uint32_t>(left.size()), [&](uint32_t task) {
    thread_local sample::Scratch scratch;
    const uint32_t i = left[task];
    try {
      draws[i].sampled = sample::sample(row_of(rows[i], block.host(rows[i].logits), scratch.layers), scratch);
    } catch (const Error& error) {
      draws[i].fault = error;
    }
  });
  for (size_t i = 0; i < rows.size(); ++i) {
    auto& active = *rows[i].active;
    if (draws[i].fault && !active.fault) active.fault = draws[i].fault;
    if (active.fault || rows[i].choice->finished()) continue;
    if (active.first_token == Clock::time_point{}) active.first_token = Clock::now();
    rows[i].choice->accept(*rows[i].branch, draws[i].sampled, events_);
  }
}

// Returns the rows whose tokens are left to the host.
std::vector<uint32_t> Engine::draw_on_device(LogitBlock& block, std::span<const SampleRow> rows,
                                             std::span<Draw> draws) {
  const auto count = static_cast<uint32_t>(rows.size());
  const bool device = block.backend.policies();
  std::vector<const sample::Histogram*> layers;
  std::vector<uint32_t> left, added;
  std::vector<uint8_t> takes(count, false);
  device_draws_.clear();
  if (device && row_edits_.size() < count) row_edits_.resize(count);
  // A penalty looks at every token so far: microseconds a row.
  const bool ahead = device && std::ranges::any_of(
                                   rows, [](const SampleRow& row) { return row.active->request.sampling.penalizes(); });
  if (ahead) {
    block.backend.parallel(count, [&](uint32_t i) {
      thread_local std::vector<const sample::Histogram*> own_layers;
      takes[i] = sample::PolicyBatch::edits_of(row_of(rows[i], nullptr, own_layers), row_edits_[i]);
    });
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (device) {
      const sample::Row row = row_of(rows[i], nullptr, layers);
      if (!ahead) takes[i] = sample::PolicyBatch::edits_of(row, row_edits_[i]);
      if (takes[i]) device_draws_.add(row, rows[i].logits - block.first, row_edits_[i]);
    }
    (takes[i] ? added : left).push_back(i);
  }
  if (added.empty()) return left;
  std::vector<DeviceDraws::Outcome> outcomes(added.size());
  device_draws_.run(block.backend, block.device, block.vocab, outcomes);
  for (size_t i = 0; i < added.size(); ++i) {
    Draw& draw = draws[added[i]];
    switch (outcomes[i].kind) {
      case DeviceDraws::Outcome::Kind::drawn:
        draw.sampled = std::move(outcomes[i].sampled);
        break;
      case DeviceDraws::Outcome::Kind::impossible:
        draw.fault = Error(ErrorCode::internal, "no token can be sampled: no logit that the mask allows is finite");
        break;
      case DeviceDraws::Outcome::Kind::left:
        left.push_back(added[i]);
    }
  }
  std::ranges::sort(left);  // that they lie between the first and the last of them
  return left;
}

sample::Row Engine::row_of(const SampleRow& at, const float* logits,
                           std::vector<const sample::Histogram*>& layers) const {
  return at.choice->row(*at.branch, at.active->prompt.counts, logits, config().vocab_size, layers);
}

void Engine::score_rows(LogitBlock& block, std::span<const ScoreRow> rows) {
  if (rows.empty()) return;
  std::vector<sample::Score> scores(rows.size());
  std::vector<std::optional<Error>> faults(rows.size());
  const auto left = score_on_device(block, rows, scores);
  if (!left.empty()) block.fetch(rows[left.front()].logits, rows[left.back()].logits + 1);
  block.backend.parallel(static_cast<uint32_t>(left.size()), [&](uint32_t task) {
    thread_local sample::Scratch scratch;
    const uint32_t i = left[task];
    const auto& [active, token, at] = rows[i];
    try {
      scores[i] = sample::score(block.host(at), block.vocab, active->request.prompt[token],
                                static_cast<uint32_t>(active->request.prompt_logprobs), scratch);
    } catch (const Error& error) {
      faults[i] = error;
    }
  });
  for (size_t i = 0; i < rows.size(); ++i) {
    auto& active = *rows[i].active;
    if (faults[i] && !active.fault) active.fault = faults[i];
    if (i == 0 || rows[i - 1].active != &active) {
      events_.push_back({.type = Event::Type::prompt_logprobs, .request = active.request.id, .first = rows[i].token});
    }
    TokenLogprob scored{.token = active.request.prompt[rows[i].token], .logprob = scores[i].logprob};
    scored.top = std::move(scores[i].top);
    events_.back().logprobs.push_back(std::move(scored));
  }
}

// Returns the rows that are left to the host.
std::vector<uint32_t> Engine::score_on_device(LogitBlock& block, std::span<const ScoreRow> rows,
                                              std::span<sample::Score> scores) {
  const bool device = block.backend.policies();
  std::vector<uint32_t> left;
  std::vector<DeviceScores::Outcome> outcomes(rows.size());
  if (device) {
    device_scores_.clear();
    for (const auto& [active, token, at] : rows) {
      device_scores_.add(at - block.first, active->request.prompt[token],
                         static_cast<uint32_t>(active->request.prompt_logprobs));
    }
    device_scores_.run(block.backend, block.device, block.vocab, outcomes);
  }
  for (uint32_t i = 0; i < rows.size(); ++i) {
    if (outcomes[i].scored) {
      scores[i] = std::move(outcomes[i].score);
    } else {
      left.push_back(i);
    }
  }
  return left;
}

}  // namespace npr::schedule
