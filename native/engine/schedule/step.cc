// One step of the engine: admission, room, forward. Sampling follows in sampling.cc.
#include <algorithm>
#include <exception>
#include <iterator>
#include <new>
#include <optional>
#include <string>

#include "schedule/engine.h"
#include "schedule/quota.h"

namespace npr::schedule {

using branch::Choice;

bool Engine::step() {
  branch::Events events;
  bool worked = false;
  {
    const std::lock_guard lock(state_);
    try {
      take_inbox();
      admit();
      builder_.clear();
      if (!running_.empty()) {
        compute(make_room());
        finish_prompts();
        sample();
        finish_requests();
        ++totals_.steps;
      }
    } catch (const Error& error) {
      start_over(error.code(), error.what());
    } catch (const std::bad_alloc&) {
      start_over(ErrorCode::out_of_memory, "out of memory");
    } catch (const std::exception& error) {
      start_over(ErrorCode::internal, error.what());
    }
    worked = !running_.empty() || !waiting_.empty() || !events_.empty();
    publish();
    events.swap(events_);
  }
  if (!events.empty()) sink_(std::move(events));
  return worked;
}

// Requests start in the order of their arrival; one that does not fit yet holds back those behind it. What those that
// run have still to compute counts as taken: who is admitted and preempted at once has gained nothing. Who was
// preempted comes back once those that run could grow by an eighth: it is the first to go again, and all of it is
// computed again.
void Engine::admit() {
  uint64_t promised = 0;
  for (const auto& active : running_) promised += active.pending();
  while (!waiting_.empty() && running_.size() < options_.max_running) {
    Active& active = waiting_.front();
    if (!prepare(active)) {
      waiting_.pop_front();
      continue;
    }
    if (options_.prefix_cache && !active.scores_prompt()) {
      // The last prompt token is computed anew: its logits are wanted.
      active.held = tree_.match(std::span(active.keys).first(active.keys.size() - 1), active.slots);
      active.owned = static_cast<uint32_t>(active.slots.size());
    }
    promised += active.prompt_tokens() - active.owned + kv::SlotPool::tile;
    for (const auto& choice : active.choices) {
      if (!choice->finished()) promised += pending(choice->trunk()) + kv::SlotPool::tile;
    }
    const uint32_t available = pool_.free() + tree_.evictable();
    const uint32_t growth = active.preemptions ? (pool_.size() - available) / 8 : 0;
    if (!running_.empty() && promised + growth > available) {
      release_prompt(active, true);
      return;
    }
    if (!active.started) {
      active.started = true;
      active.admitted = Clock::now();
      active.cached_tokens = active.owned;
      totals_.prompt_tokens += active.prompt_tokens();
      totals_.cached_tokens += active.owned;
      Event started{.type = Event::Type::started, .request = active.request.id};
      started.usage.prompt_tokens = active.prompt_tokens();
      started.usage.cached_tokens = active.owned;
      events_.push_back(std::move(started));
    }
    const auto place = std::ranges::upper_bound(running_, active.arrival, {}, &Active::arrival);
    running_.splice(place, waiting_, waiting_.begin());
  }
}

// Reads the prompt's structure, once. False: the request has failed.
bool Engine::prepare(Active& active) {
  if (!active.keys.empty()) return true;
  const Request& request = active.request;
  try {
    active.prompt = branch::read_prompt(request, lexicon_, config().max_position_embeddings);
  } catch (const Error& error) {
    fail(active, error);
    return false;
  }
  for (size_t i = 0; i < request.prompt.size(); ++i) {
    active.keys.push_back(kv::key_of(request.prompt[i], active.prompt.layout.structural[i]));
  }
  active.released.assign(request.n, false);
  for (uint32_t i = 0; i < request.n; ++i) {
    active.choices.push_back(
        std::make_unique<Choice>(request, lexicon_, i, active.prompt.start, config().max_position_embeddings));
  }
  return true;
}

std::vector<uint32_t> Engine::plan() const {
  std::vector<Want> wants;
  for (const auto& active : running_) {
    wants.push_back({active.pending(), !active.prompt_done || active.recomputing});
  }
  return deal(wants, model_->max_rows(), totals_.steps);
}

// Evicts what no one holds, then preempts the youngest, until the step's tokens have slots.
std::vector<uint32_t> Engine::make_room() {
  for (;;) {
    auto quotas = plan();
    uint32_t rows = 0;
    for (const uint32_t quota : quotas) rows += quota;
    if (pool_.free() < rows) tree_.evict(rows - pool_.free());
    if (pool_.free() >= rows) return quotas;
    ensure(running_.size() > 1, "a single request that fits the KV pool");
    preempt(running_.back());
    waiting_.splice(waiting_.begin(), running_, std::prev(running_.end()));
  }
}

void Engine::compute(const std::vector<uint32_t>& quotas) {
  auto quota = quotas.begin();
  for (auto& active : running_) {
    if (*quota) builder_.add(active, *quota);
    ++quota;
    if (active.prompt_done && active.recomputing && !active.pending()) active.recomputing = false;
  }
  const auto& batch = builder_.finish();
  if (batch.rows()) model_->forward(batch);
}

}  // namespace npr::schedule
